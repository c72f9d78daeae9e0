import { describe, expect, it } from 'vitest';
import { digestOf, type Io, type SecretPlace } from '../../src/contract/target.ts';
import {
  keyOf,
  rememberSent,
  secretRule,
  secretsToSend,
  secretSource,
  sentFacts,
  UNTOLD,
  withSent,
} from '../../src/kinds/secret-source.ts';
import { diff, fingerprint } from '../../src/plan/diff.ts';
import type { Live, Owned } from '../../src/plan/step.ts';
import type { Fields } from '../../src/plan/value.ts';
import { entry } from './planning.ts';

const PLACE: SecretPlace = { from: 'variable', name: 'NOMAD_ACCESS_SECRET_SSO' };
const rules = { description: { compare: 'exact' }, secret: secretRule } as const;
const KEY = { connection: 'default', type: 'acl-auth-method', name: 'sso' };

const declaring = (text: string): Fields => ({ secret: { place: keyOf(PLACE).name, digest: digestOf(text) } });
const io = (text: string): Io => ({ secretSources: { read: () => Promise.resolve(text) } }) as Partial<Io> as Io;
const live: Live = { fields: { description: '', secret: UNTOLD } };

/** The inventory after a secret was sent. */
async function sent(text: string, version: number | null = null): Promise<Owned> {
  const { sent } = await secretsToSend(io(text), declaring(text));
  return entry('AclAuthMethod', KEY, { detail: rememberSent({ fields: {}, facts: sentFacts(sent, version) }) });
}

function changes(text: string, owned: Owned | undefined, version: number | null = null): string[] {
  const wanted = declaring(text);
  const found = withSent(live, wanted, owned, version);
  return diff({ description: '', ...wanted }, found.fields, rules).map(({ path }) => path);
}

describe('a secret that the server never tells', () => {
  it('is what it was as long as the same was sent', async () => {
    expect(changes('a', await sent('a'))).toEqual([]);
  });

  it('is written when another one is declared', async () => {
    expect(changes('b', await sent('a'))).toEqual(['secret']);
  });

  it('is written once more when the inventory was lost, or says only that it was about to be sent', async () => {
    expect(changes('a', undefined)).toEqual(['secret']);
    expect(changes('a', { ...(await sent('a')), state: 'pending' })).toEqual(['secret']);
  });

  it('is written once more when somebody else wrote the object, and may have changed it', async () => {
    const owned = await sent('a', 7);
    expect(changes('a', owned, 7)).toEqual([]);
    expect(changes('a', owned, 8)).toEqual(['secret']);
  });

  it('is written when somebody took it away', async () => {
    const wanted = declaring('a');
    const found = withSent({ fields: { description: '', secret: '' } }, wanted, await sent('a'));
    expect(diff({ description: '', ...wanted }, found.fields, rules).map(({ path }) => path)).toEqual(['secret']);
  });

  it('stays remembered by a pass that writes nothing', async () => {
    const owned = await sent('a', 7);
    expect(rememberSent(withSent(live, declaring('a'), owned, 7))).toEqual(owned.detail);
  });

  it('is remembered so that equal secrets do not show as equal, and none can be read', async () => {
    const [a, b] = [await sent('a secret'), await sent('a secret')];
    expect(a.detail).not.toEqual(b.detail);
    const told = JSON.stringify(a);
    for (const text of ['a secret', digestOf('a secret')]) expect(told).not.toContain(text);
  });

  it('is not shown in a change, nor by its digest', () => {
    const shown = JSON.stringify(diff({ description: '', ...declaring('a') }, live.fields, rules));
    expect(shown).toContain('(sensitive)');
    expect(shown).not.toContain(digestOf('a'));
  });

  it('does not hide that an interrupted create made the object', () => {
    expect(fingerprint({ description: '', ...declaring('a') }, rules)).toBe(fingerprint(live.fields, rules));
  });
});

describe('where a secret stands', () => {
  it.each([
    [{}],
    [{ file: 'a', env: 'NOMAD_ACCESS_SECRET_A' }],
    [{ file: '/etc/passwd' }],
    [{ file: '../a' }],
    [{ file: 'a/../../b' }],
    [{ file: 'a/./b' }],
    [{ file: 'a//b' }],
    [{ file: '.' }],
    [{ file: '' }],
    [{ env: 'NOMAD_TOKEN' }],
    [{ env: 'NOMAD_ACCESS_SECRET_' }],
    [{ secretRef: { name: 'a' } }],
    [{ secretRef: { namespace: 'other', name: 'a', key: 'b' } }],
  ])('is not %j', (source) => {
    expect(secretSource.safeParse(source).success).toBe(false);
  });

  it.each([
    [{ file: 'client.secret' }],
    [{ file: './secrets/.client' }],
    [{ file: 'a/..b/...' }],
    [{ env: 'NOMAD_ACCESS_SECRET_SSO' }],
    [{ secretRef: { name: 'a', key: 'b' } }],
  ])('may be %j', (source) => {
    expect(secretSource.safeParse(source).success).toBe(true);
  });
});
