import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { HOME, policy, resource, secret, until, useCluster, type Cluster } from './cluster.ts';
import {
  annotate,
  ASK,
  conditionOf,
  deleteSoon,
  eventsOf,
  isWithoutCredential,
  token,
  untilGone,
  untilShown,
} from './kubernetes-objects.ts';

const TEAM = 'team';
/** What people delete, in whatever order comes to their mind. */
const DELETIONS: Readonly<Record<Deletion, readonly [kind: string, name: string, namespace: string]>> = {
  policy: ['aclpolicy', 'readonly', TEAM],
  token: ['acltoken', 'ci', TEAM],
  integration: ['vaultjwtintegration', 'workloads', TEAM],
  nomad: ['nomadcluster', 'default', 'default'],
  vault: ['vaultserver', 'default', 'default'],
  nomadSecret: ['secret', 'nomad', HOME],
  vaultSecret: ['secret', 'vault', HOME],
};
type Managed = 'policy' | 'token' | 'integration';
type Deletion = Managed | 'nomad' | 'vault' | 'nomadSecret' | 'vaultSecret';
/** What is deleted with which credential. */
const CREDENTIALS = { policy: 'nomadSecret', token: 'nomadSecret', integration: 'vaultSecret' } as const;
const MANAGED: readonly Managed[] = ['policy', 'token', 'integration'];

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a deletion', () => {
  const rig = useCluster();

  it(
    'of resources, connections and credentials ends with nothing left, in whatever order',
    { timeout: 400_000 },
    async () => {
      const { cluster } = rig;
      await cluster.kubectl('create', 'namespace', TEAM);
      await cluster.operator();
      const order = fc.shuffledSubarray(Object.keys(DELETIONS) as Deletion[], { minLength: 7 });
      await fc.assert(
        fc.asyncProperty(order, (names) => inOrder(cluster, names)),
        { numRuns: 6, endOnFailure: true },
      );
      await cluster.kubectl('delete', 'namespace', TEAM, '--wait=false');
    },
  );

  it.each(MANAGED)(
    'of a connection and its credential before the %s waits for the credential, and says so',
    async (what) => {
      const { cluster } = rig;
      await declare(cluster, 'default');
      await cluster.operator();
      await ready(cluster, 'default');
      await deleteSoon(cluster, ...DELETIONS[CREDENTIALS[what]]);
      await deleteSoon(cluster, ...(what === 'integration' ? DELETIONS.vault : DELETIONS.nomad));
      const [kind, name] = DELETIONS[what];
      await deleteSoon(cluster, kind, name);
      const said = await untilShown(cluster, kind, name, 'misses its credential', isWithoutCredential);
      expect(conditionOf(said)?.message).toContain('create it (kubectl create secret generic');
      await credentials(cluster);
      await untilGone(cluster, kind, name);
      if (what === 'integration') expect(await cluster.liveVault.mounts()).toEqual(['token/']);
      else if (what === 'policy') expect(await cluster.liveNomad.policyNames()).toEqual([]);
      else expect(await cluster.liveNomad.marked()).toEqual([]);
    },
  );

  it('of a whole namespace, as its controller does it, leaves nothing on the servers', async () => {
    const { cluster } = rig;
    await cluster.kubectl('create', 'namespace', 'leaving');
    await declare(cluster, 'leaving');
    const operator = await cluster.operator();
    await ready(cluster, 'leaving');
    // From here on nothing can be created there, Events neither.
    await cluster.kubectl('delete', 'namespace', 'leaving', '--wait=false');
    const kinds = ['vaultjwtintegrations', 'acltokens', 'aclpolicies', 'secrets', 'configmaps', 'events.events.k8s.io'];
    await Promise.all(kinds.map((kind) => cluster.kubectl('delete', kind, '--all', '-n', 'leaving', '--wait=false')));
    for (const what of MANAGED) await untilGone(cluster, DELETIONS[what][0], DELETIONS[what][1], 'leaving');
    await nothingIsLeft(cluster);
    const namespace = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'leaving' }, spec: {} });
    await cluster.kubectl('replace', '--raw', '/api/v1/namespaces/leaving/finalize', '-f', '-', { input: namespace });
    await operator.until('nomad_access_resources_declared', 0);
  });

  it('of a CustomResourceDefinition destroys what its resources made; applied again, they work again', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'), token('ci', ['readonly']));
    const operator = await cluster.operator();
    await cluster.waitReady('acltoken', 'ci');
    const crd = await cluster.kubectl('get', 'crd', 'aclpolicies.nomad-access.io', '-o', 'json');
    await cluster.kubectl('delete', 'crd', 'aclpolicies.nomad-access.io', '--timeout=60s');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
    const { apiVersion, kind, metadata, spec } = JSON.parse(crd) as Record<string, { name: string }>;
    const bare = { apiVersion, kind, metadata: { name: metadata?.name }, spec };
    await cluster.kubectl('create', '-f', '-', { input: JSON.stringify(bare) });
    await cluster.kubectl('wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all');
    await cluster.apply(policy('readonly', 'write'));
    await cluster.waitReady('aclpolicy', 'readonly');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('write');
    expect(operator.log()).not.toContain('unexpected');
  });

  it('is done properly where that is possible, released or not', async () => {
    const { cluster } = rig;
    await declare(cluster, 'default');
    await cluster.operator();
    await ready(cluster, 'default');
    for (const what of MANAGED) {
      const [kind, name] = DELETIONS[what];
      await annotate(cluster, kind, name, ASK.release, 'true');
      await cluster.kubectl('delete', kind, name, '--timeout=60s');
      expect((await eventsOf(cluster, name)).filter(({ reason }) => reason === 'Released')).toEqual([]);
    }
    await nothingIsLeft(cluster);
  });
});

