import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

const READ = 'namespace "default" { policy = "read" }';
const policy = (name: string, more = ''): string => manifest('AclPolicy', name, `rules: '${READ}'\n${more}`);

describe.skipIf(!requireServers('nomad', 'vault'))('ownership', () => {
  const servers = useRealServers();

  it('an identical object is adopted without a write, and deleted like one that was made', async () => {
    const { workspace, liveNomad } = servers;
    await liveNomad.putPolicy('shared', READ);
    const { body: before } = await liveNomad.request<{ ModifyIndex: number }>('GET', '/v1/acl/policy/shared');
    workspace.write('a.yaml', policy('shared'));
    expect((await workspace.apply()).steps).toMatchObject([{ action: 'noop', reason: 'Adopted' }]);
    expect((await liveNomad.request<{ ModifyIndex: number }>('GET', '/v1/acl/policy/shared')).body.ModifyIndex).toBe(
      before.ModifyIndex,
    );
    expect((await workspace.plan()).steps).toMatchObject([{ action: 'noop', reason: 'InSync' }]);
    const { steps } = await workspace.destroy();
    expect(steps).toMatchObject([{ action: 'delete', message: expect.stringContaining('adopted') as string }]);
    expect((await liveNomad.request('GET', '/v1/acl/policy/shared')).status).toBe(404);
  });

  it('a different object is a Conflict that names both sides, stays untouched, and is overwritten only under Always', async () => {
    const { workspace, liveNomad } = servers;
    await liveNomad.putPolicy('shared', 'namespace "theirs" { policy = "write" }');
    workspace.write('a.yaml', policy('shared'));
    const refused = await workspace.apply();
    expect(refused.code).toBe(1);
    expect(refused.steps[0]).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(refused.steps[0]?.message).toMatch(
      /default\/acl-policy\/shared.*AclPolicy default\/shared.*adoptionPolicy: Always/,
    );
    expect(refused.steps[0]?.changes[0]).toMatchObject({
      path: 'spec.rules',
      before: 'namespace "theirs" { policy = "write" }',
      after: READ,
    });
    expect(await liveNomad.rulesOf('shared')).toContain('theirs');
    workspace.remove('a.yaml');
    workspace.write('b.yaml', policy('other'));
    await workspace.apply();
    expect(await liveNomad.rulesOf('shared')).toContain('theirs');
    workspace.write('a.yaml', policy('shared', 'adoptionPolicy: Always'));
    expect((await workspace.apply()).code).toBe(0);
    expect(await liveNomad.rulesOf('shared')).toBe(READ);
  });

  it.each(['the own token', 'the bootstrap token'])('%s is never changed or deleted', async (which) => {
    const { workspace, nomad, vault, liveNomad } = servers;
    let accessor = nomad.accessorId;
    if (which === 'the own token') {
      const { body } = await liveNomad.request<{ AccessorID: string; SecretID: string }>('POST', '/v1/acl/token', {
        Name: 'operator',
        Type: 'management',
      });
      accessor = body.AccessorID;
      workspace.retarget({ nomad: { address: nomad.address, token: body.SecretID }, vault });
    }
    workspace.write(
      'token.yaml',
      manifest(
        'AclToken',
        'grab',
        `accessorId: ${accessor}\ntype: management\nadoptionPolicy: Always\nwriteSecretTo: { none: {} }`,
      ),
    );
    const before = await liveNomad.token(accessor);
    const { steps, code } = await workspace.apply();
    expect([code, steps[0]?.action, steps[0]?.reason]).toEqual([1, 'refuse', 'Protected']);
    expect(await liveNomad.token(accessor)).toEqual(before);
  });

  it.each(['root', 'default', 'default-ceiling'])(
    'the built-in Vault policy %s is refused before any request',
    async (name) => {
      const { workspace } = servers;
      workspace.write(
        'i.yaml',
        manifest(
          'VaultJwtIntegration',
          'x',
          `policies:\n  - { name: ${name}, rules: 'path "a" { capabilities = ["read"] }' }`,
        ),
      );
      const { code, stdout } = await workspace.run('validate', '-f', 'manifests', '-o', 'json');
      expect(code).toBe(1);
      expect(stdout).toContain('built-in');
    },
  );

  it('the anonymous policy needs a grant', async () => {
    const { workspace, nomad } = servers;
    workspace.write('a.yaml', policy('anonymous'));
    expect((await workspace.apply()).steps[0]).toMatchObject({ action: 'refuse', reason: 'NotGranted' });
    workspace.write(
      'c.yaml',
      manifest(
        'NomadCluster',
        'default',
        `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }\ngrants: { anonymousPolicy: true }`,
      ),
    );
    expect((await workspace.apply()).code).toBe(0);
    expect((await workspace.destroy()).code).toBe(0);
  });

  it('an empty checkout deletes nothing without being told to', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a.yaml', ...Array.from({ length: 6 }, (_, i) => policy(`p${String(i)}`)));
    await workspace.apply();
    workspace.remove('a.yaml');
    const refused = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--allow-mass-delete');
    expect((await liveNomad.request<unknown[]>('GET', '/v1/acl/policies')).body).toHaveLength(6);
    expect((await workspace.apply('--allow-mass-delete')).summary['delete']).toBe(6);
  });

  it('a token that imitates our marker is not taken for ours', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a.yaml', manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: ci } }'));
    const name = (await workspace.plan()).steps[0]?.object.replace('default/acl-token/', '');
    await liveNomad.request('POST', '/v1/acl/token', { Name: name, Type: 'management' });
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps.map((s) => s.reason)).toEqual(['Conflict', 'Blocked']);
    expect(() => workspace.read('ci')).toThrow(/ENOENT/);
  });

  it('a file that is not ours is never overwritten', async () => {
    const { workspace } = servers;
    workspace.write('ci', 'precious');
    workspace.write('a.yaml', manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: ci } }'));
    const { steps, code } = await workspace.apply();
    expect([code, steps.find((s) => s.object.startsWith('local'))?.reason]).toEqual([1, 'Conflict']);
    expect(workspace.read('ci')).toBe('precious');
  });

  it('the mount stays while it carries a role that is not ours, and says so', async () => {
    const { workspace, liveVault } = servers;
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads'));
    await workspace.apply();
    await liveVault.request('POST', 'auth/jwt-nomad/role/theirs', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: ['x'],
    });
    const { steps, code } = await workspace.destroy();
    expect(code).toBe(1);
    expect(steps.find((s) => s.object === 'default/auth-mount/jwt-nomad')).toMatchObject({
      action: 'refuse',
      reason: 'InUse',
    });
    expect(steps.find((s) => s.object === 'default/auth-mount/jwt-nomad')?.message).toContain('theirs');
    expect(await liveVault.data('auth/jwt-nomad/role/theirs')).toBeDefined();
    expect(await liveVault.data('auth/jwt-nomad/config')).toBeDefined();
    expect(await liveVault.list('auth/jwt-nomad/role')).toEqual(['theirs']);
    await liveVault.request('DELETE', 'auth/jwt-nomad/role/theirs');
    expect((await workspace.destroy()).code).toBe(0);
  });

  it('a changed address of a connection touches neither cluster until somebody says that both are one', async () => {
    const { workspace, nomad, vault, liveNomad } = servers;
    workspace.write('a.yaml', policy('one'), policy('two'));
    await workspace.apply();
    const moved = nomad.address.replace('127.0.0.1', 'localhost');
    workspace.retarget({ nomad: { address: moved, token: nomad.token }, vault });
    workspace.write('a.yaml', policy('one'));
    const refused = await workspace.apply();
    expect([refused.code, ...refused.steps.map((s) => s.reason)]).toEqual([1, 'AddressChanged', 'AddressChanged']);
    expect(refused.steps[0]?.message).toContain('--accept-address-change default');
    expect((await liveNomad.request<unknown[]>('GET', '/v1/acl/policies')).body).toHaveLength(2);
    const accepted = await workspace.apply('--accept-address-change', 'default');
    expect(accepted.summary).toMatchObject({ noop: 1, delete: 1 });
    expect((await workspace.plan()).code).toBe(0);
  });

  it('a resource that gets another metadata.name keeps its live object, which is not deleted in between', async () => {
    const { workspace, liveNomad } = servers;
    const indexOf = async (): Promise<unknown> =>
      (await liveNomad.request<{ CreateIndex: number }>('GET', '/v1/acl/policy/shared')).body.CreateIndex;
    workspace.write('a.yaml', manifest('AclPolicy', 'before', `name: shared\nrules: '${READ}'`));
    await workspace.apply();
    const made = await indexOf();
    workspace.write('a.yaml', manifest('AclPolicy', 'after', `name: shared\nrules: '${READ}'`));
    expect((await workspace.apply()).steps).toMatchObject([{ action: 'noop', name: 'after', reason: 'InSync' }]);
    expect(await indexOf()).toBe(made);
    await workspace.destroy();
    expect((await liveNomad.request('GET', '/v1/acl/policy/shared')).status).toBe(404);
  });

  it('a live name that was changed in the manifest is refused, and the old object stays', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a.yaml', policy('one', 'name: first'));
    await workspace.apply();
    workspace.write('a.yaml', policy('one', 'name: second'));
    const { steps, code } = await workspace.apply();
    expect([code, steps.map((s) => [s.action, s.reason])]).toEqual([1, [['refuse', 'Immutable']]]);
    expect((await liveNomad.request('GET', '/v1/acl/policy/first')).status).toBe(200);
    expect((await liveNomad.request('GET', '/v1/acl/policy/second')).status).toBe(404);
  });
});
