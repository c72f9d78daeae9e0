import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NomadTokens } from '../../src/contract/credential.ts';
import { nomadTokens } from '../../src/targets/nomad/tokens.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';

/** What tells, without doing it, whether a cluster is bootstrapped; in this order. */
describe.skipIf(!requireServers('nomad'))('a Nomad that nobody has bootstrapped', () => {
  const { signal } = new AbortController();
  const chosen = randomUUID();
  let nomad: NomadServer;
  let tokens: NomadTokens;

  beforeAll(async () => {
    nomad = await startNomad({ client: false, bootstrap: false });
    tokens = nomadTokens({ address: nomad.address, maxConnections: 1 });
  });
  afterAll(async () => {
    await tokens.close();
    await nomad.stop();
  });

  async function answer(body?: unknown): Promise<[number, string]> {
    const init = { method: 'PUT', ...(body !== undefined && { body: JSON.stringify(body) }) };
    const response = await fetch(`${nomad.address}/v1/acl/bootstrap`, init);
    return [response.status, await response.text()];
  }

  it('refuses a SecretID that is none for being none, as often as it is asked', async () => {
    for (let i = 0; i < 3; i++) {
      expect(await answer({ BootstrapSecret: 'none' })).toEqual([400, 'invalid acl token']);
      expect(await tokens.bootstrap('none', signal)).toBe('invalid');
    }
    expect(await tokens.lookup(chosen, signal)).toBeUndefined();
  });

  it('takes the SecretID that was chosen, and its token is for management and global', async () => {
    expect(await tokens.bootstrap(chosen, signal)).toBe('done');
    const response = await fetch(`${nomad.address}/v1/acl/token/self`, { headers: { 'x-nomad-token': chosen } });
    const { AccessorID, ...token } = (await response.json()) as Record<string, unknown>;
    expect(token).toMatchObject({ SecretID: chosen, Type: 'management', Global: true, Name: 'Bootstrap Token' });
    expect(await tokens.lookup(chosen, signal)).toEqual({ accessorId: AccessorID });
  });

  it('refuses from then on every SecretID for having been bootstrapped: the same one, another one, none', async () => {
    const reply = [400, expect.stringMatching(/^ACL bootstrap already done \(reset index: \d+\)$/)];
    for (const BootstrapSecret of [chosen, randomUUID(), 'none']) {
      expect(await answer({ BootstrapSecret })).toEqual(reply);
      expect(await tokens.bootstrap(BootstrapSecret, signal)).toBe('done before');
    }
    expect(await answer()).toEqual(reply);
    expect(await tokens.lookup(chosen, signal)).toBeDefined();
  });

  it('takes what is no UUID for a signed token, and fails over it', async () => {
    await expect(tokens.lookup('abc', signal)).rejects.toMatchObject({ class: 'transient', status: 500 });
  });
});
