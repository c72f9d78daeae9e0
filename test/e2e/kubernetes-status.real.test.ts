import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, policy, resource, until, useCluster, type Cluster, type Shown } from './cluster.ts';
import { ask, ASK, conditionOf, patch, policyWith, token, untilShown } from './kubernetes-objects.ts';

const POLICY = '/apis/nomad-access.io/v1alpha1/namespaces/default/aclpolicies/readonly';
const REASONS = new Set([
  'Created',
  'Updated',
  'Replaced',
  'Deleted',
  'DriftCorrected',
  'Adopted',
  'Conflict',
  'Rejected',
  'Waiting',
  'Blocked',
  'Unavailable',
]);

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a status', () => {
  const rig = useCluster();

  it('never claims a generation that Nomad does not hold', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    const over = new AbortController();
    let edits = 0;
    const editing = (async (): Promise<void> => {
      while (!over.signal.aborted) {
        edits++;
        const rules = `# edit ${String(edits)}\nnamespace "default" { policy = "read" }`;
        expect((await ask(cluster, 'PATCH', POLICY, { spec: { rules } })).status).toBe(200);
        // Now and then it has the time to come through.
        if (edits % 20 === 0) await cluster.waitReady('aclpolicy', 'readonly');
      }
    })();
    let claims = 0;
    while (claims < 100) {
      const shown = (await ask(cluster, 'GET', POLICY)).body as Shown & { spec: { rules: string } };
      const { metadata, status, spec } = shown;
      if (status?.observedGeneration !== metadata.generation || conditionOf(shown)?.status !== 'True') continue;
      claims++;
      const live = await cluster.liveNomad.rulesOf('readonly');
      // Nomad may be further by now, but never behind.
      expect(numberIn(live)).toBeGreaterThanOrEqual(numberIn(spec.rules));
      expect(conditionOf(shown)?.observedGeneration).toBe(metadata.generation);
    }
    over.abort();
    await editing;
    expect(edits).toBeGreaterThan(20);
    const last = await cluster.untilReason('InSync', 'aclpolicy', 'readonly');
    expect(last.status?.observedGeneration).toBe(last.metadata.generation);
    expect(numberIn(await cluster.liveNomad.rulesOf('readonly'))).toBe(edits);
  });

  it('that somebody edits is put right', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    const before = (await cluster.get('aclpolicy', 'readonly'))?.status;
    for (const status of [
      { conditions: [{ ...before?.conditions?.[0], status: 'False', reason: 'Forged' }] },
      { live: { name: 'another' }, observedGeneration: 77 },
      { conditions: null, live: null, observedGeneration: null },
    ]) {
      await patch(cluster, 'aclpolicy', 'readonly', { status }, '--subresource=status');
      await untilShown(
        cluster,
        'aclpolicy',
        'readonly',
        'is as it was',
        (shown) => withoutTime(shown.status) === withoutTime(before),
      );
    }
  });

  it('is written only when it changes: neither requests nor listing anew move the version of an object', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(connection('NomadCluster', 'default', cluster.nomad.address, 'nomad', 'resyncInterval: 1s'));
    await cluster.apply(
      policy('readonly'),
      token('ci', ['readonly']),
      resource('VaultJwtIntegration', 'workloads', '{}'),
    );
    const operator = await cluster.operator();
    const kinds = [
      ['aclpolicy', 'readonly'],
      ['acltoken', 'ci'],
      ['vaultjwtintegration', 'workloads'],
      ['nomadcluster', 'default'],
      ['vaultserver', 'default'],
    ] as const;
    for (const [kind, name] of kinds) await cluster.untilReason('InSync', kind, name);
    const versions = (): Promise<string[]> =>
      Promise.all(kinds.map(async ([kind, name]) => (await cluster.get(kind, name))?.metadata.resourceVersion ?? ''));
    const LISTS = 'nomad_access_requests_total{target="nomad",connection="default",verb="GET",status="200"}';
    const lists = await operator.metric(LISTS);
    const before = await versions();
    await until('it has listed five times', async () =>
      (await operator.metric(LISTS)) >= lists + 10 ? true : undefined,
    );
    expect(await versions()).toEqual(before);
    const writes = await writesOf(cluster, 'aclpolicies/default/readonly');
    for (let i = 0; i < 30; i++) {
      const asked = `request ${String(i)}`;
      await ask(cluster, 'PATCH', POLICY, { metadata: { annotations: { [ASK.reconcile]: asked } } });
      await untilShown(
        cluster,
        'aclpolicy',
        'readonly',
        'answers',
        ({ status }) => status?.lastReconcileRequest === asked,
      );
    }
    // Each is written twice: when it is made, and when it is answered.
    expect(await writesOf(cluster, 'aclpolicies/default/readonly')).toBe(writes + 60);
    // Only who was asked answered.
    expect((await versions()).slice(1)).toEqual(before.slice(1));
    const managed = JSON.parse(
      await cluster.kubectl('get', 'aclpolicy', 'readonly', '-o', 'json', '--show-managed-fields'),
    ) as {
      metadata: { managedFields: { subresource?: string; operation: string }[] };
    };
    expect(
      managed.metadata.managedFields
        .filter(({ subresource }) => subresource === 'status')
        .map(({ operation }) => operation),
    ).toEqual(['Apply']);
  });

  it('and everything else that is written or logged holds no secret; Events have fixed reasons', async () => {
    const { cluster } = rig;
    await cluster.connect();
    const { address } = cluster.nomad;
    await cluster.apply(
      connection('NomadCluster', 'default', address, 'nomad', 'grants: { globalTokens: true }'),
      policy('readonly'),
      token('ci', ['readonly']),
      token('short', ['readonly'], ['expirationTtl: 1h']),
      token('late', ['not-there']),
      policyWith('rival', ['name: readonly']),
      resource('VaultJwtIntegration', 'workloads', '{}'),
    );
    const operator = await cluster.operator(['--log-level', 'debug']);
    for (const name of ['ci', 'short']) await cluster.waitReady('acltoken', name);
    await cluster.waitReady('vaultjwtintegration', 'workloads');
    const [first] = await cluster.liveNomad.marked();
    const secrets = new Set<string>([cluster.nomad.token, cluster.vaultToken]);
    const remember = async (): Promise<void> => {
      for (const { AccessorID } of await cluster.liveNomad.marked())
        secrets.add(String((await cluster.liveNomad.token(AccessorID))['SecretID']));
    };
    await remember();
    // Drift, a replacement, trouble, and an end.
    await cluster.liveNomad.request('DELETE', `/v1/acl/token/${first?.AccessorID ?? ''}`);
    await patch(cluster, 'acltoken', 'short', { spec: { global: true } });
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { rules: 'nonsense = [' } });
    await cluster.untilReason('Rejected', 'aclpolicy', 'readonly');
    await cluster.waitReady('acltoken', 'ci');
    await remember();
    await cluster.kubectl('delete', 'acltoken', 'ci', '--timeout=60s');
    const [metrics, all, events] = await Promise.all([
      operator.get('/metrics'),
      cluster.kubectl(
        'get',
        'aclpolicies,acltokens,vaultjwtintegrations,nomadclusters,vaultservers,configmaps,leases,events.events.k8s.io',
        '-A',
        '-o',
        'yaml',
        '--show-managed-fields',
      ),
      cluster.kubectl('get', 'events.events.k8s.io', '-A', '-o', 'json'),
    ]);
    expect(secrets.size).toBeGreaterThanOrEqual(5);
    for (const hidden of secrets)
      for (const [where, text] of Object.entries({
        log: operator.log(),
        output: operator.output(),
        metrics: metrics.text,
        all,
      })) {
        expect(text.includes(hidden), `a secret is in the ${where}`).toBe(false);
        expect(text.includes(Buffer.from(hidden).toString('base64')), `a secret is in the ${where}`).toBe(false);
      }
    const { items } = JSON.parse(events) as { items: { reason: string }[] };
    const reasons = new Set(items.map(({ reason }) => reason));
    expect([...reasons].filter((reason) => !REASONS.has(reason))).toEqual([]);
    for (const reason of ['Created', 'Rejected', 'Conflict', 'Deleted']) expect(reasons).toContain(reason);
  });
});

/** How often an object was written since it was made, as etcd counts. */
async function writesOf({ kubernetes }: Cluster, path: string): Promise<number> {
  const key = Buffer.from(`/registry/nomad-access.io/${path}`).toString('base64');
  const response = await fetch(`${kubernetes.etcdAddress}/v3/kv/range`, {
    method: 'POST',
    body: JSON.stringify({ key }),
  });
  const { kvs } = (await response.json()) as { kvs?: { version: string }[] };
  return Number(kvs?.[0]?.version);
}

function numberIn(rules: string | undefined): number {
  return Number(/# edit (\d+)/.exec(rules ?? '')?.[1] ?? 0);
}

function withoutTime(status: Shown['status']): string {
  const conditions = status?.conditions?.map(({ type, status: is, reason, message }) => [type, is, reason, message]);
  return JSON.stringify({ conditions, live: status?.live, generation: status?.observedGeneration });
}
