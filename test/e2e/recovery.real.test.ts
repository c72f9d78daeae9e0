import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { freePorts } from '../servers/ports.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('recovery from what is half done', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveVault: LiveVault;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    liveVault = new LiveVault(vault);
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));

  it('a JWKS URL that is unreachable at first: the apply names it, and the same apply converges later', async () => {
    const workspace = new Workspace({ nomad, vault });
    const [port = 0] = await freePorts(1);
    const url = `http://127.0.0.1:${String(port)}/jwks`;
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${url}`));

    const failed = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain(url);
    expect(failed.stdout).toMatch(
      /failed: VaultJwtIntegration default\/workloads \(default\/jwt-config\/jwt-nomad\).*error checking jwks URL.*Vault could not fetch the keys there/,
    );
    expect(failed.stdout).toContain(
      'skipped: VaultJwtIntegration default/workloads (default/jwt-role/jwt-nomad/nomad-workloads)',
    );
    expect(await liveVault.data('sys/auth/jwt-nomad')).toMatchObject({ type: 'jwt' });
    expect(await liveVault.data('auth/jwt-nomad/config')).toBeUndefined();

    const { body } = await new LiveNomad(nomad).request('GET', '/.well-known/jwks.json');
    const server = createServer((_request, response) => response.end(JSON.stringify(body)));
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
    expect((await workspace.apply()).code).toBe(0);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    server.close();
    expect((await workspace.destroy()).code).toBe(0);
    workspace.dispose();
  });

  it('the mount that an interrupted `nomad setup vault` left behind is adopted and finished', async () => {
    await liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    const workspace = new Workspace({ nomad, vault });
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(0);
    expect(steps.map((s) => s.reason)).toEqual(['Adopted', 'New', 'New', 'New']);
    expect((await workspace.destroy()).code).toBe(0);
    expect(await liveVault.data('sys/auth/jwt-nomad')).toBeUndefined();
    workspace.dispose();
  });

  it('a mount that was disabled and enabled again by hand gets a policy with its new accessor', async () => {
    const workspace = new Workspace({ nomad, vault });
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    await workspace.apply();
    const before = String((await liveVault.data('sys/auth/jwt-nomad'))?.['accessor']);
    await liveVault.request('DELETE', 'sys/auth/jwt-nomad');
    await liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    const after = String((await liveVault.data('sys/auth/jwt-nomad'))?.['accessor']);
    expect(after).not.toBe(before);
    expect((await workspace.apply()).code).toBe(0);
    const policy = String((await liveVault.data('sys/policies/acl/nomad-workloads'))?.['policy']);
    expect(policy).toContain(after);
    expect(policy).not.toContain(before);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    await workspace.destroy();
    workspace.dispose();
  });

  it('rules that Nomad refuses fail with its own words, and independent resources go on', async () => {
    const workspace = new Workspace({ nomad, vault });
    workspace.write('bad.yaml', manifest('AclPolicy', 'bad', 'rules: \'namespace "x" { policy = "everything" }\''));
    workspace.write('good.yaml', manifest('AclPolicy', 'good', 'rules: \'namespace "x" { policy = "read" }\''));
    workspace.write('token.yaml', manifest('AclToken', 'depends', 'policies: [bad]\nwriteSecretTo: { none: {} }'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    const result = (name: string): unknown => steps.find((s) => s.name === name)?.result;
    expect(result('bad')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('failed to parse rules') as string,
    });
    expect(result('good')).toMatchObject({ status: 'done' });
    expect(result('depends')).toMatchObject({ status: 'skipped' });
    const text = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(text.stdout).toContain('failed: AclPolicy default/bad');
    await workspace.destroy();
    workspace.dispose();
  });

  it('a server that does not answer refuses its own objects only', async () => {
    const workspace = new Workspace({
      nomad,
      vault: { address: `http://127.0.0.1:${String((await freePorts(1))[0])}`, token: 'x' },
    });
    workspace.write('policy.yaml', manifest('AclPolicy', 'alone', 'rules: \'namespace "x" { policy = "read" }\''));
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps.find((s) => s.name === 'alone')?.result).toMatchObject({ status: 'done' });
    expect(steps.filter((s) => s.name === 'workloads').map((s) => s.reason)).toContain('Unavailable');
    expect(JSON.stringify(steps)).toContain('connection refused');
    workspace.retarget({ nomad, vault });
    workspace.dispose();
    await new LiveNomad(nomad).request('DELETE', '/v1/acl/policy/alone');
  });
});
