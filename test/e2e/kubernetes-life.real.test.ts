import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { policy, resource, until, useCluster } from './cluster.ts';

/** What people do all day with kubectl, for each kind. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('with kubectl', () => {
  const rig = useCluster();

  it('an AclPolicy is made, corrected, changed and destroyed, and tells of it', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('policy = "read"');

    const [head = '', row = ''] = (await cluster.kubectl('get', 'aclpolicies')).split('\n');
    expect(head.split(/\s{2,}/)).toEqual(['NAME', 'POLICY', 'READY', 'REASON', 'LAST DRIFT', 'AGE']);
    expect(row).toMatch(/^readonly +readonly +True +InSync +\d+s$/);

    await cluster.liveNomad.putPolicy('readonly', 'namespace "default" { policy = "write" }');
    const drifted = await until('the drift is in the status', async () => {
      const shown = await cluster.get('aclpolicy', 'readonly');
      return shown?.status?.lastDrift === undefined ? undefined : shown;
    });
    expect(drifted.status?.lastDrift?.fields).toEqual(['spec.rules']);
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('policy = "read"');

    await cluster.apply(policy('readonly', 'write'));
    await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('policy = "write"');

    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=20s');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
    const reasons = await until('the deletion is told of', async () => {
      const text = await cluster.kubectl(
        'get',
        'events.events.k8s.io',
        '-o',
        'jsonpath={range .items[*]}{.reason} {end}',
      );
      return text.includes('Deleted') ? text.trim().split(' ').sort() : undefined;
    });
    expect(reasons).toEqual(['Created', 'Deleted', 'DriftCorrected', 'Updated']);
  });

  it('a VaultJwtIntegration is what `nomad setup vault` makes, and goes whole', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(resource('VaultJwtIntegration', 'workloads', '{}'));
    await cluster.operator();
    await cluster.waitReady('vaultjwtintegration', 'workloads');
    expect(await cluster.liveVault.mounts()).toContain('jwt-nomad/');
    expect(await cluster.liveVault.list('auth/jwt-nomad/role')).toEqual(['nomad-workloads']);

    await cluster.liveVault.request('DELETE', 'auth/jwt-nomad/role/nomad-workloads');
    await until('the role is there again', async () => {
      const roles = await cluster.liveVault.list('auth/jwt-nomad/role');
      return roles.length > 0 ? roles : undefined;
    });
    await cluster.kubectl('delete', 'vaultjwtintegration', 'workloads', '--timeout=20s');
    expect(await cluster.liveVault.mounts()).toEqual(['token/']);
  });
});
