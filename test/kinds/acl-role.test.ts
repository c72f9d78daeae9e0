import { describe, expect, it } from 'vitest';
import { aclRole } from '../../src/kinds/acl-role/index.ts';
import { roleFieldRules } from '../../src/kinds/acl-role/role.ts';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { markedName, ownerId } from '../../src/kinds/marked/marker.ts';
import { fingerprint } from '../../src/plan/diff.ts';
import type { Live, ObjectKey, Owned } from '../../src/plan/step.ts';
import type { Fields } from '../../src/plan/value.ts';
import { entry, outline, planned, type Situation } from './planning.ts';

const KEY: ObjectKey = { connection: 'default', type: 'acl-role', name: 'ci' };
const SPEC = { policies: ['read'] };
const POLICY = { 'default/acl-policy/read': { fields: {} } };

function role(id: string, fields: Fields = {}): Record<string, Live> {
  return { [`default/acl-role/${id}`]: { id, fields: { name: 'ci', description: '', policies: ['read'], ...fields } } };
}
const owned = (more: Partial<Owned>): Owned => entry('AclRole', KEY, more);
const lines = (spec: unknown, { live = {}, ...more }: Situation): string[] =>
  outline(planned(aclRole, spec, { live: { ...POLICY, ...live }, ...more })).map((line) =>
    line.replace(' default/', ' '),
  );

describe('a role', () => {
  it('whose creation was interrupted is known by its name and what was to be made, and no second one is made', () => {
    const live = role('a');
    const intent = fingerprint({ name: 'ci', description: '', policies: ['read'] }, roleFieldRules);
    expect(lines(SPEC, { live, owned: [owned({ state: 'pending', intent })] })).toEqual(['noop acl-role/ci InSync']);
  });

  it('that somebody made while ours was interrupted is a Conflict where it differs', () => {
    const intent = fingerprint({ name: 'ci', description: '', policies: ['read'] }, roleFieldRules);
    const live = role('a', { policies: ['write'] });
    expect(lines(SPEC, { live, owned: [owned({ state: 'pending', intent })] })).toEqual([
      'refuse acl-role/ci Conflict',
    ]);
  });

  it('that was renamed is known by its ID', () => {
    expect(lines(SPEC, { live: role('a', { name: 'other' }), owned: [owned({ id: 'a' })] })).toEqual([
      'update acl-role/ci Changed',
    ]);
  });

  it('is made once its policies are there, though nobody declares them', () => {
    expect(lines({ policies: ['read', 'gone'] }, {})).toEqual(['refuse acl-role/ci Waiting']);
    expect(lines(SPEC, {})).toEqual(['create acl-role/ci New']);
  });
});

describe('a token with roles', () => {
  const name = markedName('ci', {
    owner: ownerId('default', { kind: 'AclToken', namespace: 'default', name: 'ci' }),
    sequence: 1,
  });
  const token = (roleIds: readonly string[]): Record<string, Live> => ({
    'default/acl-token/t': {
      id: 't',
      fields: { name, type: 'client', policies: [], roles: ['ci'], global: false, expirationTtl: null },
      facts: { expiresAt: null, roleIds },
    },
  });
  const spec = { roles: ['ci'], writeSecretTo: { none: {} } };
  const ours = entry('AclToken', { connection: 'default', type: 'acl-token', name }, { id: 't' });
  // The kind of the role files roles by their names.
  const both = { ...aclToken, types: [...aclToken.types, ...aclRole.types] };
  const actions = (live: Record<string, Live>): string[] =>
    outline(planned(both, spec, { live, owned: [ours] })).map((line) => line.split(' ')[0] ?? '');

  it('has nothing to do while it is linked to the role that has the name', () => {
    expect(actions({ ...token(['a']), ...role('a') })).toEqual(['noop']);
  });

  it('is linked again where the role was made again', () => {
    expect(actions({ ...token(['a']), ...role('b') })).toEqual(['update']);
  });

  it('is left alone while the role is not there', () => {
    expect(actions(token(['a']))).toEqual(['refuse']);
  });
});
