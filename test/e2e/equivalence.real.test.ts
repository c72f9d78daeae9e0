import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';
import { nomadSetupVault } from './nomad-setup-vault.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('an empty VaultJwtIntegration and `nomad setup vault -y`', () => {
  let nomad: NomadServer;
  let byNomad: VaultServer;
  let byUs: VaultServer;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, byNomad, byUs] = await Promise.all([startNomad({ client: false }), startVault(), startVault()]);
    workspace = new Workspace({ nomad, vault: byUs });
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), byNomad.stop(), byUs.stop()]);
  });

  /** Everything of both, with the random accessor in its place and the mount's own identifiers left out. */
  async function readBack(server: VaultServer): Promise<unknown> {
    const vault = new LiveVault(server);
    const { accessor, uuid, ...mount } = (await vault.data('sys/auth/jwt-nomad')) ?? {};
    expect([typeof accessor, typeof uuid]).toEqual(['string', 'string']);
    const policy = await vault.data('sys/policies/acl/nomad-workloads');
    return {
      mount,
      config: await vault.data('auth/jwt-nomad/config'),
      roles: await vault.list('auth/jwt-nomad/role'),
      role: await vault.data('auth/jwt-nomad/role/nomad-workloads'),
      policies: await vault.list('sys/policies/acl'),
      policy: String(policy?.['policy']).replaceAll(String(accessor), 'ACCESSOR'),
    };
  }

  it('read back the same, field by field', async () => {
    const url = `${nomad.address}/.well-known/jwks.json`;
    const setup = await nomadSetupVault(nomad, byNomad, url);
    expect(setup.code, setup.stderr).toBe(0);
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    const expected = await readBack(byNomad);
    expect(JSON.stringify(expected)).toContain('ACCESSOR');
    expect(await readBack(byUs)).toEqual(expected);
  });

  it('are one: what `nomad setup vault` made is adopted without a write', async () => {
    const adopter = new Workspace({ nomad, vault: byNomad });
    adopter.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const { steps } = await adopter.plan();
    adopter.dispose();
    expect(steps.map((s) => [s.action, s.reason])).toEqual(Array.from({ length: 4 }, () => ['noop', 'Adopted']));
  });

  it('print agent configuration that names the mount and the audience', async () => {
    const { stdout, code } = await workspace.run('agent-config', '-f', 'manifests', '-o', 'json');
    expect(code).toBe(0);
    const { integrations } = JSON.parse(stdout) as { integrations: { client: string; server: string }[] };
    expect(integrations[0]?.client).toContain('jwt_auth_backend_path = "jwt-nomad"');
    expect(integrations[0]?.client).toContain(byUs.address);
    expect(integrations[0]?.server).toContain('aud = ["vault.io"]');
  });
});

/** The real command, with the Vault of its environment. */
