import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startGateway } from './gateway.ts';
import { readySeries, useOperators } from './operators.ts';
import { useRealServers } from './real-servers.ts';
import type { LogLine, RunningOperator } from './running.ts';
import { manifest } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const WRITE = `rules: 'namespace "default" { policy = "write" }'`;
const token = (name: string, policies = 'one'): string =>
  manifest('AclToken', name, `policies: [${policies}]\nwriteSecretTo: { file: { path: secrets/${name} } }`);
const policies = (...names: string[]): string[] => names.map((name) => manifest('AclPolicy', name, READ));
const soon = { timeout: 30_000, interval: 20 };

describe.skipIf(!requireServers('nomad', 'vault'))('the operator on a folder of manifests', () => {
  const servers = useRealServers();
  const operators = useOperators();
  const run = (...args: string[]): Promise<RunningOperator> => operators.start(servers.workspace, ...args);
  const plansNothing = async (...args: string[]): Promise<void> => {
    const { code, stdout } = await servers.workspace.run('plan', '-f', 'manifests', '--detailed-exitcode', ...args);
    expect([code, stdout]).toEqual([0, expect.anything()]);
  };

  it('makes what is declared, follows every edit, and leaves nothing unsaved when it is stopped', async () => {
    const { workspace, liveNomad, liveVault } = servers;
    workspace.write('policies.yaml', ...policies('one', 'two'));
    workspace.write('token.yaml', token('ci'));
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const operator = await run();
    await operator.until(readySeries('VaultJwtIntegration'), 1);
    await operator.until(readySeries('AclPolicy'), 2);
    await operator.until(readySeries('AclToken'), 1);
    const [made] = await liveNomad.marked();
    const { SecretID } = await liveNomad.token(made?.AccessorID ?? '');
    expect(workspace.read('secrets/ci')).toBe(`${String(SecretID)}\n`);
    expect(await liveNomad.policyNames()).toEqual(['one', 'two']);
    expect(await liveVault.mounts()).toContain('jwt-nomad/');

    workspace.write('policies.yaml', manifest('AclPolicy', 'one', WRITE), ...policies('two'));
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('write');
    }, soon);
    workspace.write('more.yaml', ...policies('three'), token('third', 'three'));
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual(['one', 'three', 'two']);
      expect(workspace.read('secrets/third')).toMatch(/^[0-9a-f-]{36}\n$/);
    }, soon);
    const removed = performance.now();
    workspace.remove('more.yaml');
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual(['one', 'two']);
      expect((await liveNomad.marked()).map((t) => t.AccessorID)).toEqual([made?.AccessorID]);
      expect(existsSync(join(workspace.manifests, 'secrets/third'))).toBe(false);
    }, soon);
    // Long enough for an editor that removes a file and writes it again.
    expect(performance.now() - removed).toBeGreaterThan(2_000);
    expect(performance.now() - removed).toBeLessThan(15_000);

    expect(await operator.stop()).toBe(0);
    expect(existsSync(join(workspace.manifests, '.nomad-access.state.json.lock'))).toBe(false);
    expect(operator.output()).toBe('');
    await plansNothing();
  });

  it('writes one line for each change, and none for what is in order', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('policies.yaml', ...policies('one', 'two'));
    workspace.write('token.yaml', token('ci'));
    const operator = await run();
    await operator.until(readySeries('AclPolicy'), 2);
    await operator.until(readySeries('AclToken'), 1);
    await liveNomad.putPolicy('two', 'namespace "default" { policy = "write" }');
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 1);
    workspace.write('policies.yaml', manifest('AclPolicy', 'one', WRITE), ...policies('two'));
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('write');
    }, soon);
    await operator.stop();
    const changes = operator.lines().filter((line) => line.object !== undefined);
    expect(changes.map(summary).sort()).toEqual([
      'create default/acl-policy/one done',
      'create default/acl-policy/two done',
      'create default/acl-token/ci [na] done',
      'create local/file/secrets/ci done',
      'update default/acl-policy/one done',
      'update default/acl-policy/two done, drift',
    ]);
  });

  it('keeps the last good state of a file that is broken, and says which line is wrong until it is mended', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('one.yaml', ...policies('one'));
    workspace.write('two.yaml', ...policies('two'));
    const operator = await run('--log-format', 'text');
    await operator.until(readySeries('AclPolicy'), 2);

    workspace.write('one.yaml', manifest('AclPolicy', 'one', `${READ}\nrulez: none`));
    await operator.until('nomad_access_manifest_errors', 1);
    expect(operator.log()).toMatch(/error.*manifests\/one\.yaml:\d+:\d+: .*rulez/i);
    // What is still declared is still kept up, broken file or not.
    await liveNomad.putPolicy('one', 'namespace "default" { policy = "write" }');
    await liveNomad.request('DELETE', '/v1/acl/policy/two');
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('read');
      expect(await liveNomad.rulesOf('two')).toContain('read');
    }, soon);

    workspace.write('one.yaml', manifest('AclPolicy', 'one', WRITE));
    await operator.until('nomad_access_manifest_errors', 0);
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('write');
    }, soon);
    expect(operator.log()).toMatch(/info.*one\.yaml: no more: /i);
  });

  it('begins with an empty folder, says nothing of servers that nothing uses, and goes on with the first file', async () => {
    const { workspace, liveNomad } = servers;
    const operator = await run('--log-format', 'text');
    await vi.waitFor(async () => {
      expect(await operator.get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
    }, soon);
    workspace.write('one.yaml', ...policies('one'));
    await operator.until(readySeries('AclPolicy'), 1);
    workspace.write('two.yaml', ...policies('two'));
    await operator.until(readySeries('AclPolicy'), 2);
    workspace.remove('one.yaml');
    workspace.remove('two.yaml');
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual([]);
    }, soon);
    expect(await operator.stop()).toBe(0);
    expect(operator.log()).not.toContain('VaultServer');
    expect(operator.log().match(/NomadCluster/g)).toHaveLength(1);
  });

  it('starts with a broken file among the good ones, and deletes nothing that it may have declared', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('one.yaml', ...policies('one'));
    workspace.write('two.yaml', ...policies('two'));
    await workspace.apply();
    workspace.write('two.yaml', 'kind: [');
    const operator = await run();
    await operator.until('nomad_access_manifest_errors', 1);
    workspace.write('three.yaml', ...policies('three'));
    await operator.until(readySeries('AclPolicy'), 2);
    expect(await liveNomad.policyNames()).toEqual(['one', 'three', 'two']);
    workspace.write('two.yaml', ...policies('two'));
    await operator.until(readySeries('AclPolicy'), 3);
  });

  it('deletes nothing because a folder is gone', async () => {
    const { workspace, liveNomad } = servers;
    const other = join(workspace.folder, 'other');
    mkdirSync(other);
    workspace.write('policies.yaml', ...policies('one', 'two', 'three'));
    for (const name of ['canary', 'fifth', 'sixth'])
      writeFileSync(join(other, `${name}.yaml`), manifest('AclPolicy', name, READ));
    const operator = await run('-f', 'other', '--state', 'state.json');
    await operator.until(readySeries('AclPolicy'), 6);
    renameSync(workspace.manifests, `${workspace.manifests}-away`);
    renameSync(join(other, 'canary.yaml'), join(workspace.folder, 'canary.yaml'));
    // What vanished with it by itself is deleted: the time is over for both.
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('canary')).toBeUndefined();
    }, soon);
    await liveNomad.request('DELETE', '/v1/acl/policy/one');
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual(['fifth', 'one', 'sixth', 'three', 'two']);
    }, soon);
    expect(operator.log()).toContain('manifests');
    renameSync(`${workspace.manifests}-away`, workspace.manifests);
    workspace.write('policies.yaml', ...policies('one', 'two'));
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual(['fifth', 'one', 'sixth', 'two']);
    }, soon);
  });

  it('holds back the deletions of an emptied checkout until the files are back, or somebody allows it', async () => {
    const { workspace, liveNomad } = servers;
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names) workspace.write(`${name}.yaml`, ...policies(name));
    workspace.write('rest.yaml', ...policies('rest'));
    const operator = await run();
    await operator.until(readySeries('AclPolicy'), 7);
    for (const name of names) workspace.remove(`${name}.yaml`);
    await operator.until('nomad_access_deletions_held', 6);
    expect(operator.lines()).toContainEqual(
      expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/6 deletions are held back/) as string }),
    );
    workspace.write('more.yaml', ...policies('more'));
    await operator.until(readySeries('AclPolicy'), 2);
    expect(await liveNomad.policyNames()).toEqual([...names, 'more', 'rest']);

    for (const name of names) workspace.write(`${name}.yaml`, ...policies(name));
    await operator.until('nomad_access_deletions_held', 0);
    await liveNomad.request('DELETE', '/v1/acl/policy/a');
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('a')).toContain('read');
    }, soon);

    for (const name of names) workspace.remove(`${name}.yaml`);
    await operator.until('nomad_access_deletions_held', 6);
    expect(await operator.stop()).toBe(0);
    const bold = await run('--allow-mass-delete');
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toEqual(['more', 'rest']);
    }, soon);
    expect(await bold.metric('nomad_access_deletions_held')).toBe(0);
    await bold.stop();
    expect(workspace.recorded()).toEqual(['default/acl-policy/more', 'default/acl-policy/rest']);
  });

  it('is alive but not ready while Nomad is not reachable, and goes on by itself when it is', async () => {
    const { workspace, nomad, liveNomad } = servers;
    const gateway = await startGateway(nomad.address);
    await gateway.close();
    workspace.retarget({ nomad: { address: gateway.address, token: nomad.token } });
    workspace.write('policies.yaml', ...policies('one'));
    const operator = await run();
    // The requests are tried again for some seconds before it says so.
    await vi.waitFor(async () => {
      const { status, text } = await operator.get('/readyz');
      expect(status).toBe(503);
      expect(text).toMatch(/NomadCluster default is not synced: .*(refused|ECONNREFUSED)/);
    }, soon);
    expect(await operator.get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
    expect(await operator.metric('nomad_access_synced{kind="NomadCluster",connection="default"}')).toBe(0);
    expect(await operator.metric('nomad_access_resources{kind="AclPolicy",ready="Unknown"}')).toBe(1);

    await gateway.open();
    await vi.waitFor(async () => {
      expect(await operator.get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
      expect(await liveNomad.policyNames()).toEqual(['one']);
    }, soon);
    await operator.until(readySeries('AclPolicy'), 1);
    expect(await operator.stop()).toBe(0);
    await gateway.close();
  });

  it('tells in its metrics what it did, and forgets the series of what is gone', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('policies.yaml', ...policies('one', 'two'));
    workspace.write('token.yaml', token('ci'));
    const operator = await run();
    await operator.until(readySeries('AclPolicy'), 2);
    await operator.until(readySeries('AclToken'), 1);
    await liveNomad.request('DELETE', '/v1/acl/policy/two');
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 1);
    const wanted = [
      'nomad_access_resources_declared 3',
      'nomad_access_manifest_errors 0',
      'nomad_access_deletions_held 0',
      'nomad_access_synced{kind="NomadCluster",connection="default"} 1',
      'nomad_access_changes_total{kind="AclPolicy",action="create",result="done"} 3',
      'nomad_access_changes_total{kind="AclToken",action="create",result="done"} 2',
      'nomad_access_drift_found_total{kind="AclPolicy"} 1',
      'nomad_access_drift_correction_seconds_count{kind="AclPolicy"} 1',
      'controller_runtime_reconcile_errors_total{controller="AclPolicy"} 0',
      'workqueue_depth{name="AclPolicy",controller="AclPolicy",priority=""} 0',
    ];
    const metrics = await vi.waitFor(async () => {
      const { text } = await operator.get('/metrics');
      expect(text.split('\n')).toEqual(expect.arrayContaining(wanted));
      return text;
    }, soon);
    expect(metrics).toMatch(
      /nomad_access_requests_total\{target="nomad",connection="default",verb="(PUT|POST)",status="200"\} \d/,
    );
    workspace.remove('token.yaml');
    await vi.waitFor(async () => {
      const { text } = await operator.get('/metrics');
      expect(text.split('\n').filter((line) => line.includes('AclToken'))).toEqual([]);
    }, soon);
  });

  it('leaves alone what is suspended, until it is not any more', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('one.yaml', ...policies('one'));
    workspace.write('two.yaml', ...policies('two'));
    const operator = await run();
    await operator.until(readySeries('AclPolicy'), 2);
    workspace.write('one.yaml', manifest('AclPolicy', 'one', `suspend: true\n${READ}`));
    await operator.until('nomad_access_resources{kind="AclPolicy",ready="Unknown"}', 1);
    await liveNomad.putPolicy('one', 'namespace "default" { policy = "write" }');
    await liveNomad.putPolicy('two', 'namespace "default" { policy = "write" }');
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 1);
    expect(await liveNomad.rulesOf('two')).toContain('read');
    expect(await liveNomad.rulesOf('one')).toContain('write');
    workspace.write('one.yaml', ...policies('one'));
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('read');
    }, soon);
  });

  it('does not overwrite what somebody else has under the name, and takes the name when it is free', async () => {
    const { workspace, liveNomad, liveVault } = servers;
    await liveNomad.putPolicy('one', 'node { policy = "read" }');
    await liveVault.request('PUT', 'sys/policies/acl/nomad-workloads', { policy: 'path "theirs" {}' });
    workspace.write('one.yaml', ...policies('one'), ...policies('two'));
    workspace.write('token.yaml', token('ci'));
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    workspace.write('vault.yaml', vaultServer(servers.vault.address));
    const operator = await run();
    await operator.until(readySeries('AclPolicy'), 1);
    await vi.waitFor(() => {
      expect(conflicts(operator)).toEqual(['default/acl-policy/one', 'default/policy/nomad-workloads']);
    }, soon);
    expect(await liveNomad.rulesOf('one')).toBe('node { policy = "read" }');
    expect(await liveVault.data('sys/policies/acl/nomad-workloads')).toMatchObject({ policy: 'path "theirs" {}' });

    const freed = performance.now();
    await liveNomad.request('DELETE', '/v1/acl/policy/one');
    await vi.waitFor(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('read');
    }, soon);
    expect(performance.now() - freed).toBeLessThan(10_000);
    await operator.until(readySeries('AclToken'), 1);

    await liveVault.request('DELETE', 'sys/policies/acl/nomad-workloads');
    await operator.until(readySeries('VaultJwtIntegration'), 1);
    expect((await liveVault.data('sys/policies/acl/nomad-workloads'))?.['policy']).toContain('secret/data');
    expect(conflicts(operator)).toHaveLength(2);
  });
});

function summary({ action, object, result, drift }: LogLine): string {
  const name = object?.replace(/\[na:.*\]/, '[na]');
  return `${action ?? ''} ${name ?? ''} ${result ?? ''}${drift === true ? ', drift' : ''}`;
}

/** Objects of which the log says that they are somebody else's, each as often as it says so. */
function conflicts(operator: RunningOperator): (string | undefined)[] {
  return operator
    .lines()
    .filter((line) => line.reason === 'Conflict')
    .map((line) => line.object)
    .sort();
}

function vaultServer(address: string): string {
  return manifest('VaultServer', 'default', `address: ${address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: 2s`);
}
