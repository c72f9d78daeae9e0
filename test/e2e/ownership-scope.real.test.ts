import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest, type PlanOutput, type Workspace } from './workspace.ts';

const READ = 'namespace "default" { policy = "read" }';
const policy = (name: string): string => manifest('AclPolicy', name, `rules: '${READ}'`);
const role = (name: string): string => `  - { name: ${name}, boundAudiences: vault.io, tokenPolicies: [default] }`;
const integration = (...roles: string[]): string =>
  manifest('VaultJwtIntegration', 'workloads', `roles:\n${roles.map(role).join('\n')}`);

/** An apply of one folder of several that share an inventory. */
async function applyOf(workspace: Workspace, folder: string): Promise<PlanOutput & { code: number | null }> {
  const state = ['--state', 'manifests/.nomad-access.state.json'];
  const { code, stdout, stderr } = await workspace.run(
    'apply',
    '-f',
    `manifests/${folder}`,
    ...state,
    '-y',
    '-o',
    'json',
  );
  expect(stdout, stderr).not.toBe('');
  return { ...(JSON.parse(stdout) as PlanOutput), code };
}

describe.skipIf(!requireServers('nomad', 'vault'))('a subset of the manifests', () => {
  const servers = useRealServers();

  it('prunes only what came from it', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a/one.yaml', policy('one'));
    workspace.write('a/two.yaml', policy('two'));
    workspace.write('b/three.yaml', policy('three'));
    await workspace.apply();
    workspace.remove('a/two.yaml');
    workspace.remove('b/three.yaml');
    workspace.write('b/four.yaml', policy('four'));
    expect((await applyOf(workspace, 'a')).steps.map((s) => [s.action, s.object])).toEqual([
      ['noop', 'default/acl-policy/one'],
      ['delete', 'default/acl-policy/two'],
    ]);
    expect(await liveNomad.policyNames()).toEqual(['one', 'three']);
  });

  it('that a resource was moved into loses a role that was dropped in the same edit, and forgets nothing', async () => {
    const { workspace, liveVault } = servers;
    workspace.write('a/i.yaml', integration('first', 'second'));
    workspace.write('b/p.yaml', policy('one'));
    expect((await workspace.apply()).code).toBe(0);
    workspace.remove('a/i.yaml');
    workspace.write('b/i.yaml', integration('first'));

    const applied = await applyOf(workspace, 'b');
    expect(applied.code).toBe(0);
    expect(applied.steps.find((s) => s.object === 'default/jwt-role/jwt-nomad/second')).toMatchObject({
      action: 'delete',
      result: { status: 'done' },
    });
    expect(await liveVault.list('auth/jwt-nomad/role')).toEqual(['first']);
    expect(workspace.recorded()).toContain('default/jwt-role/jwt-nomad/first');
    expect(workspace.recorded()).not.toContain('default/jwt-role/jwt-nomad/second');
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    // What is left of folder `a` claims nothing of it any more.
    workspace.write('a/q.yaml', policy('two'));
    expect((await applyOf(workspace, 'a')).summary['delete']).toBe(0);
    expect(await liveVault.mounts()).toEqual(['jwt-nomad/', 'token/']);
  });

  it('that a resource was moved out of still holds it until the other one was applied', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a/one.yaml', policy('one'));
    workspace.write('a/two.yaml', policy('two'));
    workspace.write('b/three.yaml', policy('three'));
    await workspace.apply();
    workspace.remove('a/two.yaml');
    workspace.write('b/two.yaml', policy('two'));
    await applyOf(workspace, 'b');
    expect((await applyOf(workspace, 'a')).summary['delete']).toBe(0);
    expect(await liveNomad.policyNames()).toEqual(['one', 'three', 'two']);
  });
});
