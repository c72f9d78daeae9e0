import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, HOME, policy, resource, secret, until, useCluster, type Cluster } from './cluster.ts';
import { startGateway, type Gateway } from './gateway.ts';
import { annotate, ASK, conditionOf, patch, policyWith, token, untilShown } from './kubernetes-objects.ts';

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a resource', () => {
  const rig = useCluster();
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  it('is looked at on demand, which finds what no event told of', async () => {
    const { cluster } = rig;
    const gateway = await deaf(cluster);
    undo.push(() => gateway.close());
    await cluster.connect({ nomad: gateway.address });
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await cluster.liveNomad.putPolicy('readonly', 'namespace "default" { policy = "write" }');
    await annotate(cluster, 'aclpolicy', 'readonly', ASK.reconcile, 'now');
    const shown = await untilShown(
      cluster,
      'aclpolicy',
      'readonly',
      'answers the request',
      ({ status }) => status?.lastReconcileRequest === 'now',
    );
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('read');
    expect(shown.status?.lastDrift?.fields).toEqual(['spec.rules']);
  });

  it('answers each request, however it stands', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(
      policy('ready'),
      policyWith('suspended', ['suspend: true']),
      policyWith('rival', ['name: ready'], 'write'),
      policyWith('lost', ['nomadRef: nowhere']),
      resource('AclPolicy', 'wrong', `rules: 'nonsense = ['`),
      token('early', ['not-there']),
    );
    await cluster.operator();
    const reasons = {
      ready: 'InSync',
      suspended: 'Suspended',
      rival: 'Conflict',
      lost: 'Waiting',
      wrong: 'Rejected',
    };
    for (const [name, reason] of Object.entries(reasons)) await cluster.untilReason(reason, 'aclpolicy', name);
    for (const name of Object.keys(reasons)) {
      await annotate(cluster, 'aclpolicy', name, ASK.reconcile, 'please');
      await untilShown(
        cluster,
        'aclpolicy',
        name,
        'answers',
        ({ status }) => status?.lastReconcileRequest === 'please',
      );
    }
    await annotate(cluster, 'acltoken', 'early', ASK.reconcile, 'please');
    await untilShown(
      cluster,
      'acltoken',
      'early',
      'answers',
      ({ status }) => status?.lastReconcileRequest === 'please',
    );
    for (const [name, reason] of Object.entries(reasons)) await cluster.untilReason(reason, 'aclpolicy', name);
  });

  it('that is suspended is left as it is, and goes on afterwards', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'), policy('beside'));
    await cluster.operator();
    for (const name of ['readonly', 'beside']) await cluster.waitReady('aclpolicy', name);
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { suspend: true } });
    await cluster.untilReason('Suspended', 'aclpolicy', 'readonly');
    for (const name of ['readonly', 'beside'])
      await cluster.liveNomad.putPolicy(name, 'namespace "default" { policy = "write" }');
    // What came after it was put right: so nobody is still about to put this one right.
    await until('the other one is put right', async () =>
      (await cluster.liveNomad.rulesOf('beside'))?.includes('read') === true ? true : undefined,
    );
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('write');
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { suspend: false } });
    await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('read');
  });

  it('edited while Nomad is down says so, and is as edited once Nomad is back', async () => {
    const { cluster } = rig;
    const gateway = await startGateway(cluster.nomad.address);
    undo.push(() => gateway.close());
    await cluster.connect({ nomad: gateway.address });
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await gateway.close();
    await cluster.apply(policy('readonly', 'write'));
    await untilShown(
      cluster,
      'aclpolicy',
      'readonly',
      'waits for Nomad',
      (shown) =>
        conditionOf(shown)?.status !== 'True' && conditionOf(shown)?.message.includes(gateway.address) === true,
    );
    await gateway.open();
    await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('write');
  });

  it('made wrong after it was right keeps what it made, says what is wrong, and goes on once it is put right', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { rules: 'namespace "default" { policy = "nonsense" }' } });
    const wrong = await untilShown(
      cluster,
      'aclpolicy',
      'readonly',
      'is refused',
      (shown) => conditionOf(shown, 'Stalled')?.observedGeneration === shown.metadata.generation,
    );
    expect(conditionOf(wrong)).toMatchObject({ status: 'False', reason: 'Rejected' });
    expect(conditionOf(wrong)?.message).toContain('nonsense');
    expect(conditionOf(wrong, 'Reconciling')).toBeUndefined();
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('policy = "read"');
    await cluster.apply(policy('readonly', 'write'));
    const right = await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    expect(conditionOf(right, 'Stalled')).toBeUndefined();
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('policy = "write"');
  });

  it('with a name that Nomad does not take is refused by the operator where admission cannot see it', async () => {
    const { cluster } = rig;
    await cluster.connect();
    // Admission sees the name where it is spelled out in the spec.
    await cluster.apply(policy('self'), policy('right'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'right');
    const shown = await untilShown(cluster, 'aclpolicy', 'self', 'is refused', (s) => conditionOf(s) !== undefined);
    expect(conditionOf(shown)?.status).toBe('False');
    expect(conditionOf(shown)?.message).toContain('self');
    expect(conditionOf(shown, 'Stalled')?.status).toBe('True');
    await cluster.kubectl('delete', 'aclpolicy', 'self', '--timeout=60s');
    expect(await cluster.liveNomad.policyNames()).toEqual(['right']);
  });

  it('waits for its connection, and does not wait long once that is there', async () => {
    const { cluster } = rig;
    await cluster.apply(
      policy('readonly'),
      token('ci', ['readonly']),
      resource('VaultJwtIntegration', 'workloads', '{}'),
    );
    await cluster.operator();
    const kinds = [
      ['aclpolicy', 'readonly'],
      ['acltoken', 'ci'],
      ['vaultjwtintegration', 'workloads'],
    ] as const;
    for (const [kind, name] of kinds) {
      const shown = await untilShown(cluster, kind, name, 'waits', (s) => conditionOf(s) !== undefined);
      expect(conditionOf(shown)?.status).not.toBe('True');
      expect(conditionOf(shown)?.message).toMatch(/there is no (NomadCluster|VaultServer) named default/);
    }
    await cluster.connect();
    for (const [kind, name] of kinds)
      await cluster.kubectl('wait', '--for=condition=Ready', `${kind}/${name}`, '--timeout=60s');
  });

  it('goes on when its credential is rotated, though the old one is deleted at once', async () => {
    const { cluster } = rig;
    const management = async (): Promise<{ AccessorID: string; SecretID: string }> => {
      const body = { Name: 'the operator', Type: 'management' };
      return (await cluster.liveNomad.request<{ AccessorID: string; SecretID: string }>('PUT', '/v1/acl/token', body))
        .body;
    };
    await cluster.connect();
    const old = await management();
    await cluster.apply(secret(HOME, 'nomad', old.SecretID), policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    const { SecretID } = await management();
    await cluster.apply(secret(HOME, 'nomad', SecretID));
    await cluster.liveNomad.request('DELETE', `/v1/acl/token/${old.AccessorID}`);
    await cluster.apply(policy('readonly', 'write'));
    await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    await cluster.liveNomad.putPolicy('readonly', 'namespace "default" { policy = "deny" }');
    await until('drift is still put back', async () =>
      (await cluster.liveNomad.rulesOf('readonly'))?.includes('write') === true ? true : undefined,
    );
    expect((await cluster.get('nomadcluster', 'default'))?.status?.conditions?.[0]?.status).toBe('True');
  });

  it('is not taken to another server because the address of its connection changed, before a person accepts that', async () => {
    const { cluster } = rig;
    const elsewhere = await startGateway(cluster.nomad.address);
    undo.push(() => elsewhere.close());
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await cluster.apply(connection('NomadCluster', 'default', elsewhere.address, 'nomad'));
    await cluster.apply(policy('readonly', 'write'));
    await cluster.untilReason('AddressChanged', 'nomadcluster', 'default');
    await cluster.untilReason('AddressChanged', 'aclpolicy', 'readonly');
    expect(elsewhere.passed).toEqual([]);
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('read');
    await annotate(cluster, 'nomadcluster', 'default', ASK.acceptAddress, elsewhere.address);
    await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    await cluster.untilReason('InSync', 'nomadcluster', 'default');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('write');
  });
});

/** A way to Nomad on which no event is ever told. */
async function deaf({ nomad }: Cluster): Promise<Gateway> {
  const gateway = await startGateway(nomad.address);
  gateway.decide(({ path }) => (path.startsWith('/v1/event/stream') ? 'swallow' : 'pass'));
  return gateway;
}
