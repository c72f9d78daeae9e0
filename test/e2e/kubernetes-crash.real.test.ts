import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { HOME, policy, until, useCluster, type Cluster } from './cluster.ts';
import { certificateOf, startHaltingProxy } from './halting-proxy.ts';
import { ask, conditionOf, token } from './kubernetes-objects.ts';
import { Counter, type Boundary, type Hook, type Proxy } from './proxy.ts';
import type { RunningOperator } from './running.ts';

const COLLECTION = '/apis/nomad-access.io/v1alpha1/namespaces/default';
const LIFE = [`${COLLECTION}/aclpolicies/one`, `${COLLECTION}/acltokens/ci`];
const PHASES = ['before', 'after'] as const;
type Shown = Parameters<typeof conditionOf>[0];

/** Where the operator is killed: at a boundary of one of its writes, counted from the first of a life, or of its end. */
interface Spot {
  readonly index: number;
  readonly phase: Boundary['phase'];
}

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a SIGKILL', () => {
  const rig = useCluster();
  const counter = new Counter();
  let hook: Hook = () => 'pass';
  let proxies: Proxy[] = [];
  let operator: RunningOperator;

  beforeAll(async () => {
    const { kubernetes, nomad } = rig.cluster;
    const front = { counter, hook: () => hook };
    proxies = await Promise.all([
      startHaltingProxy({ ...front, target: kubernetes.address, tls: certificateOf(kubernetes) }),
      startHaltingProxy({ ...front, target: nomad.address }),
    ]);
  });
  afterAll(() => Promise.all(proxies.map((proxy) => proxy.close())));

  it('at any write in the life of a policy and a token leaves nothing doubled, forgotten or half-done', async () => {
    const { cluster } = rig;
    const [kubernetes, nomad] = proxies;
    const start = async (): Promise<void> => {
      operator = await cluster.operator([], { kubernetes: kubernetes?.address ?? '' });
    };
    await cluster.connect({ nomad: nomad?.address ?? '' });
    await foreign(cluster);
    const before = await cluster.liveNomad.everything();
    await start();

    const seen: string[] = [];
    let kills = 0;
    /** Does something that makes the operator write, kills it at a spot, if there is one, and starts it anew. */
    const killedAt = async (spot: Spot | undefined, act: () => Promise<unknown>, isDone: () => Promise<boolean>) => {
      const at = { killed: false };
      counter.requests = 0;
      hook = ({ index, phase, method, path }) => {
        if (at.killed) return 'cut';
        if (spot === undefined) seen.push(`${method} ${path.replace(/\?.*/, '')}`);
        if (index !== spot?.index || phase !== spot.phase) return 'pass';
        at.killed = true;
        operator.kill('SIGKILL');
        return 'cut';
      };
      await act();
      await until('it was killed, or came to an end', async () => (at.killed || (await isDone()) ? true : undefined));
      hook = () => 'pass';
      if (!at.killed) return false;
      kills++;
      await operator.ended;
      // As if the time of its lease had passed.
      await ask(cluster, 'DELETE', `/apis/coordination.k8s.io/v1/namespaces/${HOME}/leases/nomad-access-default`);
      await start();
      await until('it has come to an end', async () => ((await isDone()) ? true : undefined));
      return true;
    };
    /** @returns how many writes there were, where nobody was killed. */
    const life = async (first: Spot | undefined, last: Spot | undefined): Promise<{ made: number; ended: number }> => {
      const because = `killed at ${JSON.stringify([first, last])}`;
      await killedAt(
        first,
        () => cluster.apply(policy('one'), token('ci', ['one'])),
        () => areReady(cluster),
      );
      const made = counter.requests;
      expect(await cluster.liveNomad.policyNames(), because).toEqual(['foreign', 'one']);
      expect(
        (await cluster.liveNomad.marked()).map(({ Policies }) => Policies),
        because,
      ).toEqual([['one']]);
      await killedAt(
        last,
        () => Promise.all(LIFE.map((path) => ask(cluster, 'DELETE', path))),
        () => areGone(cluster),
      );
      expect(await cluster.liveNomad.everything(), because).toEqual(before);
      expect(await recorded(cluster), because).toEqual([]);
      return { made, ended: counter.requests };
    };

    await life(undefined, undefined);
    seen.splice(0);
    const { made, ended } = await life(undefined, undefined);
    for (const write of STATES) expect(seen).toContain(write);
    expect(kills).toBe(0);
    for (let index = 1; index <= Math.max(made, ended); index++)
      for (const phase of PHASES)
        await life(index <= made ? { index, phase } : undefined, index <= ended ? { index, phase } : undefined);
    // How many writes there are depends a little on which of them are answered first.
    expect(kills).toBeGreaterThan(1.5 * (made + ended));
  });
});

/** The writes between which a life goes on. */
const STATES = [
  `PATCH ${COLLECTION}/aclpolicies/one`,
  'PATCH /api/v1/namespaces/nomad-access/configmaps/nomad-access-default-inventory-1',
  'PUT /v1/acl/policy/one',
  'POST /v1/acl/token',
  `PATCH ${COLLECTION}/aclpolicies/one/status`,
  'DELETE /v1/acl/policy/one',
];

/** What is nobody's business here. */
async function foreign({ liveNomad }: Cluster): Promise<void> {
  await liveNomad.putPolicy('foreign', 'namespace "default" { policy = "read" }');
  const body = { Name: 'foreign', Type: 'client', Policies: ['foreign'] };
  expect((await liveNomad.request('PUT', '/v1/acl/token', body)).status).toBe(200);
}

async function areReady(cluster: Cluster): Promise<boolean> {
  const found = await Promise.all(LIFE.map((path) => ask(cluster, 'GET', path)));
  return found.every(({ body }) => conditionOf(body as Shown)?.status === 'True');
}

async function areGone(cluster: Cluster): Promise<boolean> {
  const found = await Promise.all(LIFE.map((path) => ask(cluster, 'GET', path)));
  return found.every(({ status }) => status === 404);
}

/** The entries of the inventory. */
async function recorded(cluster: Cluster): Promise<string[]> {
  const { body } = await ask(cluster, 'GET', `/api/v1/namespaces/${HOME}/configmaps`);
  const { items } = body as { items: { metadata: { name: string }; data?: Record<string, string> }[] };
  const pages = items.filter(({ metadata }) => /^nomad-access-default-inventory-\d+$/.test(metadata.name));
  return pages.flatMap(({ data = {} }) => Object.values(data));
}
