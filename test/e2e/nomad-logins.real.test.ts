import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { TargetError } from '../../src/contract/errors.ts';
import type { NomadEvent } from '../../src/contract/target.ts';
import { Connected, declared } from '../credentials/connected.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

/** What Nomad says of the token that asks. */
interface Self {
  readonly AccessorID: string;
  readonly Name: string;
  readonly Type: string;
  readonly ExpirationTime: string | null;
}

const soon = { timeout: 20_000, interval: 50 };

describe.skipIf(!requireServers('nomad', 'vault'))('logins at Nomad', () => {
  const folder = temporaryDirectory('nomad-logins');
  const tokenFile = join(folder.path, 'jwt');
  let nomad: NomadServer;
  let vault: VaultServer;
  let live: LiveNomad;
  let liveVault: LiveVault;
  let key: CryptoKey;
  let connected: Connected;
  /** What must never be said. */
  const secrets: string[] = [];

  beforeAll(async () => {
    // Nomad's own least is a minute.
    const config = 'acl { token_min_expiration_ttl = "1s" }';
    [nomad, vault] = await Promise.all([startNomad({ client: false, config }), startVault()]);
    [live, liveVault] = [new LiveNomad(nomad), new LiveVault(vault)];
    const pair = await generateKeyPair('RS256');
    key = pair.privateKey;
    const pem = await exportSPKI(pair.publicKey);
    await put('/v1/acl/auth-method', {
      Name: 'operator',
      Type: 'JWT',
      TokenLocality: 'local',
      MaxTokenTTL: '1h',
      Config: {
        JWTValidationPubKeys: [pem],
        BoundAudiences: ['nomad'],
        SigningAlgs: ['RS256'],
        ClaimMappings: { sub: 'sub' },
      },
    });
    await put('/v1/acl/binding-rule', {
      AuthMethod: 'operator',
      BindType: 'management',
      Selector: 'value.sub == "operator"',
    });
    await liveVault.request('POST', 'sys/mounts/nomad', { type: 'nomad' });
    await liveVault.request('POST', 'nomad/config/access', { address: nomad.address, token: nomad.token });
    await liveVault.request('POST', 'nomad/role/operator', { type: 'management' });
  });
  afterAll(async () => {
    await Promise.all([nomad.stop(), vault.stop()]);
    folder.remove();
  });
  beforeEach(async () => {
    connected = new Connected({ env: { VAULT_TOKEN: vault.token }, allowed: [nomad.address, vault.address] });
    await Promise.all([writeJwt('operator'), setMaxTtl('1h'), setLease(3600, 86_400)]);
  });
  afterEach(async () => {
    await connected.close();
    for (const secret of secrets) expect(connected.said.join('\n')).not.toContain(secret);
    // Whatever came before: nothing of ours is left.
    await vi.waitFor(async () => {
      expect((await live.tokens()).map((t) => t.Name)).toEqual(['Bootstrap Token']);
    }, soon);
  });

  async function put(path: string, body: object): Promise<void> {
    const { status, body: answer } = await live.request('PUT', path, body);
    expect([status, answer]).toEqual([200, expect.anything()]);
  }

  async function writeJwt(subject: string): Promise<void> {
    const jwt = await new SignJWT({ sub: subject })
      .setProtectedHeader({ alg: 'RS256' })
      .setAudience('nomad')
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(key);
    secrets.push(jwt);
    writeFileSync(tokenFile, `${jwt}\n`);
  }

  const setMaxTtl = (ttl: string): Promise<void> =>
    put('/v1/acl/auth-method/operator', { Name: 'operator', MaxTokenTTL: ttl });
  const setLease = (ttl: number, max_ttl: number): Promise<unknown> =>
    liveVault.request('POST', 'nomad/config/lease', { ttl, max_ttl });

  const declaredNomad = (auth: object): ReturnType<typeof declared> =>
    declared('NomadCluster', 'default', { address: nomad.address, auth });
  const byJwt = (more: object = {}): Promise<unknown> =>
    connected.declare([declaredNomad({ jwt: { method: 'operator', tokenFile, ...more } })]);
  const declaredVault = (auth: object = { tokenEnv: 'VAULT_TOKEN' }): ReturnType<typeof declared> =>
    declared('VaultServer', 'default', { address: vault.address, auth });
  const byVault = (more: object = {}): Promise<unknown> =>
    connected.declare([declaredNomad({ vault: { role: 'operator', ...more } }), declaredVault()]);

  async function self(): Promise<Self> {
    const found = await connected.opened.io.nomad('default').get<Self>('/v1/acl/token/self');
    if (found === undefined) throw new Error('Nomad does not know us');
    return found.body;
  }
  const isAlive = async (accessor: string): Promise<boolean> =>
    (await live.request('GET', `/v1/acl/token/${accessor}`)).status === 200;
  const revoke = (accessor: string): Promise<unknown> => live.request('DELETE', `/v1/acl/token/${accessor}`);
  const refusedRequests = (): string[] => connected.requests.filter((request) => !/ (200|204)$/.test(request));

  /** Asks without a pause, until it is asked as somebody else. @returns how long that took; milliseconds. */
  async function untilAnother(accessor: string): Promise<number> {
    const startedAt = performance.now();
    while ((await self()).AccessorID === accessor) {
      expect(performance.now() - startedAt, 'it was never replaced').toBeLessThan(60_000);
      await sleep(20);
    }
    return performance.now() - startedAt;
  }

  /** The policies that the event stream tells of, and by how many streams. */
  function followEvents(): { readonly seen: string[]; streams: number; end: () => Promise<void> } {
    const ended = new AbortController();
    const followed = { seen: [] as string[], streams: 0 };
    const note = ({ Key }: NomadEvent): number => followed.seen.push(Key);
    const running = (async () => {
      while (!ended.signal.aborted) {
        followed.streams++;
        try {
          for await (const events of connected.opened.io.nomad('default').events(['ACLPolicy'], ended.signal))
            events.forEach(note);
        } catch {
          // It is opened anew, as the engine does it.
        }
        await sleep(100);
      }
    })();
    return Object.assign(followed, {
      end: async () => {
        ended.abort();
        await running;
      },
    });
  }

  describe('by a JWT', () => {
    it('gives management for a time, and the token does not outlive us', async () => {
      await byJwt();
      expect(connected.only.refused).toBeUndefined();
      const { AccessorID, Type, ExpirationTime } = await self();
      expect([Type, ExpirationTime]).toEqual(['management', expect.any(String)]);
      // However much is asked, it is one login.
      await Promise.all(Array.from({ length: 20 }, () => self()));
      expect((await live.tokens()).filter((t) => t.Name !== 'Bootstrap Token')).toHaveLength(1);
      await connected.opened.close();
      expect(await isAlive(AccessorID)).toBe(false);
    });

    it('a token is replaced before it ends: no request fails, and none that was replaced is left', async () => {
      await setMaxTtl('10s');
      await byJwt();
      for (let round = 0; round < 3; round++) {
        const { AccessorID } = await self();
        expect(await untilAnother(AccessorID)).toBeLessThan(10_000);
        await vi.waitFor(async () => {
          expect(await isAlive(AccessorID)).toBe(false);
        }, soon);
      }
      expect([refusedRequests(), connected.changes, connected.only.refused]).toEqual([[], 0, undefined]);
    });

    it('a stream that was opened with a token that is replaced goes on with the next one', async () => {
      await setMaxTtl('10s');
      await byJwt();
      const followed = followEvents();
      try {
        for (let round = 0; round < 3; round++) {
          await untilAnother((await self()).AccessorID);
          const name = `told-${String(round)}`;
          await live.putPolicy(name, 'namespace "default" { policy = "read" }');
          await vi.waitFor(() => {
            expect(followed.seen).toContain(name);
          }, soon);
        }
        // No loop: about one for each token.
        expect(followed.streams).toBeLessThan(8);
      } finally {
        await followed.end();
        await live.clear();
      }
    });

    it('a revoked token is replaced within the request that finds out, and the connection stays the same', async () => {
      await byJwt();
      const connection = connected.only;
      const { AccessorID } = await self();
      await revoke(AccessorID);
      const answers = await Promise.all(Array.from({ length: 10 }, () => self()));
      expect(new Set(answers.map((a) => a.AccessorID)).size).toBe(1);
      expect(answers[0]?.AccessorID).not.toBe(AccessorID);
      expect([connected.only, connected.changes]).toEqual([connection, 0]);
    });

    it('what a token has no right to is refused without logging in again and again', async () => {
      await put('/v1/acl/binding-rule', {
        AuthMethod: 'operator',
        BindType: 'policy',
        BindName: 'nothing',
        Selector: 'value.sub == "nobody"',
      });
      await live.putPolicy('nothing', 'namespace "default" { policy = "read" }');
      await writeJwt('nobody');
      await byJwt();
      const { AccessorID, Type } = await self();
      expect(Type).toBe('client');
      for (let i = 0; i < 5; i++) {
        const error = (await connected.opened.io
          .nomad('default')
          .list('/v1/acl/tokens')
          .catch((e: unknown) => e)) as TargetError;
        expect([error.class, error.status]).toEqual(['denied', 403]);
      }
      expect((await self()).AccessorID).toBe(AccessorID);
      expect(connected.requests.filter((request) => request === 'PUT 200')).toHaveLength(1);
      // It has no right to delete itself.
      await connected.close();
      await live.clear();
    });

    it('a method that is not there yet is refused in Nomad’s words, and used once it is there', async () => {
      await byJwt({ method: 'later' });
      expect(connected.only.refused).toEqual({
        error: expect.stringMatching(/^NomadCluster default: PUT .*\/v1\/acl\/login: \d+ .*later/) as string,
        reason: 'Denied',
      });
      const { body: method } = await live.request<object>('GET', '/v1/acl/auth-method/operator');
      await put('/v1/acl/auth-method', { ...method, Name: 'later' });
      await put('/v1/acl/binding-rule', { AuthMethod: 'later', BindType: 'management' });
      await connected.until('usable', 40_000);
      expect((await self()).Type).toBe('management');
      await live.request('DELETE', '/v1/acl/auth-method/later');
    });

    it('a JWT that nothing binds, or that is none, is refused; the next one is read and used', async () => {
      await writeJwt('somebody');
      await byJwt();
      const first = connected.only.refused;
      expect([first?.reason, first?.error]).toEqual(['Denied', expect.stringMatching(/acl\/login: 4\d\d .*bind/)]);
      writeFileSync(tokenFile, 'hunter2.hunter2.hunter2');
      secrets.push('hunter2');
      await vi.waitFor(() => {
        expect(connected.only.refused?.error).not.toBe(first?.error);
      }, soon);
      expect(connected.only.refused?.reason).toBe('Denied');
      await writeJwt('operator');
      await connected.until('usable', 40_000);
      await self();
    });

    it('a token file that is not there yet is waited for, and named', async () => {
      const later = join(folder.path, 'later');
      await byJwt({ tokenFile: later });
      expect(connected.only.refused).toEqual({
        error: expect.stringMatching(/there is no token \(spec\.auth\.jwt\.tokenFile\): .*later'/) as string,
        reason: 'Denied',
      });
      await expect(self()).rejects.toThrow(later);
    });
  });

  describe('by Vault’s secrets engine', () => {
    const leases = async (): Promise<number> => {
      const { status, body } = await liveVault.request<{ data: { keys: string[] } }>(
        'GET',
        'sys/leases/lookup/nomad/creds/operator?list=true',
      );
      return status === 200 ? body.data.keys.length : 0;
    };

    it('gives a management token, and neither it nor its lease outlives us', async () => {
      await byVault();
      const { AccessorID, Type, Name } = await self();
      expect([Type, Name]).toEqual(['management', expect.stringMatching(/^vault-operator-/)]);
      expect(await leases()).toBe(1);
      await connected.opened.close();
      expect([await isAlive(AccessorID), await leases()]).toEqual([false, 0]);
    });

    it('is renewed as long as that helps, and replaced before it ends: no request fails', async () => {
      await setLease(9, 24);
      await byVault();
      const { AccessorID } = await self();
      expect(await untilAnother(AccessorID), 'it was replaced and not renewed').toBeGreaterThan(9_000);
      await vi.waitFor(async () => {
        expect([await isAlive(AccessorID), await leases()]).toEqual([false, 1]);
      }, soon);
      expect([refusedRequests(), connected.changes]).toEqual([[], 0]);
    });

    it('a revoked lease is replaced within the request that finds out', async () => {
      await byVault();
      const { AccessorID } = await self();
      await liveVault.request('PUT', 'sys/leases/revoke-prefix/nomad/creds/operator', { sync: true });
      expect(await isAlive(AccessorID)).toBe(false);
      const answers = await Promise.all(Array.from({ length: 10 }, () => self()));
      expect(new Set(answers.map((a) => a.AccessorID)).size).toBe(1);
      expect(answers[0]?.AccessorID).not.toBe(AccessorID);
      expect(connected.changes).toBe(0);
    });

    it('waits for a Vault that is not there yet, whichever is declared first', async () => {
      await connected.declare([declaredNomad({ vault: { role: 'operator' } })]);
      expect(connected.only.refused?.error).toBe(
        'NomadCluster default: there is no VaultServer named default, which spec.auth.vault names',
      );
      await connected.declare([declaredVault(), declaredNomad({ vault: { role: 'operator' } })]);
      await vi.waitFor(self, { timeout: 40_000, interval: 100 });
    });

    it('a role that is none is refused in Vault’s words', async () => {
      await byVault({ role: 'nobody' });
      expect(connected.only.refused).toEqual({
        error: expect.stringMatching(/^NomadCluster default: GET .*\/v1\/nomad\/creds\/nobody: 4\d\d .*role/) as string,
        reason: 'Denied',
      });
    });

    it('a login at Vault that is over takes its lease along, and both are had again within the request', async () => {
      const { body } = await liveVault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {});
      writeFileSync(join(folder.path, 'vault-token'), body.auth.client_token);
      const auth = { tokenFile: join(folder.path, 'vault-token') };
      await connected.declare([declaredNomad({ vault: { role: 'operator' } }), declaredVault(auth)]);
      const { AccessorID } = await self();
      writeFileSync(join(folder.path, 'vault-token'), vault.token);
      await liveVault.request('PUT', 'auth/token/revoke', { token: body.auth.client_token });
      await vi.waitFor(async () => {
        expect(await isAlive(AccessorID)).toBe(false);
      }, soon);
      expect((await self()).AccessorID).not.toBe(AccessorID);
    });
  });

  describe('of commands that end', () => {
    let workspace: Workspace;
    beforeEach(() => {
      workspace = new Workspace({ nomad, vault });
      workspace.write('policy.yaml', manifest('AclPolicy', 'made', `rules: 'namespace "default" { policy = "read" }'`));
    });
    afterEach(() => {
      workspace.dispose();
    });

    it.each([
      ['jwt', () => `{ method: operator, tokenFile: ${tokenFile} }`],
      ['vault', () => '{ role: operator }'],
    ])('%s: each gives back what it logged in by', async (way, auth) => {
      const connection = (): string =>
        manifest('NomadCluster', 'default', `address: ${nomad.address}\nauth: { ${way}: ${auth()} }`);
      workspace.write('nomad.yaml', connection());
      expect(await workspace.apply()).toMatchObject({ code: 0, summary: { create: 1 } });
      expect(await workspace.plan()).toMatchObject({ code: 0, summary: { noop: 1 } });
      const imported = await workspace.run('import', '-f', 'manifests', '--out', 'imported', '--kind', 'AclPolicy');
      expect([imported.code, imported.stderr]).toEqual([0, expect.anything()]);
      // The connections alone are left, as the inventory has them.
      expect(await workspace.destroy()).toMatchObject({ code: 0, summary: { delete: 1 } });
      expect(await live.policyNames()).toEqual([]);
      expect((await live.tokens()).map((t) => t.Name)).toEqual(['Bootstrap Token']);
    });

    it('an inventory in Nomad is kept by the same login', async () => {
      workspace.write(
        'nomad.yaml',
        manifest('NomadCluster', 'default', `address: ${nomad.address}\nauth: { vault: { role: operator } }`),
      );
      const state = ['--state', 'nomad:nomad-access/login'];
      expect(await workspace.apply(...state)).toMatchObject({ code: 0, summary: { create: 1 } });
      expect(await workspace.destroy(...state)).toMatchObject({ code: 0, summary: { delete: 1 } });
    });
  });
});
