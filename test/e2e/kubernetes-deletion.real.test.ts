import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { connection, HOME, policy, resource, secret, until, useCluster, type Cluster } from './cluster.ts';
import { startGateway } from './gateway.ts';
import {
  annotate,
  ASK,
  conditionOf,
  deleteSoon,
  eventsOf,
  token,
  untilGone,
  untilShown,
} from './kubernetes-objects.ts';
import { LiveNomad } from './live.ts';

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
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  it('of resources, connections and credentials ends with nothing left, in whatever order', async () => {
    const { cluster } = rig;
    await cluster.kubectl('create', 'namespace', TEAM);
    await cluster.operator();
    const order = fc.shuffledSubarray(Object.keys(DELETIONS) as Deletion[], { minLength: 7 });
    await fc.assert(
      fc.asyncProperty(order, (names) => inOrder(cluster, names)),
      { numRuns: 6, endOnFailure: true },
    );
    await cluster.kubectl('delete', 'namespace', TEAM, '--wait=false');
  });

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
    expect(await operator.metric('nomad_access_resources_declared')).toBe(0);
  });

  it('while Nomad is stopped waits for it and says so; once it is back, nobody needs to do anything', async () => {
    const { cluster } = rig;
    const data = temporaryDirectory('nomad-data');
    let nomad: NomadServer = await startNomad({ client: false, dataDir: data.path });
    undo.push(data.remove, () => nomad.stop());
    const live = new LiveNomad(nomad);
    await cluster.apply(
      secret(HOME, 'nomad', nomad.token),
      connection('NomadCluster', 'default', nomad.address, 'nomad'),
      policy('readonly'),
      token('ci', ['readonly']),
    );
    await cluster.operator();
    for (const [kind, name] of [DELETIONS.policy, DELETIONS.token]) await cluster.waitReady(kind, name);
    await nomad.stop();
    for (const [kind, name] of [DELETIONS.policy, DELETIONS.token]) {
      await deleteSoon(cluster, kind, name);
      const said = await untilShown(
        cluster,
        kind,
        name,
        'waits for Nomad',
        (shown) => waitsFor(shown, nomad.address),
        'default',
        15_000,
      );
      expect(said.metadata.finalizers).toEqual(['nomad-access.io/finalizer']);
    }
    const { ports, dataDir } = nomad;
    nomad = await startNomad({ client: false, ports, dataDir });
    for (const [kind, name] of [DELETIONS.policy, DELETIONS.token]) await untilGone(cluster, kind, name);
    expect(await live.policyNames()).toEqual([]);
    expect(await live.marked()).toEqual([]);
  });

  it('while Nomad hangs waits for it and says so', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    process.kill(cluster.nomad.pid, 'SIGSTOP');
    const resume = (): void => void process.kill(cluster.nomad.pid, 'SIGCONT');
    undo.push(resume);
    await deleteSoon(cluster, 'aclpolicy', 'readonly');
    const { address } = cluster.nomad;
    await untilShown(cluster, 'aclpolicy', 'readonly', 'waits for Nomad', (shown) => waitsFor(shown, address));
    resume();
    await untilGone(cluster, 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
  });

  it('of what was never made because Nomad is down needs no Nomad', async () => {
    const { cluster } = rig;
    const gone = await startGateway(cluster.nomad.address);
    await gone.close();
    await cluster.connect({ nomad: gone.address });
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await untilShown(cluster, 'aclpolicy', 'readonly', 'waits for Nomad', (shown) => waitsFor(shown, gone.address));
    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=20s');
  });

  it('of what a lost Nomad holds goes through when it is released, and says what may remain', async () => {
    const { cluster } = rig;
    const gateway = await startGateway(cluster.nomad.address);
    undo.push(() => gateway.close());
    await cluster.connect({ nomad: gateway.address });
    await cluster.apply(policy('readonly'), token('ci', ['readonly']));
    await cluster.operator();
    for (const [kind, name] of [DELETIONS.policy, DELETIONS.token]) await cluster.waitReady(kind, name);
    const [marked] = await cluster.liveNomad.marked();
    await gateway.close();
    for (const [kind, name] of [DELETIONS.policy, DELETIONS.token]) {
      await deleteSoon(cluster, kind, name);
      await untilShown(cluster, kind, name, 'waits for Nomad', (shown) => waitsFor(shown, gateway.address));
      await annotate(cluster, kind, name, ASK.release, 'true');
      await untilGone(cluster, kind, name);
    }
    const told = await until('both were told of', async () => {
      const events = [...(await eventsOf(cluster, 'readonly')), ...(await eventsOf(cluster, 'ci'))];
      const released = events.filter(({ reason }) => reason === 'Released');
      return released.length >= 2 ? released : undefined;
    });
    expect(told.map(({ type }) => type)).toEqual(['Warning', 'Warning']);
    expect(told.map(({ note }) => note).join()).toContain('default/acl-policy/readonly');
    expect(told.map(({ note }) => note).join()).toContain(`default/acl-token/${marked?.Name ?? 'no token'}`);
  });

  it('without a credential, which nobody will bring back, goes through when it is released', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    for (const what of ['nomadSecret', 'nomad', 'policy'] as const)
      await deleteSoon(cluster, DELETIONS[what][0], DELETIONS[what][1], what === 'nomadSecret' ? HOME : 'default');
    await untilShown(cluster, 'aclpolicy', 'readonly', 'misses its credential', isWithoutCredential);
    await annotate(cluster, 'aclpolicy', 'readonly', ASK.release, 'true');
    await untilGone(cluster, 'aclpolicy', 'readonly');
    const [told] = await until('it was told of', async () => {
      const released = (await eventsOf(cluster, 'readonly')).filter(({ reason }) => reason === 'Released');
      return released.length > 0 ? released : undefined;
    });
    expect(told?.note).toContain('default/acl-policy/readonly');
    expect(await cluster.liveNomad.policyNames()).toEqual(['readonly']);
  });

  it('of a CustomResourceDefinition destroys what its resources made; applied again, they work again', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'), token('ci', ['readonly']));
    const operator = await cluster.operator();
    await cluster.waitReady('acltoken', 'ci');
    const crd = await cluster.kubectl('get', 'crd', 'aclpolicies.nomad-access.io', '-o', 'json');
    await cluster.kubectl('delete', 'crd', 'aclpolicies.nomad-access.io', '--timeout=30s');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
    const { apiVersion, kind, metadata, spec } = JSON.parse(crd) as Record<string, { name: string }>;
    const bare = { apiVersion, kind, metadata: { name: metadata?.name }, spec };
    await cluster.kubectl('create', '-f', '-', { input: JSON.stringify(bare) });
    await cluster.kubectl('wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all');
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
      await cluster.kubectl('delete', kind, name, '--timeout=20s');
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
    const isPossible = order.indexOf(what) < order.indexOf(CREDENTIALS[what]);
    await until(`${name} is gone, or misses its credential`, async () => {
      const shown = await cluster.get(kind, name, TEAM);
      return shown === undefined || (!isPossible && isWithoutCredential(shown)) ? true : undefined;
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

type Shown = Parameters<typeof conditionOf>[0];

function isWithoutCredential(shown: Shown): boolean {
  const ready = conditionOf(shown);
  return ready?.status !== 'True' && /there is no Secret nomad-access\/(nomad|vault)/.test(ready?.message ?? '');
}

function waitsFor(shown: Shown, address: string): boolean {
  const ready = conditionOf(shown);
  const isGoingOn = conditionOf(shown, 'Reconciling')?.status === 'True';
  return ready?.status !== 'True' && isGoingOn && (ready?.message.includes(address) ?? false);
}
