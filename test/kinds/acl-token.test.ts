import { describe, expect, it } from 'vitest';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { markedName, ownerId } from '../../src/kinds/marked/marker.ts';
import type { Live, ObjectKey, Owned } from '../../src/plan/step.ts';
import type { Fields } from '../../src/plan/value.ts';
import { entry, outline, planned, resource } from './planning.ts';

const OWNER = ownerId('default', { kind: 'AclToken', namespace: 'default', name: 'ci' });
const ACCESSOR = '11111111-1111-1111-1111-111111111111';
const named = (sequence: number): string => markedName('ci', { owner: OWNER, sequence });
const keyOf = (name: string): ObjectKey => ({ connection: 'default', type: 'acl-token', name });

function token(id: string, fields: Fields, expiresAt: number | null = null): Live {
  const usual = { type: 'client', policies: ['read'], roles: [], global: false, expirationTtl: null };
  return { id, fields: { ...usual, ...fields }, facts: { expiresAt } };
}
const live = (...tokens: Live[]): Record<string, Live> =>
  Object.fromEntries(tokens.map((t) => [`default/acl-token/${t.id ?? ''}`, t]));
const owned = (name: string, id: string, detail?: Fields): Owned =>
  entry('AclToken', keyOf(name), { id, ...(detail && { detail }) });

const SPEC = { policies: ['read'], writeSecretTo: { none: {} } };
const HOUR = 3_600_000;

describe('a token after a lost inventory', () => {
  it('is taken when it is as declared', () => {
    const steps = planned(aclToken, SPEC, { live: live(token('a', { name: named(1) })) });
    expect(outline(steps)).toEqual([`noop default/acl-token/${named(1)} Adopted`]);
  });

  it('whose TTL was changed meanwhile is taken and replaced, not called a Conflict', () => {
    const old = token('a', { name: named(1), expirationTtl: 3600 }, HOUR);
    const steps = planned(aclToken, { ...SPEC, expirationTtl: '2h' }, { live: live(old) });
    expect(outline(steps)).toEqual([
      `noop default/acl-token/${named(1)} Adopted`,
      `replace default/acl-token/${named(2)} Immutable`,
    ]);
    const fresh = token('b', { name: named(2), expirationTtl: 7200 }, 2 * HOUR);
    const after = planned(
      aclToken,
      { ...SPEC, expirationTtl: '2h' },
      { live: live(old, fresh), owned: [owned(named(1), 'a'), owned(named(2), 'b')] },
    );
    expect(outline(after)).toEqual([`noop default/acl-token/${named(2)} InSync`]);
  });

  it('is not replaced where adoptionPolicy Never keeps it from being taken', () => {
    const old = token('a', { name: named(1), expirationTtl: 3600 }, HOUR);
    const steps = planned(aclToken, { ...SPEC, expirationTtl: '2h', adoptionPolicy: 'Never' }, { live: live(old) });
    expect(outline(steps)).toEqual([
      `refuse default/acl-token/${named(1)} Conflict`,
      `refuse default/acl-token/${named(2)} Blocked`,
    ]);
  });

  it('does not leave behind the older one of a replacement that was under way', () => {
    const tokens = live(
      token('a', { name: named(1), expirationTtl: 3600 }, HOUR),
      token('b', { name: named(2), expirationTtl: 7200 }, 2 * HOUR),
    );
    const steps = planned(aclToken, { ...SPEC, expirationTtl: '2h' }, { live: tokens });
    expect(outline(steps).sort()).toEqual([
      `noop default/acl-token/${named(1)} Adopted`,
      `noop default/acl-token/${named(2)} Adopted`,
    ]);
  });

  it.each([
    ['type', { type: 'management', policies: [] }],
    ['policies', { policies: ['read', 'write'] }],
    ['roles', { roles: ['admin'] }],
    ['global', { global: true }],
  ])('that may do something else by its %s is a Conflict: the marker may be imitated', (_field, fields) => {
    const steps = planned(aclToken, SPEC, { live: live(token('a', { name: named(1), ...fields })) });
    expect(outline(steps)).toEqual([`refuse default/acl-token/${named(1)} Conflict`]);
  });
});

