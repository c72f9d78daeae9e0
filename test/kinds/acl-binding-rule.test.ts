import { describe, expect, it } from 'vitest';
import { aclBindingRule } from '../../src/kinds/acl-binding-rule/index.ts';
import { ruleFieldRules } from '../../src/kinds/acl-binding-rule/rule.ts';
import { markedName, ownerId } from '../../src/kinds/marked/marker.ts';
import { fingerprint } from '../../src/plan/diff.ts';
import type { Live, ObjectKey, Owned } from '../../src/plan/step.ts';
import type { Fields } from '../../src/plan/value.ts';
import { entry, outline, planned } from './planning.ts';

const OWNER = ownerId('default', { kind: 'AclBindingRule', namespace: 'default', name: 'ci' });
const ID = '11111111-1111-1111-1111-111111111111';
const SPEC = { authMethod: 'sso', bindType: 'role', bindName: 'ops' };
const named = (sequence: number, method = 'sso'): string => markedName(method, { owner: OWNER, sequence });
const keyOf = (name: string): ObjectKey => ({ connection: 'default', type: 'acl-binding-rule', name });
const described = (sequence: number): string => markedName('', { owner: OWNER, sequence });

function rule(id: string, fields: Fields = {}): Live {
  const usual = { description: described(1), authMethod: 'sso', selector: '', bindType: 'role', bindName: 'ops' };
  return { id, fields: { ...usual, ...fields } };
}
const METHODS = ['sso', 'github'].map((name): [string, Live] => [`default/acl-auth-method/${name}`, { fields: {} }]);
const live = (...rules: Live[]): Record<string, Live> =>
  Object.fromEntries([...METHODS, ...rules.map((r): [string, Live] => [`default/acl-binding-rule/${r.id ?? ''}`, r])]);
const owned = (name: string, more: Partial<Owned>): Owned => entry('AclBindingRule', keyOf(name), more);
const lines = (spec: unknown, situation: Parameters<typeof planned>[2]): string[] =>
  outline(planned(aclBindingRule, spec, situation)).map((line) => line.replace('default/acl-binding-rule/', ''));

describe('a binding rule', () => {
  it('that was not made yet is made, with a marker in its description', () => {
    const [step] = planned(aclBindingRule, { ...SPEC, description: 'the team' }, { live: live() });
    expect(step?.step).toMatchObject({ action: 'create', reason: 'New' });
    expect(step?.desired?.fields['description']).toBe(markedName('the team', { owner: OWNER, sequence: 1 }));
  });

  it('whose creation was interrupted is found again by its marker, and no second one is made', () => {
    const made = rule('a');
    const pending = owned(named(1), { state: 'pending', intent: fingerprint(made.fields, ruleFieldRules) });
    expect(lines(SPEC, { live: live(made), owned: [pending] })).toEqual([`noop ${named(1)} InSync`]);
  });

  it('is found again after a lost inventory', () => {
    expect(lines(SPEC, { live: live(rule('a')) })).toEqual([`noop ${named(1)} Adopted`]);
  });

  it('whose marker was taken away by hand is known by its ID, and described again', () => {
    const steps = planned(aclBindingRule, SPEC, {
      live: live(rule('a', { description: 'mine' })),
      owned: [owned(named(1), { id: 'a' })],
    });
    expect(outline(steps)).toEqual([`update default/acl-binding-rule/${named(1)} Changed`]);
    expect(steps[0]?.step.changes.map((c) => c.path)).toEqual(['spec.description']);
  });

  it.each([
    ['another description', { description: 'other' }],
    ['another selector', { selector: '"a" in list.groups' }],
    ['no selector any more', {}],
    ['a policy for a role', { bindType: 'policy' }],
    ['another role', { bindName: 'others' }],
  ])('gets %s in place', (_what, change) => {
    const before = rule('a', { description: described(1), selector: 'value.x == "y"' });
    const steps = lines({ ...SPEC, ...change }, { live: live(before), owned: [owned(named(1), { id: 'a' })] });
    expect(steps).toEqual([expect.stringMatching(/^update /)]);
  });

  it.each([
    ['another method', { authMethod: 'github' }, named(2, 'github')],
    ['management instead of a role', { bindType: 'management', bindName: undefined }, named(2)],
  ])('that shall have %s is replaced, since Nomad does not change it', (_what, change, name) => {
    const spec = { ...SPEC, ...change };
    const old = owned(named(1), { id: 'a' });
    expect(lines(spec, { live: live(rule('a')), owned: [old] })).toEqual([`replace ${name} Immutable`]);
  });

  it('that binds everything gets a role in place', () => {
    const steps = lines(SPEC, {
      live: live(rule('a', { bindType: 'management', bindName: '' })),
      owned: [owned(named(1), { id: 'a' })],
    });
    expect(steps).toEqual([expect.stringMatching(/^update /)]);
  });

  it.each([
    ['method', { authMethod: 'github' }],
    ['selector', { selector: 'true' }],
    ['type', { bindType: 'management', bindName: '' }],
    ['name', { bindName: 'admins' }],
  ])(
    'that nobody recorded and that binds something else by its %s is a Conflict: the marker may be imitated',
    (_f, f) => {
      expect(lines(SPEC, { live: live(rule('a', f)) })).toEqual([expect.stringMatching(/^refuse .* Conflict$/)]);
    },
  );

  it('waits for its method, whoever is to make it', () => {
    expect(lines(SPEC, {})).toEqual([`refuse ${named(1)} Waiting`]);
  });

  it('depends on its method and on what it binds, but on nothing that a claim stands in for', () => {
    const dependencies = (bindName: string): string[] =>
      planned(aclBindingRule, { ...SPEC, bindName }, {})[0]?.desired?.dependsOn.map((k) => `${k.type}/${k.name}`) ?? [];
    expect(dependencies('ops')).toEqual(['acl-auth-method/sso', 'acl-role/ops']);
    expect(dependencies('team-${value.team}')).toEqual(['acl-auth-method/sso']);
  });
});

describe('a binding rule named by its ID', () => {
  const spec = { ...SPEC, id: ID, description: 'theirs' };

  it('is adopted where it is the same, without a marker', () => {
    expect(lines(spec, { live: live(rule(ID, { description: 'theirs' })) })).toEqual([`noop ${ID} Adopted`]);
  });

  it('is never made', () => {
    expect(lines(spec, { live: live() })).toEqual([expect.stringMatching(new RegExp(`^refuse ${ID} `))]);
  });

  it('that carries a marker is that of a resource that made it', () => {
    expect(lines(spec, { live: live(rule(ID)) })).toEqual([`refuse ${ID} Conflict`]);
  });

  it.each([
    ['method', { authMethod: 'github' }],
    ['management', { bindType: 'management', bindName: undefined }],
  ])('is not changed where Nomad can not: %s', (_what, change) => {
    const ours = owned(ID, { id: ID });
    const before = rule(ID, { description: 'theirs' });
    expect(lines({ ...spec, ...change }, { live: live(before), owned: [ours] })).toEqual([`refuse ${ID} Immutable`]);
  });
});
