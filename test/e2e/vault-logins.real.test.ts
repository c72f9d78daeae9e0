import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/contract/clock.ts';
import type { TargetError } from '../../src/contract/errors.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { Connected, declared } from '../credentials/connected.ts';
import { commandsFor, runOnVault } from '../manifests/vault-readme.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';

/** What Vault says of the token that asks. */
interface Self {
  readonly accessor: string;
  readonly path: string;
  readonly policies: readonly string[];
}

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

describe.skipIf(!requireServers('vault', 'etcd', 'kube-apiserver', 'kubectl'))('logins at Vault', () => {
  const folder = temporaryDirectory('logins');
  const tokenFile = join(folder.path, 'token');
  let vault: VaultServer;
  let live: LiveVault;
  let kubernetes: KubernetesServer;
  let api: KubernetesClient;
  let connected: Connected;
  let approle: { roleId: string; secretId: string };
  /** What must never be said. */
  const secrets: string[] = [];

  beforeAll(async () => {
    [vault, kubernetes] = await Promise.all([startVault(), startKubernetes()]);
    live = new LiveVault(vault);
    api = await openKubernetes({ kubeconfig: kubernetes.kubeconfig });
    runOnVault(vault, commandsFor(undefined));
    await kubectl('create', 'namespace', 'nomad-access');
    await kubectl('create', 'serviceaccount', 'nomad-access', '-n', 'nomad-access');
    await enableKubernetes();
    await enableJwt();
    const [roleId = '', secretId = ''] = runOnVault(vault, commandsFor('approle')).match(UUID) ?? [];
    approle = { roleId, secretId };
  });
  afterAll(async () => {
    await api.close();
    await Promise.all([vault.stop(), kubernetes.stop()]);
    folder.remove();
  });
  beforeEach(async () => {
    connected = new Connected({ kubernetes: api, allowed: [vault.address] });
    writeFileSync(tokenFile, await serviceAccountToken('vault'));
    for (const login of ['kubernetes', 'jwt', 'approle'] as const) await setTtl(login, '1h', '24h');
  });
  afterEach(async () => {
    await connected.close();
    for (const secret of secrets) expect(connected.said.join('\n')).not.toContain(secret);
  });

  async function kubectl(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await kubernetes.kubectl(...args);
    expect(code, stderr).toBe(0);
    return stdout.trim();
  }

  async function serviceAccountToken(audience: string): Promise<string> {
    const token = await kubectl('create', 'token', 'nomad-access', '-n', 'nomad-access', `--audience=${audience}`);
    secrets.push(token);
    return token;
  }

  /** As the README says, and what Vault needs where it does not run in the cluster. */
  async function enableKubernetes(): Promise<void> {
    await kubectl('create', 'serviceaccount', 'vault', '-n', 'default');
    await kubectl(
      'create',
      'clusterrolebinding',
      'v',
      '--clusterrole=system:auth-delegator',
      '--serviceaccount=default:vault',
    );
    const reviewer = await kubectl('create', 'token', 'vault', '-n', 'default');
    const elsewhere = `kubernetes_host=${kubernetes.address} kubernetes_ca_cert=@${kubernetes.caFile} token_reviewer_jwt=${reviewer} disable_local_ca_jwt=true`;
    runOnVault(vault, commandsFor('kubernetes').replace('kubernetes_host=https://kubernetes.default.svc', elsewhere));
  }

  async function enableJwt(): Promise<void> {
    const { keys } = JSON.parse(await kubectl('get', '--raw', '/openid/v1/jwks')) as { keys: [Record<string, string>] };
    const pem = createPublicKey({ key: { ...keys[0] }, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    writeFileSync(join(folder.path, 'issuer.pem'), pem);
    runOnVault(vault, commandsFor('jwt').replace('@issuer.pem', `@${join(folder.path, 'issuer.pem')}`));
  }

  async function setTtl(login: string, ttl: string, max: string): Promise<void> {
    const path = `auth/${login}/role/nomad-access`;
    const role = await live.data(path);
    await live.request('POST', path, { ...role, token_ttl: ttl, token_max_ttl: max });
  }

  const open = (auth: object): Promise<unknown> =>
    connected.declare([declared('VaultServer', 'default', { address: vault.address, auth })]);
  const byKubernetes = (more: object = {}): Promise<unknown> =>
    open({ kubernetes: { role: 'nomad-access', tokenFile, ...more } });

  async function self(): Promise<Self> {
    const found = await connected.opened.io.vault('default').read<Self>('auth/token/lookup-self');
    if (found === undefined) throw new Error('Vault does not know us');
    return found;
  }

  async function isAlive(accessor: string): Promise<boolean> {
    return (await live.request('POST', 'auth/token/lookup-accessor', { accessor })).status === 200;
  }

  const revoke = (accessor: string): Promise<unknown> =>
    live.request('POST', 'auth/token/revoke-accessor', { accessor });

  it.each([
    ['kubernetes', 'a ServiceAccount that Vault asks the API server about', () => byKubernetes()],
    ['jwt', 'a JWT whose issuer Vault trusts', () => open({ jwt: { role: 'nomad-access', tokenFile } })],
    [
      'approle',
      'an AppRole',
      () => {
        writeFileSync(join(folder.path, 'secret-id'), approle.secretId);
        return open({ approle: { roleId: approle.roleId, secretIdFile: join(folder.path, 'secret-id') } });
      },
    ],
  ])('%s: %s gets the policy of its role, and the token does not outlive us', async (mount, _who, login) => {
    await login();
    expect(connected.only.refused).toBeUndefined();
    const { accessor, path, policies } = await self();
    expect([path, policies]).toEqual([`auth/${mount}/login`, ['default', 'nomad-access']]);
    await connected.opened.close();
    expect(await isAlive(accessor)).toBe(false);
  });

  it('a token is renewed as long as that helps, and replaced before it ends: no request fails', async () => {
    await setTtl('kubernetes', '9s', '21s');
    await byKubernetes();
    const first = await self();
    const startedAt = performance.now();
    let lastSeenAt = startedAt;
    for (let now = first; now.accessor === first.accessor; now = await self()) {
      lastSeenAt = performance.now();
      expect(lastSeenAt - startedAt, 'it was never replaced').toBeLessThan(60_000);
      await sleep(50);
    }
    expect(lastSeenAt - startedAt, 'it was replaced and not renewed').toBeGreaterThan(9_000);
    expect(connected.requests.filter((request) => !request.endsWith(' 200'))).toEqual([]);
    expect([connected.changes, connected.only.refused]).toEqual([0, undefined]);
  });

  it('a token that cannot be renewed is replaced before it ends', async () => {
    await live.request('POST', 'auth/kubernetes/role/batch', {
      ...(await live.data('auth/kubernetes/role/nomad-access')),
      token_type: 'batch',
      token_ttl: '4s',
    });
    await byKubernetes({ role: 'batch' });
    const until = performance.now() + 10_000;
    while (performance.now() < until) {
      await self();
      await sleep(50);
    }
    expect(connected.requests.filter((request) => request === 'POST 200').length).toBeGreaterThan(2);
    expect(connected.changes).toBe(0);
  });

  it('a revoked token is replaced within the request that finds out, and the connection stays the same', async () => {
    await byKubernetes();
    const connection = connected.only;
    const { accessor } = await self();
    await revoke(accessor);
    const answers = await Promise.all(Array.from({ length: 10 }, () => self()));
    expect(new Set(answers.map((a) => a.accessor)).size).toBe(1);
    expect(answers[0]?.accessor).not.toBe(accessor);
    expect((await connected.declare([declaredAgain()]))[0]).toBe(connection);
    expect(connected.requests.filter((request) => request === 'POST 200')).toHaveLength(2);

    function declaredAgain(): ReturnType<typeof declared> {
      return declared('VaultServer', 'default', {
        address: vault.address,
        auth: { kubernetes: { role: 'nomad-access', tokenFile } },
      });
    }
  });

  it('what a token has no right to is refused without logging in again and again', async () => {
    await connected.close();
    // Time stands still: another look may be had after a while.
    const clock = { ...systemClock, monotonic: () => 0 };
    connected = new Connected({ kubernetes: api, allowed: [vault.address], clock });
    await byKubernetes();
    const { accessor } = await self();
    for (let i = 0; i < 5; i++) {
      const error = (await connected.opened.io
        .vault('default')
        .read('sys/audit')
        .catch((e: unknown) => e)) as TargetError;
      expect([error.class, error.status]).toEqual(['denied', 403]);
    }
    expect((await self()).accessor).toBe(accessor);
    expect(connected.requests.filter((request) => request.startsWith('POST'))).toEqual(['POST 200']);
    // One look whether the token is alive serves all five.
    expect(connected.requests.filter((request) => request === 'GET 403')).toHaveLength(5);
    expect(connected.requests.filter((request) => request === 'GET 200')).toHaveLength(3);
  });

  it('a token that may not look itself up does not make it log in again and again either', async () => {
    await live.request('POST', 'auth/kubernetes/role/bare', {
      ...(await live.data('auth/kubernetes/role/nomad-access')),
      token_no_default_policy: true,
    });
    await byKubernetes({ role: 'bare' });
    for (let i = 0; i < 4; i++) {
      await expect(connected.opened.io.vault('default').read('sys/audit')).rejects.toThrow('permission denied');
      await sleep(1_050);
    }
    expect(connected.requests.filter((request) => request.startsWith('POST'))).toEqual(['POST 200', 'POST 200']);
    await connected.opened.io.vault('default').read('sys/auth');
  });

  it('a role that is not there yet is refused in Vault’s words, and used once it is there', async () => {
    await byKubernetes({ role: 'later' });
    const refused = connected.only;
    expect(refused.refused).toEqual({
      error: expect.stringMatching(
        /^VaultServer default: .*auth\/kubernetes\/login: 400 invalid role name "later"/,
      ) as string,
      reason: 'Denied',
    });
    await live.request('POST', 'auth/kubernetes/role/later', await live.data('auth/kubernetes/role/nomad-access'));
    const usable = await connected.until('usable');
    expect(usable).not.toBe(refused);
    expect((await self()).path).toBe('auth/kubernetes/login');
  });

  it('a token file is read anew at each login: a wrong one is refused, and the next one used', async () => {
    await byKubernetes();
    writeFileSync(tokenFile, await serviceAccountToken('somebody-else'));
    await revoke((await self()).accessor);
    await expect(self()).rejects.toThrow(/auth\/kubernetes\/login|permission denied/);
    const { refused } = await connected.until('refused');
    expect(refused?.reason).toBe('Denied');
    expect(refused?.error).toContain('does its role accept what we log in with?');
    writeFileSync(tokenFile, await serviceAccountToken('vault'));
    await connected.until('usable');
    await self();
  });

  it('a token file that is not there yet is waited for, and named', async () => {
    const path = join(folder.path, 'later');
    await byKubernetes({ tokenFile: path });
    expect(connected.only.refused).toEqual({
      error: expect.stringMatching(/there is no token \(spec\.auth\.kubernetes\.tokenFile\): .*later'/) as string,
      reason: 'Denied',
    });
    writeFileSync(path, readFileSync(tokenFile));
    await connected.until('usable');
  });

  it('while Vault is sealed the connection is unavailable, and works by itself afterwards', async () => {
    await vault.seal();
    try {
      await byKubernetes();
      expect(connected.only.refused).toEqual({
        error: expect.stringContaining('Vault is sealed: unseal it') as string,
        reason: 'Unavailable',
      });
    } finally {
      await vault.unseal();
    }
    await connected.until('usable');
    await self();
  });

  it('a sealed Vault takes nothing from a login that is still good', async () => {
    await byKubernetes();
    const connection = connected.only;
    const { accessor } = await self();
    await vault.seal();
    await vault.unseal();
    expect((await vi.waitFor(self, { timeout: 20_000 })).accessor).toBe(accessor);
    expect([connected.only, connected.changes]).toEqual([connection, 0]);
  });

  describe('with a SecretID in a Secret', () => {
    const auth = (): object => ({
      approle: { roleId: approle.roleId, secretIdSecretRef: { namespace: 'nomad-access', name: 'vault' } },
    });
    const putSecret = async (secretId: string): Promise<void> => {
      secrets.push(secretId);
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'vault', namespace: 'nomad-access' } };
      const { code, stderr } = await kubernetes.kubectl('apply', '-f', '-', {
        input: JSON.stringify({ ...secret, stringData: { 'secret-id': secretId } }),
      });
      expect(code, stderr).toBe(0);
    };
    afterEach(() => kubectl('delete', 'secret', 'vault', '-n', 'nomad-access', '--ignore-not-found'));

    it('it is waited for, by namespace, name and key', async () => {
      await open(auth());
      expect(connected.only.refused).toEqual({
        error: expect.stringContaining(
          'there is no Secret nomad-access/vault, whose key "secret-id" must hold the SecretID: create it (kubectl create secret',
        ) as string,
        reason: 'Denied',
      });
      await putSecret(approle.secretId);
      await connected.until('usable', 20_000);
      expect((await self()).path).toBe('auth/approle/login');
    });

    it('a new one counts from the next login on', async () => {
      await putSecret(approle.secretId);
      await open(auth());
      const next = runOnVault(vault, 'vault write -force -field=secret_id auth/approle/role/nomad-access/secret-id');
      await putSecret(next);
      await live.request('POST', 'auth/approle/role/nomad-access/secret-id/destroy', { secret_id: approle.secretId });
      await vi.waitFor(
        async () => {
          await revoke((await self()).accessor);
          await self();
          expect(connected.only.refused).toBeUndefined();
        },
        { timeout: 30_000, interval: 50 },
      );
      approle = { ...approle, secretId: next };
    });
  });

  describe('a token that somebody made', () => {
    async function tokenWith(options: object): Promise<string> {
      const { body } = await live.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', options);
      secrets.push(body.auth.client_token);
      return body.auth.client_token;
    }

    it('is renewed beyond its time, and is not revoked when we end', async () => {
      const path = join(folder.path, 'made');
      writeFileSync(path, await tokenWith({ period: '9s' }));
      await open({ tokenFile: path });
      const { accessor } = await self();
      const until = performance.now() + 19_000;
      while (performance.now() < until) {
        expect((await self()).accessor).toBe(accessor);
        await sleep(100);
      }
      await connected.opened.close();
      expect(await isAlive(accessor)).toBe(true);
    });

    it('is replaced by another one in its file without a failed request, also where the old one was revoked at once', async () => {
      const path = join(folder.path, 'made');
      writeFileSync(path, await tokenWith({ ttl: '1h' }));
      await open({ tokenFile: path });
      const { accessor } = await self();
      writeFileSync(path, await tokenWith({ ttl: '1h' }));
      await revoke(accessor);
      expect((await self()).accessor).not.toBe(accessor);
    });
  });
});