describe('a token with roles', () => {
  const spec = { roles: ['ops', 'dev'], writeSecretTo: { none: {} } };
  const role = (id: string, name: string): Record<string, Live> => ({
    [`default/acl-role/${id}`]: { id, fields: { name } },
  });
  const roles = { ...role('r1', 'ops'), ...role('r2', 'dev') };
  const linked = (ids: readonly string[], names: readonly string[] = ['ops', 'dev']): Record<string, Live> => {
    const { facts, ...made } = token('a', { name: named(1), policies: [], roles: names });
    return live({ ...made, facts: { ...facts, roleIds: ids } });
  };
  const steps = (things: Record<string, Live>): ReturnType<typeof planned> =>
    planned(aclToken, spec, { live: things, owned: [owned(named(1), 'a')] });

  it('is in order while it is linked to the roles that have these names', () => {
    expect(outline(steps({ ...roles, ...linked(['r2', 'r1'], ['dev', 'ops']) }))).toEqual([
      `noop default/acl-token/${named(1)} InSync`,
    ]);
  });

  it('is linked anew where another role has the name by now', () => {
    const anew = steps({ ...role('r3', 'ops'), ...role('r2', 'dev'), ...linked(['r1', 'r2']) });
    expect(outline(anew)).toEqual([`update default/acl-token/${named(1)} Changed`]);
    expect(anew[0]?.step.changes).toEqual([
      { path: 'spec.roles', before: ['r1', 'dev'], after: ['ops', 'dev'], sensitive: false },
    ]);
  });

  it('waits for a role that is neither there nor declared, since Nomad refuses the write', () => {
    for (const tokens of [{}, linked(['r1', 'r2'], ['r1', 'dev'])]) {
      const [step] = planned(aclToken, spec, { live: { ...role('r2', 'dev'), ...tokens } });
      expect(step?.step).toMatchObject({ action: 'refuse' });
    }
    const [step] = planned(aclToken, spec, { live: role('r2', 'dev') });
    expect(step?.step).toMatchObject({ reason: 'Waiting' });
    expect(step?.step.message).toContain('default/acl-role/ops, which does not exist, and nothing declares it');
  });
});

