import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NomadTokens } from '../../src/contract/credential.ts';
import { listen } from '../../src/sandbox/http.ts';
import { NomadSandbox } from '../../src/sandbox/nomad/server.ts';
import { nomadTokens } from '../../src/targets/nomad/tokens.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad } from '../servers/nomad.ts';

interface Bare {
  readonly address: string;
  stop(): Promise<unknown>;
}

const implementations: readonly {
  readonly name: string;
  readonly skip: boolean;
  readonly start: () => Promise<Bare>;
}[] = [
  {
    name: 'the sandbox',
    skip: false,
    start: async () => {
      const sandbox = new NomadSandbox(Date.now);
      const handle = sandbox.handle.bind(sandbox);
      const common = { host: '127.0.0.1', port: 0, target: 'nomad', count: () => 0, hook: () => undefined } as const;
      const server = await listen({ ...common, handle });
      return { address: server.address, stop: () => server.close() };
    },
  },
  {
    name: 'the real server',
    skip: !requireServers('nomad'),
    start: () => startNomad({ client: false, bootstrap: false }),
  },
];

/** What tells, without doing it, whether a cluster is bootstrapped; in this order. */
describe.each(implementations)('a Nomad that nobody has bootstrapped, as $name has it', ({ skip, start }) => {
  describe.skipIf(skip)('ACL API', () => {
    const { signal } = new AbortController();
    const chosen = randomUUID();
    let nomad: Bare;
    let tokens: NomadTokens;

    beforeAll(async () => {
      nomad = await start();
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

    it('refuses a SecretID that is no UUID for being none, as often as it is asked, and is not bootstrapped by it', async () => {
      for (const none of ['none', randomUUID().slice(1), `${randomUUID()}0`, 'none']) {
        expect(await answer({ BootstrapSecret: none })).toEqual([400, 'invalid acl token']);
        expect(await tokens.bootstrap(none, signal)).toBe('invalid');
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

    it('takes what is no UUID for a signed token: whoever asks for itself with it gets no 403', async () => {
      const init = { headers: { 'x-nomad-token': 'abc' } };
      for (const which of ['self', chosen]) {
        const response = await fetch(`${nomad.address}/v1/acl/token/${which}`, init);
        const text = expect.stringContaining('failed to parse signed token') as string;
        expect([response.status, await response.text()]).toEqual([500, text]);
      }
      expect((await fetch(`${nomad.address}/v1/acl/policies`, init)).status).toBe(403);
      await expect(tokens.lookup('abc', signal)).rejects.toMatchObject({ class: 'transient', status: 500 });
    });
  });
});
