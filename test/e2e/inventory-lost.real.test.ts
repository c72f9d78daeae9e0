import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest, Workspace } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const token = (name: string, spec: string): string =>
  manifest('AclToken', name, `${spec}\nwriteSecretTo: { file: { path: secrets/${name} } }`);
const EVERYTHING = [
  manifest('AclPolicy', 'one', READ),
  token('ci', 'policies: [one]'),
  token('short', 'policies: [one]\nexpirationTtl: 2h'),
  manifest('VaultJwtIntegration', 'workloads'),
];

describe.skipIf(!requireServers('nomad', 'vault'))('without the inventory', () => {
  const servers = useRealServers();
  const loseInventory = (): void => {
    rmSync(join(servers.workspace.manifests, '.nomad-access.state.json'));
  };

  it('everything is found again, nothing is doubled or written, and a destroy takes all of it away', async () => {
    const { workspace, liveNomad, liveVault } = servers;
    const clean = [await liveNomad.everything(), await liveVault.everything()];
    workspace.write('all.yaml', ...EVERYTHING);
    expect((await workspace.apply()).code).toBe(0);
    const before = [await liveNomad.everything(), await liveVault.everything()];
    const secrets = ['ci', 'short'].map((name) => workspace.read(`secrets/${name}`));
    loseInventory();

    const applied = await workspace.apply();
    expect(applied.code, JSON.stringify(applied.steps)).toBe(0);
    expect([...new Set(applied.steps.map((s) => `${s.action} ${s.reason}`))]).toEqual(['noop Adopted']);
    expect([await liveNomad.everything(), await liveVault.everything()]).toEqual(before);
    expect(['ci', 'short'].map((name) => workspace.read(`secrets/${name}`))).toEqual(secrets);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);

    expect((await workspace.destroy()).code).toBe(0);
    expect([await liveNomad.everything(), await liveVault.everything()]).toEqual(clean);
    expect(readdirSync(join(workspace.manifests, 'secrets'))).toEqual([]);
  });

  it('a token whose manifest was changed in the meantime is not guessed at: it is a Conflict, and none is made', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('all.yaml', manifest('AclPolicy', 'one', READ), token('ci', 'policies: [one]'));
    await workspace.apply();
    const before = await liveNomad.everything();
    const secret = workspace.read('secrets/ci');
    loseInventory();
    workspace.write('all.yaml', manifest('AclPolicy', 'one', READ), token('ci', 'policies: [one, two]'));
    const { code, steps } = await workspace.apply();
    expect([code, steps.find((s) => s.kind === 'AclToken')?.reason]).toEqual([1, 'Conflict']);
    expect(await liveNomad.everything()).toEqual(before);
    expect(workspace.read('secrets/ci')).toBe(secret);
  });
});

/** Two checkouts of one repository, with one owner's name and an inventory each: not how it is meant, so no harm. */
describe.skipIf(!requireServers('nomad', 'vault'))('a second checkout with an inventory of its own', () => {
  const servers = useRealServers();
  let second: Workspace;
  beforeEach(() => {
    second = new Workspace(servers);
  });
  afterEach(() => {
    second.dispose();
  });

  it('of another state of the token harms nothing that the first one made', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('all.yaml', ...EVERYTHING);
    await workspace.apply();
    const before = await liveNomad.everything();
    second.write('all.yaml', token('ci', 'policies: [one, two]'));
    const { steps, code } = await second.apply();
    expect([code, steps[0]?.reason, steps[1]?.reason]).toEqual([1, 'Conflict', 'Blocked']);
    expect((await second.destroy()).steps).toEqual([]);
    expect(await liveNomad.everything()).toEqual(before);
  });

  it('adopts what is identical, gets the same secrets, and doubles nothing', async () => {
    const { workspace, liveNomad, liveVault } = servers;
    workspace.write('all.yaml', ...EVERYTHING);
    await workspace.apply();
    const before = [await liveNomad.everything(), await liveVault.everything()];
    second.write('all.yaml', ...EVERYTHING);
    const applied = await second.apply();
    expect(applied.code, JSON.stringify(applied.steps)).toBe(0);
    expect(applied.steps.filter((s) => s.action !== 'noop').map((s) => s.object)).toEqual([
      'local/file/secrets/ci',
      'local/file/secrets/short',
    ]);
    expect([await liveNomad.everything(), await liveVault.everything()]).toEqual(before);
    for (const name of ['secrets/ci', 'secrets/short']) expect(second.read(name)).toBe(workspace.read(name));
  });

  it('whose destroy is meant deletes what it adopted; the first one then makes it again, files and all', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('all.yaml', ...EVERYTHING);
    await workspace.apply();
    const secret = workspace.read('secrets/ci');
    second.write('all.yaml', ...EVERYTHING);
    await second.apply();
    const destroyed = await second.destroy();
    expect(destroyed.code).toBe(0);
    expect(destroyed.steps.find((s) => s.object.includes('/acl-token/'))?.message).toContain('adopted');
    expect(readdirSync(join(second.manifests, 'secrets'))).toEqual([]);
    expect(workspace.read('secrets/ci')).toBe(secret);

    expect((await workspace.apply()).code).toBe(0);
    const tokens = await liveNomad.marked();
    expect(tokens).toHaveLength(2);
    for (const { AccessorID, Name } of tokens) {
      const file = `secrets/${Name.replace(/ \[na:.*/, '')}`;
      expect(workspace.read(file).trim()).toBe((await liveNomad.token(AccessorID))['SecretID']);
    }
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('that replaced a token has the only one: the first checkout takes it, and its file gets the new secret', async () => {
    const { workspace, liveNomad } = servers;
    const changed = [manifest('AclPolicy', 'one', READ), token('ci', 'policies: [one]\nglobal: true')];
    workspace.write('all.yaml', manifest('AclPolicy', 'one', READ), token('ci', 'policies: [one]'));
    await workspace.apply();
    second.write('all.yaml', manifest('AclPolicy', 'one', READ), token('ci', 'policies: [one]'));
    await second.apply();
    second.write('all.yaml', ...changed);
    expect((await second.apply()).code).toBe(0);
    workspace.write('all.yaml', ...changed);
    expect((await workspace.apply()).code).toBe(0);
    expect(await liveNomad.marked()).toHaveLength(1);
    expect(workspace.read('secrets/ci')).toBe(second.read('secrets/ci'));
    expect(await liveNomad.accepts(workspace.read('secrets/ci').trim())).toBe(true);
  });

  it('with another owner name has tokens of its own, and neither harms those of the other', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('t.yaml', token('ci', 'policies: [one]'));
    await workspace.apply();
    second.write('t.yaml', token('ci', 'policies: [one]'));
    expect((await second.apply('--owner', 'other')).code).toBe(0);
    expect(await liveNomad.marked()).toHaveLength(2);
    expect((await second.destroy('--owner', 'other')).code).toBe(0);
    expect(await liveNomad.marked()).toHaveLength(1);
    expect(await liveNomad.accepts(workspace.read('secrets/ci').trim())).toBe(true);
  });
});