describe('a token named by its accessor ID', () => {
  const spec = { ...SPEC, accessorId: ACCESSOR, expirationTtl: '1h' };
  const ours = [owned(ACCESSOR, ACCESSOR, { expirationTtl: 3600, expiresAt: HOUR })];
  const alive = live(token(ACCESSOR, { name: 'ci', expirationTtl: 3600 }, HOUR));

  it('is in order until it expires', () => {
    expect(outline(planned(aclToken, spec, { live: alive, owned: ours, now: HOUR - 1 }))).toEqual([
      `noop default/acl-token/${ACCESSOR} InSync`,
    ]);
  });
  it.each([
    ['while Nomad still lists it', alive],
    ['after Nomad has reaped it', {}],
  ])('says Expired %s', (_when, tokens) => {
    const [step] = planned(aclToken, spec, { live: tokens, owned: ours, now: HOUR });
    expect(step?.step).toMatchObject({ action: 'noop', reason: 'Expired' });
    expect(step?.step.message).toContain('expired at 1970-01-01T01:00:00.000Z');
    expect(step?.step.message).not.toContain('change expirationTtl');
  });
  it('that another resource made and manages is a Conflict under every adoption policy, not a fight', () => {
    const theirs = live(token(ACCESSOR, { name: markedName('other', { owner: OWNER, sequence: 1 }) }));
    for (const adoptionPolicy of ['IfIdentical', 'Always']) {
      const [step] = planned(aclToken, { ...SPEC, accessorId: ACCESSOR, adoptionPolicy }, { live: theirs });
      expect(step?.step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
      expect(step?.step.message).toContain('take the marker out of its name');
    }
  });
  it('of ours that somebody gave a marker by hand gets its name back', () => {
    const marked = live(token(ACCESSOR, { name: named(1), expirationTtl: 3600 }, HOUR));
    expect(outline(planned(aclToken, spec, { live: marked, owned: ours, now: HOUR - 1 }))).toEqual([
      `update default/acl-token/${ACCESSOR} Changed`,
    ]);
  });
  it('that never was ours and does not exist is NotFound', () => {
    expect(outline(planned(aclToken, spec, { now: HOUR }))).toEqual([`refuse default/acl-token/${ACCESSOR} NotFound`]);
  });
});

describe('the secret’s file', () => {
  const spec = { ...SPEC, writeSecretTo: { file: { path: 'secret' } }, adoptionPolicy: 'Always' };
  const current = token('a', { name: named(1) });
  const file = (text: string, accessorId: string | null): Live => ({
    fields: { 'writeSecretTo.file': text },
    facts: { accessorId, digest: null },
  });
  const fileStep = (steps: ReturnType<typeof planned>): unknown => steps.find((s) => s.key.type === 'file')?.step;

  it('of somebody else’s content is overwritten by no adoption policy', () => {
    const steps = planned(aclToken, spec, {
      live: { ...live(current), 'local/file/secret': file('other content, mode 0644', null) },
      owned: [owned(named(1), 'a')],
    });
    expect(fileStep(steps)).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(fileStep(steps)).toHaveProperty('message', expect.stringContaining('no adoptionPolicy overwrites it'));
  });
  it('is refused: then no token is made whose secret nobody would have, nor one in the place of another', () => {
    const theirs = { 'local/file/secret': file('other content, mode 0644', null) };
    const refused = 'refuse local/file/secret Conflict';
    const steps = planned(aclToken, spec, { live: theirs });
    expect(outline(steps)).toEqual([`refuse default/acl-token/${named(1)} Blocked`, refused]);
    expect(steps[0]?.step.message).toContain('local/file/secret, which is refused: secret exists already');
    expect(
      outline(
        planned(
          aclToken,
          { ...spec, global: true },
          { live: { ...live(current), ...theirs }, owned: [owned(named(1), 'a')] },
        ),
      ),
    ).toEqual([`refuse default/acl-token/${named(2)} Blocked`, refused]);
  });
  it('is not overwritten either where an earlier write was only intended', () => {
    const steps = planned(aclToken, spec, {
      live: { ...live(current), 'local/file/secret': file('other content, mode 0644', null) },
      owned: [
        owned(named(1), 'a'),
        entry('AclToken', { connection: 'local', type: 'file', name: 'secret' }, { state: 'pending' }),
      ],
    });
    expect(fileStep(steps)).toMatchObject({ action: 'refuse', reason: 'Conflict' });
  });
  it('that holds the token’s secret under another mode is put right under Always', () => {
    const steps = planned(aclToken, spec, {
      live: { ...live(current), 'local/file/secret': file('SecretID of a, mode 0644', 'a') },
      owned: [owned(named(1), 'a')],
    });
    expect(fileStep(steps)).toMatchObject({
      action: 'update',
      changes: [
        {
          path: 'spec.writeSecretTo.file',
          before: 'SecretID of a, mode 0644',
          after: 'SecretID of a, mode 0600',
        },
      ],
    });
  });
  it('that a lost inventory does not know, but that holds the secret of the token replaced now, gets the new one', () => {
    const old = token('a', { name: named(1), expirationTtl: 3600 }, HOUR);
    const steps = planned(
      aclToken,
      { ...spec, adoptionPolicy: 'IfIdentical', expirationTtl: '2h' },
      { live: { ...live(old), 'local/file/secret': file('SecretID of a, mode 0600', 'a') } },
    );
    expect(fileStep(steps)).toMatchObject({ action: 'update', reason: 'Adopted' });
    expect(steps.find((s) => s.key.type === 'file')?.desired?.detail).toMatchObject({ formerId: 'a' });
  });
  it('of ours that somebody overwrote gets the secret back', () => {
    const steps = planned(aclToken, spec, {
      live: { ...live(current), 'local/file/secret': file('other content, mode 0600', null) },
      owned: [owned(named(1), 'a'), entry('AclToken', { connection: 'local', type: 'file', name: 'secret' })],
    });
    expect(fileStep(steps)).toMatchObject({ action: 'update', reason: 'Changed' });
  });
});

describe('expirationTtl', () => {
  const rule = aclToken.rules.find((r) => r.path === 'expirationTtl');
  const isAccepted = (expirationTtl: unknown): boolean => {
    const parsed = aclToken.spec.safeParse({ ...SPEC, expirationTtl });
    return parsed.success && rule?.holds?.(parsed.data as never) === true;
  };
  it.each([60, '1m', '60s', '24h', '25h', 90_000, '8760h'])('%j is for the servers to judge', (ttl) => {
    expect(isAccepted(ttl)).toBe(true);
  });
  it.each([0, '0s', 59, '59s', -60, '-1h', 60.5, '', '9999999h', 1e12, null])('%j is refused', (ttl) => {
    expect(isAccepted(ttl)).toBe(false);
  });
  it('an absent one means a token that lives for ever', () => {
    expect(resource(aclToken, SPEC).spec.expirationTtl).toBeUndefined();
    expect(isAccepted(undefined)).toBe(true);
  });
});
