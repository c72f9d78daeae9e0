import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { LiveVault } from './live.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

/** Whoever removes an integration must see beforehand that running tasks lose their tokens. */
describe.skipIf(!requireServers('nomad', 'vault'))('the deletion of an integration', () => {
  const servers = useRealServers();
  let server: Server;
  let jwksUrl: string;
  let mint: () => Promise<string>;

  beforeAll(async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    const keys = [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256', use: 'sig' }];
    server = createServer((_request, response) => response.end(JSON.stringify({ keys })));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    jwksUrl = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/jwks`;
    mint = () =>
      new SignJWT({ nomad_namespace: 'default', nomad_job_id: 'mongo', nomad_task: 'db' })
        .setProtectedHeader({ alg: 'RS256', kid: 'k' })
        .setAudience('vault.io')
        .setSubject('somebody')
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey);
  });
  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });

  async function login(): Promise<string> {
    const { status, token, errors } = await servers.liveVault.login('jwt-nomad', 'nomad-workloads', await mint());
    expect(status, String(errors)).toBe(200);
    return token ?? '';
  }

  async function isAlive(token: string): Promise<boolean> {
    const asTask = new LiveVault({ address: servers.vault.address, token });
    return (await asTask.request('GET', 'auth/token/lookup-self')).status === 200;
  }

  it('says in the plan how many live tokens it revokes, and revokes them', async () => {
    const { workspace } = servers;
    workspace.write(
      'i.yaml',
      manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${jwksUrl}\nsupportedAlgs: RS256`),
    );
    expect((await workspace.apply()).code).toBe(0);
    const tokens = [await login(), await login()];
    for (const token of tokens) expect(await isAlive(token)).toBe(true);

    workspace.remove('i.yaml');
    const mount = (await workspace.plan()).steps.find((s) => s.object === 'default/auth-mount/jwt-nomad');
    expect(mount).toMatchObject({ action: 'delete' });
    expect(mount?.message).toMatch(/revokes 2 tokens/);
    expect((await workspace.run('plan', '-f', 'manifests')).stdout).toMatch(/revokes 2 tokens/);
    for (const token of tokens) expect(await isAlive(token)).toBe(true);

    expect((await workspace.apply('--allow-mass-delete')).code).toBe(0);
    for (const token of tokens) expect(await isAlive(token)).toBe(false);
  });

  it('says nothing of tokens while the mount stays: a dropped role leaves those that are logged in alone', async () => {
    const { workspace } = servers;
    const role = (name: string): string =>
      `  - { name: ${name}, boundAudiences: vault.io, tokenPolicies: [default], tokenPeriod: 30m }`;
    const keys = `jwksUrl: ${jwksUrl}\nsupportedAlgs: RS256\n`;
    workspace.write(
      'i.yaml',
      manifest('VaultJwtIntegration', 'workloads', `${keys}roles:\n${role('nomad-workloads')}\n${role('other')}`),
    );
    expect((await workspace.apply()).code).toBe(0);
    const token = await login();
    workspace.write(
      'i.yaml',
      manifest('VaultJwtIntegration', 'workloads', `${keys}roles:\n${role('nomad-workloads')}`),
    );
    const { code, steps } = await workspace.apply();
    expect(code).toBe(0);
    expect(steps.filter((s) => s.action === 'delete').map((s) => s.object)).toEqual([
      'default/jwt-role/jwt-nomad/other',
    ]);
    expect(JSON.stringify(steps)).not.toContain('revokes');
    expect(await isAlive(token)).toBe(true);
  });
});
