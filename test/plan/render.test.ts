import { describe, expect, it } from 'vitest';
import type { Change } from '../../src/plan/diff.ts';
import { planJson, planMarkdown, planText } from '../../src/plan/render.ts';
import type { Step } from '../../src/plan/step.ts';
import type { Value } from '../../src/plan/value.ts';

const change = (path: string, before: Value, after: Value): Change => ({ path, before, after, sensitive: false });

function step(name: string, over: Partial<Step> = {}): Step {
  return {
    action: 'update',
    kind: 'AclPolicy',
    namespace: 'default',
    name,
    object: `default/acl-policy/${name}`,
    changes: [],
    reason: 'Changed',
    message: '',
    ...over,
  };
}

describe('a rendered plan', () => {
  it.each<[string, Value, Value, string]>([
    ['spec.expirationTtl', 3600, 7200, '1h → 2h'],
    ['spec.expirationTtl', null, 86_400, '24h'],
    ['spec.lease.ttl', null, 900, '15m'],
    ['spec.roles.r.tokenTtl', 5430, 90, '1h30m30s → 1m30s'],
    ['spec.roles.r.tokenPeriod', 0, 1800, '0s → 30m'],
    ['spec.roles.r.clockSkewLeeway', -1, 60, '-1s → 1m'],
    ['spec.roles.r.tokenNumUses', 0, 60, '0 → 60'],
  ])('shows the seconds of %s as manifests spell them, and in JSON as numbers', (path, before, after, text) => {
    const steps = [step('a', { changes: [change(path, before, after)] })];
    expect(planText(steps)).toContain(`${path}: ${text}\n`);
    expect(JSON.stringify(planJson(steps))).toContain(`"after":${JSON.stringify(after)}`);
  });

  it('marks what is new and what goes in the markdown of one-line values, too', () => {
    const changes = [change('spec.a', null, 'x'), change('spec.b', 'old', 'new'), change('spec.c', 'gone', null)];
    const lines = planMarkdown([step('a', { changes })]).split('\n');
    const begin = lines.indexOf('```diff') + 1;
    expect(lines.slice(begin, lines.indexOf('```', begin))).toEqual([
      '+ spec.a: "x"',
      '- spec.b: "old"',
      '+ spec.b: "new"',
      '- spec.c: "gone"',
    ]);
  });

  it.each([
    [
      'alone',
      [step('evil', { object: 'default/acl-token/a\u001b[2J', changes: [change('spec.\u001b[2J', 'a', 'b')] })],
    ],
    [
      'in a group',
      ['a', 'b'].map((name) => step(`${name}\u001b[2J`, { action: 'refuse', reason: 'Denied', message: 'no' })),
    ],
  ])('hands no escape sequence of a name to the terminal (%s)', (_how, steps) => {
    for (const text of [planText(steps), planMarkdown(steps)]) {
      expect(text).not.toContain('\u001b');
      expect(text).toContain('\\x1b[2J');
    }
  });

  describe('with refusals', () => {
    const unavailable = (name: string, path: string, host = 'http://n:4646'): Step =>
      step(name, { action: 'refuse', reason: 'Unavailable', message: `GET ${host}${path}: no answer in time` });

    it('says the cause that they share once, with their number', () => {
      const steps = ['a', 'b', 'c', 'd', 'e'].map((name) => unavailable(name, `/v1/acl/policy/${name}`));
      expect(planText(steps)).toBe(
        [
          '  ! refuse  5 objects of AclPolicy default/a, AclPolicy default/b, AclPolicy default/c and 2 more',
          '      Unavailable: http://n:4646: no answer in time',
          'Plan: nothing can be done, 5 refused; 0 in order.',
        ].join('\n'),
      );
    });

    it('keeps different servers and different causes apart', () => {
      const steps = [unavailable('a', '/v1/x'), unavailable('b', '/v1/x', 'http://other:4646'), step('c')];
      expect(planText(steps).match(/refuse {2}AclPolicy/g)).toHaveLength(2);
    });

    it('keeps the fields of each conflict', () => {
      const conflict = (name: string): Step =>
        step(name, {
          action: 'refuse',
          reason: 'Conflict',
          message: 'it differs',
          changes: [change('spec.a', name, 'x')],
        });
      const text = planText([conflict('one'), conflict('two')]);
      expect(text).toContain('spec.a: "one" → "x"');
      expect(text).toContain('spec.a: "two" → "x"');
    });
  });
});
