import { describe, expect, it } from 'vitest';
import { aclRole } from '../../src/kinds/acl-role/index.ts';
import { roleFieldRules } from '../../src/kinds/acl-role/role.ts';
import { fingerprint } from '../../src/plan/diff.ts';
import { plan } from '../../src/plan/plan.ts';
import type { Live, ObjectKey, Owned, PlannedStep } from '../../src/plan/step.ts';
import type { Fields } from '../../src/plan/value.ts';
import { contextOf, entry, outline, planned, resource, type Situation } from './planning.ts';

const KEY: ObjectKey = { connection: 'default', type: 'acl-role', name: 'ci' };
const ROLE = 'default/acl-role/ci';
const SPEC = { policies: ['read', 'write'] };
const POLICIES = Object.fromEntries(['read', 'write'].map((name) => [`default/acl-policy/${name}`, { fields: {} }]));

function role(id: string, fields: Fields = {}): Live {
  return { id, fields: { name: 'ci', description: '', policies: ['read', 'write'], ...fields } };
}
const live = (...roles: Live[]): Record<string, Live> => ({
  ...POLICIES,
  ...Object.fromEntries(roles.map((r) => [`default/acl-role/${r.id ?? ''}`, r])),
});
const owned = (more: Partial<Owned>): Owned => entry('AclRole', KEY, more);
const lines = (situation: Situation, spec: unknown = SPEC): string[] => outline(planned(aclRole, spec, situation));

describe('a role', () => {
  it('that is not there is made, once its policies are', () => {
    expect(lines({ live: live() })).toEqual([`create ${ROLE} New`]);
  });

  it('whose policy is neither there nor declared waits, and says for which one', () => {
    const { 'default/acl-policy/write': _, ...others } = live();
    const [step] = planned(aclRole, SPEC, { live: others });
    expect(step?.step).toMatchObject({ action: 'refuse', reason: 'Waiting' });
    expect(step?.step.message).toContain('default/acl-policy/write, which does not exist, and nothing declares it');
  });

  it('whose policy was deleted is in order: Nomad keeps the name, and nothing is to be written', () => {
    const { 'default/acl-policy/write': _, ...others } = live(role('a'));
    expect(lines({ live: others, owned: [owned({ id: 'a' })] })).toEqual([`noop ${ROLE} InSync`]);
  });

  it.each([
    ['order', ['write', 'read']],
    ['repetition', ['read', 'write', 'read']],
  ])('is the same whatever the %s of its policies', (_what, policies) => {
    expect(lines({ live: live(role('a', { policies })), owned: [owned({ id: 'a' })] })).toEqual([
      `noop ${ROLE} InSync`,
    ]);
  });

  it.each([
    ['description', 'spec.description', { description: 'theirs' }],
    ['policies', 'spec.policies', { policies: ['read'] }],
    ['name', 'spec.name', { name: 'theirs' }],
  ])('of ours gets its %s back', (_what, path, fields) => {
    const steps = planned(aclRole, SPEC, { live: live(role('a', fields)), owned: [owned({ id: 'a' })] });
    expect(outline(steps)).toEqual([`update ${ROLE} Changed`]);
    expect(steps[0]?.step.changes.map((c) => c.path)).toEqual([path]);
  });

  it('of ours whose name another one has by now is left alone, as is that one', () => {
    const roles = live(role('a', { name: 'former' }), role('b', { policies: ['read'] }));
    const [step] = planned(aclRole, SPEC, { live: roles, owned: [owned({ id: 'a' })] });
    expect(step?.step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(step?.step.message).toContain('role a is ours and was renamed to "former"');
  });

  it('whose creation was interrupted is found again', () => {
    const pending = owned({ state: 'pending', intent: fingerprint(role('a').fields, roleFieldRules) });
    expect(lines({ live: live(role('a')), owned: [pending] })).toEqual([`noop ${ROLE} InSync`]);
  });

  it('whose creation was interrupted is not taken for the different one that has its name', () => {
    const pending = owned({ state: 'pending', intent: fingerprint(role('a').fields, roleFieldRules) });
    const theirs = role('b', { description: 'theirs' });
    expect(lines({ live: live(theirs), owned: [pending] })).toEqual([`refuse ${ROLE} Conflict`]);
  });

  it.each([
    ['is adopted where it is identical', {}, 'IfIdentical', `noop ${ROLE} Adopted`],
    ['is a Conflict where it differs', { description: 'theirs' }, 'IfIdentical', `refuse ${ROLE} Conflict`],
    ['is overwritten under Always', { description: 'theirs' }, 'Always', `update ${ROLE} Adopted`],
    ['is a Conflict under Never', {}, 'Never', `refuse ${ROLE} Conflict`],
  ])('of somebody else that has the name %s', (_what, fields, adoptionPolicy, line) => {
    expect(lines({ live: live(role('b', fields)) }, { ...SPEC, adoptionPolicy })).toEqual([line]);
  });

  it('keeps what was made under its old name, and says so', () => {
    const spec = { ...SPEC, name: 'other' };
    expect(lines({ live: live(role('a')), owned: [owned({ id: 'a' })] }, spec)).toEqual([
      'refuse default/acl-role/other Immutable',
    ]);
  });

  it('comes after the policies that are declared beside it, though these do not exist yet', () => {
    const [desired] = aclRole.objects(resource(aclRole, SPEC), contextOf({}));
    const policies = ['read', 'write'].map((name) => ({ ...KEY, type: 'acl-policy', name }));
    const declared = policies.map((key) => ({
      ...(desired ?? expect.fail()),
      key,
      fields: {},
      rules: {},
      dependsOn: [],
      lacking: [],
    }));
    const steps: PlannedStep[] = plan({
      desired: [desired ?? expect.fail(), ...declared],
      owned: () => undefined,
      undeclared: [],
    });
    expect(outline(steps)).toEqual([
      'create default/acl-policy/read New',
      'create default/acl-policy/write New',
      `create ${ROLE} New`,
    ]);
  });
});
