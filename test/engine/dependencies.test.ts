import { describe, expect, it } from 'vitest';
import { Dependencies } from '../../src/engine/dependencies.ts';
import { LiveView } from '../../src/engine/view.ts';
import { aclPolicyObject } from '../../src/kinds/acl-policy/policy.ts';
import { plan } from '../../src/plan/plan.ts';
import type { Action, Desired, PlannedStep } from '../../src/plan/step.ts';
import { desired } from '../plan/objects.ts';

const KEY = { connection: 'default', type: 'acl-policy', name: 'shared' };

/** What a plan says of the policy for a resource of that namespace. */
function planned(namespace: string, action: Action): PlannedStep {
  const resource = { kind: 'AclPolicy', namespace, name: 'p' };
  const step = { action, ...resource, object: '', changes: [], reason: 'InSync', message: '' } as const;
  return { step, key: KEY, dependsOn: [], desired: {} as Desired };
}

const A = 'AclPolicy a/p';
const B = 'AclPolicy b/p';

function withPolicy(): { dependencies: Dependencies; view: LiveView } {
  const view = new LiveView();
  view.put(KEY, aclPolicyObject, { fields: {} });
  return { dependencies: new Dependencies(view), view };
}

describe('what is made for an object of the same resource', () => {
  const place = { ...KEY, name: 'place' };

  it('is not free as long as that one is refused: it would be planned again and again at once', () => {
    const { dependencies } = withPolicy();
    const verdict = { action: 'refuse', reason: 'Conflict', message: '' } as const;
    const refused = desired({ key: place, dependsOn: [KEY], verdict });
    const steps = plan({
      desired: [desired({ key: KEY, madeFor: place }), refused],
      owned: () => undefined,
      undeclared: [],
    });
    expect(steps.map(({ step }) => step.reason)).toEqual(['Blocked', 'Conflict']);
    for (const step of steps) expect(dependencies.isFree(step, steps)).toBe(false);
  });
});

describe('what others depend on', () => {
  it('is not refused because somebody else is refused it: one tenant must not block the tokens of another', () => {
    const { dependencies } = withPolicy();
    dependencies.note([B], [planned('b', 'noop')]);
    dependencies.note([A], [planned('a', 'refuse')]);
    expect(dependencies.stateOf(KEY)).toBe('stands');
  });

  it('is refused where nobody who declares it may write it', () => {
    const { dependencies } = withPolicy();
    dependencies.note([A], [planned('a', 'refuse')]);
    expect(dependencies.stateOf(KEY)).toBe('refused');
  });

  it('is nobody’s to wait for once the one who was refused it is gone', () => {
    const { dependencies } = withPolicy();
    dependencies.note([A], [planned('a', 'refuse')]);
    dependencies.note([A], []);
    expect(dependencies.stateOf(KEY)).toBe('stands');
  });

  it('is missing where it is declared and not made yet, also when one of two who declare it goes', () => {
    const dependencies = new Dependencies(new LiveView());
    dependencies.note([A, B], [planned('a', 'create'), planned('b', 'create')]);
    dependencies.note([B], []);
    expect(dependencies.stateOf(KEY)).toBe('missing');
  });
});