/** A life of everything, deleted in an order, as fast as kubectl goes. */
async function inOrder(cluster: Cluster, order: readonly Deletion[]): Promise<void> {
  await declare(cluster, TEAM);
  await ready(cluster, TEAM);
  for (const what of order) await deleteSoon(cluster, ...DELETIONS[what]);
  for (const what of MANAGED) {
    const [kind, name] = DELETIONS[what];
    // Whether it was fast enough for a credential that went right after it is not known.
    await until(`${name} is gone, or misses its credential`, async () => {
      const shown = await cluster.get(kind, name, TEAM);
      return shown === undefined || isWithoutCredential(shown) ? true : undefined;
    });
  }
  await credentials(cluster);
  for (const what of MANAGED) await untilGone(cluster, ...DELETIONS[what]);
  await nothingIsLeft(cluster);
}

async function declare(cluster: Cluster, namespace: string): Promise<void> {
  await cluster.connect();
  await cluster.apply(
    policy('readonly', 'read', namespace),
    token('ci', ['readonly'], [], namespace),
    resource('VaultJwtIntegration', 'workloads', '{}', namespace),
  );
}

async function ready(cluster: Cluster, namespace: string): Promise<void> {
  for (const what of MANAGED) await cluster.waitReady(DELETIONS[what][0], DELETIONS[what][1], namespace);
}

function credentials(cluster: Cluster): Promise<string> {
  return cluster.apply(secret(HOME, 'nomad', cluster.nomad.token), secret(HOME, 'vault', cluster.vaultToken));
}

async function nothingIsLeft(cluster: Cluster): Promise<void> {
  expect(await cluster.liveNomad.policyNames()).toEqual([]);
  expect(await cluster.liveNomad.marked()).toEqual([]);
  expect(await cluster.liveVault.mounts()).toEqual(['token/']);
  expect((await cluster.liveVault.list('sys/policies/acl')).sort()).toEqual(['default', 'nomad-access', 'root']);
  const kinds = 'aclpolicies,acltokens,vaultjwtintegrations';
  expect(JSON.parse(await cluster.kubectl('get', kinds, '-A', '-o', 'json'))).toMatchObject({ items: [] });
}
