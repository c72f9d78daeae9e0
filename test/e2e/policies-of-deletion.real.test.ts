import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest, type PlanOutput } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const token = (path: string, more = ''): string =>
  manifest('AclToken', 'ci', `policies: [one]\nwriteSecretTo: { file: { path: ${path} } }\n${more}`);
const role = (name: string): string => `  - { name: ${name}, boundAudiences: vault.io, tokenPolicies: [default] }`;
const integration = (roles: readonly string[], more = ''): string =>
  manifest('VaultJwtIntegration', 'workloads', `roles:\n${roles.map(role).join('\n')}\n${more}`);

function of(output: PlanOutput, object: string): PlanOutput['steps'][number] | undefined {
  return output.steps.find((s) => s.object === object);
}

describe.skipIf(!requireServers('nomad', 'vault'))('suspend and deletionPolicy', () => {
  const servers = useRealServers();

  it.each([
    ['suspend: true', 'Suspended'],
    ['deletionPolicy: Orphan', 'Orphaned'],
  ])('%s deletes no role that the same edit drops', async (field, reason) => {
    const { workspace, liveVault } = servers;
    workspace.write('i.yaml', integration(['first', 'second']));
    expect((await workspace.apply()).code).toBe(0);
    workspace.write('i.yaml', integration(['first'], field));
    const applied = await workspace.apply();
    expect(applied.code).toBe(0);
    expect(applied.summary['delete']).toBe(0);
    expect(of(applied, 'default/jwt-role/jwt-nomad/second')).toMatchObject({ action: 'noop', reason });
    expect(await liveVault.list('auth/jwt-nomad/role')).toEqual(['first', 'second']);
  });

  it.each([
    ['suspend: true', 'Suspended'],
    ['deletionPolicy: Orphan', 'Orphaned'],
  ])('%s deletes no secret file whose path the same edit changes', async (field, reason) => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/old'));
    await workspace.apply();
    const secret = workspace.read('secrets/old');
    workspace.write('t.yaml', token('secrets/new', field));
    const applied = await workspace.apply();
    expect(applied.code).toBe(0);
    expect(applied.summary['delete']).toBe(0);
    expect(of(applied, 'local/file/secrets/old')).toMatchObject({ action: 'noop', reason });
    expect(workspace.read('secrets/old')).toBe(secret);
    expect(await liveNomad.marked()).toHaveLength(1);
  });

  it('suspend: true keeps a token whose life the same edit changes; lifting it replaces the token', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/ci', 'expirationTtl: 1h'));
    await workspace.apply();
    const before = await liveNomad.marked();
    const secret = workspace.read('secrets/ci');
    workspace.write('t.yaml', token('secrets/ci', 'expirationTtl: 2h\nsuspend: true'));
    const suspended = await workspace.apply();
    expect([suspended.code, suspended.summary['delete'], suspended.summary['replace']]).toEqual([0, 0, 0]);
    expect(await liveNomad.marked()).toEqual(before);
    expect(await liveNomad.accepts(secret.trim())).toBe(true);

    workspace.write('t.yaml', token('secrets/ci', 'expirationTtl: 2h'));
    expect((await workspace.apply()).code).toBe(0);
    expect(await liveNomad.marked()).toHaveLength(1);
    expect(await liveNomad.accepts(secret.trim())).toBe(false);
    expect(await liveNomad.accepts(workspace.read('secrets/ci').trim())).toBe(true);
  });

  it('lifting the suspension and changing the path of the secret in one edit deletes the old file', async () => {
    const { workspace } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/old'));
    await workspace.apply();
    const secret = workspace.read('secrets/old');
    workspace.write('t.yaml', token('secrets/old', 'suspend: true'));
    await workspace.apply();
    workspace.write('t.yaml', token('secrets/new'));
    const applied = await workspace.apply();
    expect(applied.code).toBe(0);
    expect(of(applied, 'local/file/secrets/old')).toMatchObject({ action: 'delete', reason: 'Removed' });
    expect(readdirSync(join(workspace.manifests, 'secrets'))).toEqual(['new']);
    expect(workspace.read('secrets/new')).toBe(secret);
  });

  it('a suspended resource whose manifest is removed stays, and is still ours', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', `${READ}\nsuspend: true`));
    workspace.write('q.yaml', manifest('AclPolicy', 'two', READ));
    await workspace.apply();
    expect(await liveNomad.policyNames()).toEqual(['two']);
    workspace.write('q.yaml', manifest('AclPolicy', 'two', `${READ}\nsuspend: true`));
    await workspace.apply();
    workspace.remove('q.yaml');
    expect((await workspace.apply()).steps).toMatchObject([{}, { action: 'noop', reason: 'Suspended' }]);
    expect(await liveNomad.policyNames()).toEqual(['two']);
    workspace.write('q.yaml', manifest('AclPolicy', 'two', READ));
    expect((await workspace.apply()).code).toBe(0);
    expect((await workspace.destroy()).code).toBe(0);
    expect(await liveNomad.policyNames()).toEqual([]);
  });

  it('an orphaned token that is replaced leaves no old credential behind that still works', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/ci', 'deletionPolicy: Orphan'));
    await workspace.apply();
    const old = workspace.read('secrets/ci').trim();
    workspace.write('t.yaml', token('secrets/ci', 'deletionPolicy: Orphan\nglobal: true'));
    const applied = await workspace.apply();
    expect(applied.code).toBe(0);
    expect(applied.steps.map((s) => s.reason)).toContain('Replaced');
    expect(await liveNomad.accepts(old)).toBe(false);
    expect(await liveNomad.accepts(workspace.read('secrets/ci').trim())).toBe(true);
    expect(await liveNomad.marked()).toHaveLength(1);
  });

  it('what is orphaned stays as it is, all of it and nothing else, and is forgotten', async () => {
    const { workspace, liveNomad, liveVault } = servers;
    workspace.write('kept.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/ci', 'deletionPolicy: Orphan'));
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads', 'deletionPolicy: Orphan'));
    expect((await workspace.apply()).code).toBe(0);
    const before = [await liveNomad.everything(), await liveVault.everything(), workspace.read('secrets/ci')];
    workspace.remove('t.yaml');
    workspace.remove('i.yaml');

    const applied = await workspace.apply();
    expect(applied.code).toBe(0);
    expect(applied.steps.filter((s) => s.reason === 'Orphaned').map((s) => s.object.split('/')[1])).toEqual(
      expect.arrayContaining(['acl-token', 'file', 'auth-mount', 'jwt-config', 'policy', 'jwt-role']) as string[],
    );
    expect([await liveNomad.everything(), await liveVault.everything(), workspace.read('secrets/ci')]).toEqual(before);
    expect(workspace.recorded()).toEqual(['default/acl-policy/one']);
    const destroyed = await workspace.destroy();
    expect(destroyed.steps.map((s) => s.object)).toEqual(['default/acl-policy/one']);
    expect(await liveVault.mounts()).toEqual(['jwt-nomad/', 'token/']);
    expect(await liveNomad.marked()).toHaveLength(1);
  });

  it('a destroy leaves what is orphaned', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('p.yaml', manifest('AclPolicy', 'one', READ));
    workspace.write('t.yaml', token('secrets/ci', 'deletionPolicy: Orphan'));
    await workspace.apply();
    expect((await workspace.destroy()).code).toBe(0);
    expect(await liveNomad.policyNames()).toEqual([]);
    expect(await liveNomad.accepts(workspace.read('secrets/ci').trim())).toBe(true);
    expect(workspace.recorded()).toEqual([]);
  });
});
