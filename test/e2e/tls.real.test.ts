import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { makeCertificates } from '../servers/certificates.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('a Nomad behind mTLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-tls-'));
  let nomad: NomadServer;
  let vault: VaultServer;
  let workspace: Workspace;
  let certificates: ReturnType<typeof makeCertificates>;

  beforeAll(async () => {
    certificates = makeCertificates(folder);
    const { caFile, server } = certificates;
    [nomad, vault] = await Promise.all([
      startNomad({ client: false, tls: { caFile, ...server, verifyHttpsClient: true } }),
      startVault(),
    ]);
    workspace = new Workspace({ nomad, vault });
  });
  afterAll(async () => {
    workspace.dispose();
    rmSync(folder, { recursive: true, force: true });
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it('is reached with the client certificate of the environment, as `nomad` reads it', async () => {
    workspace.write('a.yaml', manifest('AclPolicy', 'one', `rules: 'namespace "default" { policy = "read" }'`));
    const without = await workspace.run('plan', '-f', 'manifests');
    expect(without.code).toBe(1);
    expect(without.stdout).toMatch(/TLS failed|certificate/);
    const env = {
      NOMAD_CACERT: certificates.caFile,
      NOMAD_CLIENT_CERT: certificates.client.certFile,
      NOMAD_CLIENT_KEY: certificates.client.keyFile,
    };
    const { code, stderr } = await workspace.start(['apply', '-f', 'manifests', '-y'], env).outcome;
    expect(code, stderr).toBe(0);
  });

  it('gives its keys to Vault by syncKeys, where Vault itself cannot fetch them', async () => {
    const tls = `tls: { caFile: ${certificates.caFile}, clientCertFile: ${certificates.client.certFile}, clientKeyFile: ${certificates.client.keyFile} }`;
    workspace.write(
      'nomad.yaml',
      manifest('NomadCluster', 'default', `address: ${nomad.address}\n${tls}\nauth: { tokenEnv: NOMAD_TOKEN }`),
    );
    workspace.write('vault.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const refused = await workspace.apply();
    expect(refused.code).toBe(1);
    expect(JSON.stringify(refused.steps)).toContain('Vault could not fetch the keys there');
    workspace.write('vault.yaml', manifest('VaultJwtIntegration', 'workloads', 'syncKeys: {}'));
    expect((await workspace.apply()).code).toBe(0);
    expect(String((await new LiveVault(vault).data('auth/jwt-nomad/config'))?.['jwt_validation_pubkeys'])).toContain(
      'BEGIN PUBLIC KEY',
    );
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    expect((await workspace.destroy()).code).toBe(0);
  });
});
