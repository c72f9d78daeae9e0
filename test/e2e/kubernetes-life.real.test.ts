import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, HOME, policy, resource, secret, until, useCluster } from './cluster.ts';

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

    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=60s');
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

  it('an AclToken’s secret is in its Secret, works on Nomad, is put back when somebody touches it, and dies with it', async () => {
    const { cluster } = rig;
    await cluster.connect();
    const token = (policies: string): string =>
      resource(
        'AclToken',
        'dashboard',
        `policies: [${policies}]\nwriteSecretTo:\n  kubernetesSecret:\n    name: dashboard`,
      );
    await cluster.apply(policy('readonly'), policy('other'), token('readonly'));
    const operator = await cluster.operator();
    await cluster.waitReady('acltoken', 'dashboard');
    const [made] = await cluster.liveNomad.marked();
    const [head = '', row = ''] = (await cluster.kubectl('get', 'acltokens')).split('\n');
    expect(head.split(/\s{2,}/)).toEqual(['NAME', 'ACCESSOR', 'READY', 'REASON', 'LAST DRIFT', 'AGE']);
    expect(row).toMatch(new RegExp(`^dashboard +${made?.AccessorID ?? ''} +True +InSync`));
    const content = async (): Promise<{ accessor: string; secret: string } | undefined> => {
      const { data = {} } = (await cluster.get('secret', 'dashboard')) ?? {};
      const decoded = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString();
      return data['secret_id'] === undefined
        ? undefined
        : { accessor: decoded('accessor_id'), secret: decoded('secret_id') };
    };
    const first = await content();
    expect(first?.accessor).toBe(made?.AccessorID);
    expect(await cluster.liveNomad.accepts(first?.secret ?? '')).toBe(true);

    await cluster.kubectl('delete', 'secret', 'dashboard');
    await until('the Secret is there again', content);
    await cluster.kubectl('patch', 'secret', 'dashboard', '--type=merge', '-p', '{"stringData":{"secret_id":"mine"}}');
    await until('the Secret is as it was', async () =>
      (await content())?.secret === first?.secret ? true : undefined,
    );

    await cluster.apply(token('readonly, other'));
    await cluster.untilReason('InSync', 'acltoken', 'dashboard');
    expect((await cluster.liveNomad.marked()).map(({ Policies }) => Policies)).toEqual([['readonly', 'other']]);
    expect(await content()).toEqual(first);

    await cluster.kubectl('delete', 'acltoken', 'dashboard', '--timeout=60s');
    expect(await cluster.liveNomad.marked()).toEqual([]);
    expect(await cluster.liveNomad.accepts(first?.secret ?? '')).toBe(false);
    expect(await cluster.get('secret', 'dashboard')).toBeUndefined();
    const everything = await cluster.kubectl(
      'get',
      'nomad-access,events.events.k8s.io,configmaps,leases',
      '-A',
      '-o',
      'yaml',
    );
    const metrics = (await operator.get('/metrics')).text;
    expect(metrics).toMatch(
      /nomad_access_requests_total\{target="kubernetes",connection="api-server",verb="PATCH",status="200"\} [1-9]/,
    );
    for (const text of [everything, operator.log(), metrics]) expect(text).not.toContain(first?.secret);
  });

  it('connections say whether they can be used, to whom, and what to do where they can’t', async () => {
    const { cluster } = rig;
    await cluster.operator();
    await cluster.apply(connection('NomadCluster', 'default', cluster.nomad.address, 'nomad'));
    const without = await cluster.untilReason('Denied', 'nomadcluster', 'default');
    const ready = without.status?.conditions?.find(({ type }) => type === 'Ready');
    expect(ready?.message).toMatch(/Secret/);
    expect(ready?.message).toContain('nomad-access');
    await cluster.apply(secret(HOME, 'nomad', cluster.nomad.token));
    await cluster.waitReady('nomadcluster', 'default');
    const { status } = (await cluster.get('nomadcluster', 'default')) ?? {};
    expect(status?.conditions?.map(({ type, message }) => [type, message])).toEqual([
      ['Ready', expect.stringContaining('no grants are declared') as string],
    ]);
    expect(await cluster.kubectl('get', 'nomadclusters')).toMatch(/default +http:\S+ +True +InSync/);
  });

  it('a VaultJwtIntegration is what `nomad setup vault` makes, and goes whole', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(resource('VaultJwtIntegration', 'workloads', '{}'));
    await cluster.operator();
    await cluster.waitReady('vaultjwtintegration', 'workloads');
    await cluster.waitReady('vaultserver', 'default');
    expect(await cluster.kubectl('get', 'vaultservers')).toMatch(/default +http:\S+ +True +InSync/);
    expect(await cluster.kubectl('get', 'vaultjwtintegrations')).toMatch(/workloads +jwt-nomad +True +InSync/);
    expect(await cluster.liveVault.mounts()).toContain('jwt-nomad/');
    expect(await cluster.liveVault.list('auth/jwt-nomad/role')).toEqual(['nomad-workloads']);

    await cluster.liveVault.request('DELETE', 'auth/jwt-nomad/role/nomad-workloads');
    await until('the role is there again', async () => {
      const roles = await cluster.liveVault.list('auth/jwt-nomad/role');
      return roles.length > 0 ? roles : undefined;
    });
    await cluster.kubectl('delete', 'vaultjwtintegration', 'workloads', '--timeout=60s');
    expect(await cluster.liveVault.mounts()).toEqual(['token/']);
  });
});
