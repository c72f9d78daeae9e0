import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { runBatch } from './jobs.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('workload identity', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;

  beforeAll(async () => {
    vault = await startVault();
    nomad = await startNomad({ vaultAddress: vault.address });
    liveNomad = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
    workspace = new Workspace({ nomad, vault });
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it('a real batch job with `vault {}` reads its own secret after an apply', async () => {
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    await liveVault.request('POST', 'secret/data/default/mongo/config', { data: { password: 'from-vault' } });
    const template = `vault {}
      template {
        data        = "{{ with secret \\"secret/data/default/mongo/config\\" }}{{ .Data.data.password }}{{ end }}"
        destination = "local/password"
      }`;
    expect(await runBatch(liveNomad, 'mongo', 'cat local/password', template)).toBe('from-vault');
  });

  describe('a JWT that is minted by somebody', () => {
    let server: Server;
    let keys: JWK[] = [];
    const published: Record<string, Awaited<ReturnType<typeof generateKeyPair>>['privateKey']> = {};

    beforeAll(async () => {
      for (const alg of ['RS256', 'ES256']) {
        const { publicKey, privateKey } = await generateKeyPair(alg);
        published[alg] = privateKey;
        keys = [...keys, { ...(await exportJWK(publicKey)), kid: alg, alg, use: 'sig' }];
      }
      server = createServer((_request, response) => response.end(JSON.stringify({ keys })));
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      const { port } = server.address() as AddressInfo;
      workspace.write(
        'minted.yaml',
        manifest(
          'VaultJwtIntegration',
          'minted',
          `path: minted\njwksUrl: http://127.0.0.1:${String(port)}/jwks\nsupportedAlgs: RS256\nroles:\n  - { name: minted, boundAudiences: vault.io, tokenPolicies: [default] }\npolicies:\n  - { name: minted, rules: 'path "secret/data/x" { capabilities = ["read"] }' }`,
        ),
      );
      expect((await workspace.apply()).code).toBe(0);
    });
    afterAll(() => server.close());

    function mint(alg: string, audience: string, key = published[alg]): Promise<string> {
      if (key === undefined) throw new Error(`no key for ${alg}`);
      return new SignJWT({ nomad_namespace: 'default', nomad_job_id: 'mongo' })
        .setProtectedHeader({ alg, kid: alg })
        .setAudience(audience)
        .setSubject('somebody')
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(key);
    }

    it('logs in when everything is right', async () => {
      expect(await liveVault.login('minted', 'minted', await mint('RS256', 'vault.io'))).toMatchObject({ status: 200 });
    });
    it('is refused with a wrong audience', async () => {
      const { status, errors } = await liveVault.login('minted', 'minted', await mint('RS256', 'consul.io'));
      expect([status, String(errors)]).toEqual([400, expect.stringContaining('audience')]);
    });
    it('is refused with an algorithm that is not supported, though its key is published', async () => {
      expect((await liveVault.login('minted', 'minted', await mint('ES256', 'vault.io'))).status).toBe(400);
    });
    it('is refused with an unknown key', async () => {
      const { privateKey } = await generateKeyPair('RS256');
      expect((await liveVault.login('minted', 'minted', await mint('RS256', 'vault.io', privateKey))).status).toBe(400);
    });
  });

  it('with syncKeys, tokens signed by the old and by the new key both log in after a rotation', async () => {
    workspace.write(
      'synced.yaml',
      manifest(
        'VaultJwtIntegration',
        'synced',
        `path: synced\nsyncKeys: {}\nroles:\n  - { name: synced, boundAudiences: vault.io, tokenPolicies: [default] }\npolicies:\n  - { name: synced, rules: 'path "secret/data/x" { capabilities = ["read"] }' }`,
      ),
    );
    expect((await workspace.apply()).code).toBe(0);
    const identity = 'identity {\n name = "check"\n aud = ["vault.io"]\n file = true\n ttl = "1h"\n }';
    const print = 'cat "$NOMAD_SECRETS_DIR/nomad_check.jwt"';
    const old = await runBatch(liveNomad, 'before-rotation', print, identity);
    expect((await liveVault.login('synced', 'synced', old)).status).toBe(200);

    const rotation = await nomad.run('operator', 'root', 'keyring', 'rotate', '-now');
    expect(rotation.code, rotation.stderr).toBe(0);
    const fresh = await runBatch(liveNomad, 'after-rotation', print, identity);
    expect(kidOf(fresh)).not.toBe(kidOf(old));
    expect((await liveVault.login('synced', 'synced', fresh)).status).toBe(400);

    const plan = await workspace.plan();
    expect(plan.steps.filter((s) => s.action === 'update').map((s) => s.changes.map((c) => c.path))).toEqual([
      ['spec.syncKeys'],
    ]);
    expect((await workspace.apply()).code).toBe(0);
    for (const jwt of [old, fresh]) expect((await liveVault.login('synced', 'synced', jwt)).status).toBe(200);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('everything that was made for the workloads is gone after a destroy', async () => {
    expect((await workspace.destroy()).code).toBe(0);
    expect(Object.keys((await liveVault.data('sys/auth')) ?? {})).toEqual(['token/']);
    expect(await liveVault.list('sys/policies/acl')).toEqual(['default', 'root']);
  });
});

function kidOf(jwt: string): unknown {
  return (JSON.parse(Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString()) as { kid: unknown }).kid;
}
