import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

const READ = 'namespace "default" { policy = "read" }';
const THEIRS = 'namespace "theirs" { policy = "write" }';
const policy = (name: string): string => manifest('AclPolicy', name, `rules: '${READ}'`);
const token = (name: string, more = ''): string =>
  manifest('AclToken', name, `policies: [one]\nwriteSecretTo: { file: { path: secrets/${name} } }\n${more}`);

/** Names on a server can be given again. What somebody else made under the name of something of ours is theirs. */
describe.skipIf(!requireServers('nomad', 'vault'))('what stands in the place of something of ours', () => {
  const servers = useRealServers();

  it('a mount of another kind that somebody enabled at our path outlives a destroy, with who logs in by it', async () => {
    const { workspace, liveVault } = servers;
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    await liveVault.request('DELETE', 'sys/auth/jwt-nomad');
    await liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'userpass' });
    await liveVault.request('POST', 'auth/jwt-nomad/users/alice', { password: 'x', policies: 'default' });

    const { code, steps } = await workspace.destroy();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect(steps.find((s) => s.object === 'default/auth-mount/jwt-nomad')).toMatchObject({
      action: 'noop',
      reason: 'Gone',
      message: expect.stringContaining('not ours') as string,
    });
    expect((await liveVault.data('sys/auth/jwt-nomad'))?.['type']).toBe('userpass');
    expect(await liveVault.list('auth/jwt-nomad/users')).toEqual(['alice']);
    expect((await workspace.destroy()).steps).toEqual([]);
  });

  it('a JWT mount that somebody enabled anew at our path outlives a destroy too', async () => {
    const { workspace, liveVault } = servers;
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    await liveVault.request('DELETE', 'sys/auth/jwt-nomad');
    await liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    const theirs = (await liveVault.data('sys/auth/jwt-nomad'))?.['accessor'];

    expect((await workspace.destroy()).code).toBe(0);
    expect((await liveVault.data('sys/auth/jwt-nomad'))?.['accessor']).toBe(theirs);
  });

  it('a role that somebody made on their own mount at our path stays, though it has our name', async () => {
    const { nomad, workspace, liveVault } = servers;
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    await liveVault.request('DELETE', 'sys/auth/jwt-nomad');
    await liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    const role = { role_type: 'jwt', user_claim: 'sub', bound_audiences: ['theirs'] };
    await liveVault.request('POST', 'auth/jwt-nomad/role/nomad-workloads', role);
    await liveVault.request('POST', 'auth/jwt-nomad/config', {
      jwt_supported_algs: 'RS512',
      jwks_url: `${nomad.address}/.well-known/jwks.json`,
    });

    expect((await workspace.destroy()).code).toBe(0);
    expect((await liveVault.data('auth/jwt-nomad/role/nomad-workloads'))?.['bound_audiences']).toEqual(['theirs']);
  });

  it.each(['its manifest is removed', 'everything is destroyed'])(
    'a policy that somebody made anew under our name stays when %s',
    async (what) => {
      const { workspace, liveNomad } = servers;
      workspace.write('a.yaml', policy('kept'));
      workspace.write('b.yaml', policy('other'));
      await workspace.apply();
      // The reply to a create does not say which one it is: the next look at it does.
      await workspace.apply();
      await liveNomad.request('DELETE', '/v1/acl/policy/other');
      await liveNomad.putPolicy('other', THEIRS);

      if (what === 'its manifest is removed') workspace.remove('b.yaml');
      const { code, steps } = await (what === 'its manifest is removed' ? workspace.apply() : workspace.destroy());
      expect(code).toBe(0);
      expect(steps.find((s) => s.object === 'default/acl-policy/other')).toMatchObject({
        action: 'noop',
        reason: 'Gone',
        message: expect.stringContaining('not ours') as string,
      });
      expect(await liveNomad.rulesOf('other')).toBe(THEIRS);
      expect((await workspace.destroy()).code).toBe(0);
      expect(await liveNomad.rulesOf('other')).toBe(THEIRS);
    },
  );

  it('a policy that somebody made after we had deleted ours is never touched again', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a.yaml', policy('kept'), policy('other'));
    await workspace.apply();
    workspace.write('a.yaml', policy('kept'));
    expect((await workspace.apply()).steps.map((s) => s.action)).toEqual(['noop', 'delete']);
    await liveNomad.putPolicy('other', THEIRS);
    expect((await workspace.destroy()).steps.map((s) => s.object)).toEqual(['default/acl-policy/kept']);
    expect(await liveNomad.rulesOf('other')).toBe(THEIRS);
  });

  it('a policy that was only changed by hand is still ours, and is deleted', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('b.yaml', policy('other'));
    await workspace.apply();
    await workspace.apply();
    await liveNomad.putPolicy('other', THEIRS);
    expect((await workspace.destroy()).steps).toMatchObject([{ action: 'delete', result: { status: 'done' } }]);
    expect(await liveNomad.policyNames()).toEqual([]);
  });

  it('a file whose content its owner replaced stays when the token goes, and the token goes', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', policy('one'));
    workspace.write('t.yaml', token('ci'));
    await workspace.apply();
    workspace.write('secrets/ci', 'precious');
    workspace.remove('t.yaml');

    const { code, steps } = await workspace.apply();
    expect(code).toBe(0);
    expect(steps.find((s) => s.object === 'local/file/secrets/ci')).toMatchObject({ action: 'noop', reason: 'Gone' });
    expect(workspace.read('secrets/ci')).toBe('precious');
    expect(await liveNomad.marked()).toEqual([]);
  });

  it('a file that holds the secret of a token of ours goes with it, whatever its mode has become', async () => {
    const { workspace } = servers;
    workspace.write('p.yaml', policy('one'));
    workspace.write('t.yaml', token('ci'));
    await workspace.apply();
    chmodSync(join(workspace.manifests, 'secrets/ci'), 0o644);
    workspace.remove('t.yaml');
    expect((await workspace.apply()).code).toBe(0);
    expect(() => workspace.read('secrets/ci')).toThrow(/ENOENT/);
  });
});
