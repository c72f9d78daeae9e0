import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Random } from '../faults/random.ts';
import { startTcpProxy, type TcpProxy } from '../kubernetes/tcp-proxy.ts';
import { requireServers } from '../servers/binaries.ts';
import { askServer } from '../servers/http.ts';
import { HOME, useCluster, type Cluster } from './cluster.ts';
import type { Gateway } from './gateway.ts';
import { isWatch, POLICIES, rules, startApiGateway, useDeclared } from './kubernetes-declared.ts';
import { seedOf } from './random.ts';

const KINDS = 5;
/** Of each kind, and of Secrets. */
const WATCHES = KINDS + 3;
const OUTAGE_SECONDS = 2;
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${HOME}/leases/nomad-access-default`;

/** Whatever breaks between the operator and the API server, nothing that is declared goes unseen. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('watches that break', () => {
  const rig = useCluster();
  const admin = useDeclared(rig);
  const ways: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    admin.declared.forget();
    await rig.cluster.connect();
  });
  // Before the cluster is cleared, which ends the operator.
  afterEach(() => Promise.all(ways.splice(0).map((way) => way.close())));

  async function gateway(): Promise<Gateway> {
    const way = await startApiGateway(rig.cluster);
    ways.push(way);
    return way;
  }

  it('what was changed while etcd forgot the versions in between is seen all the same', async () => {
    const { cluster } = rig;
    const { declared } = admin;
    const way = await gateway();
    for (const name of ['kept', 'edited', 'deleted']) await declared.policy(name);
    const operator = await cluster.operator([], { kubernetes: way.address });
    await declared.isSo();

    way.decide((request) => (isWatch(request) ? 'lose request' : 'pass'));
    expect(way.cut(isWatch)).toBeGreaterThanOrEqual(KINDS);
    await declared.policy('edited', 'write');
    await declared.drop('deleted');
    await declared.policy('new');
    await restart(cluster);
    await compact(cluster);
    way.forget();
    way.decide(() => 'pass');

    await declared.isSo();
    // It was told that its version is too old, and listed again: not because it has begun a new term.
    expect(way.passed.filter((request) => request.path.startsWith(`${POLICIES}?`) && !isWatch(request))).toHaveLength(
      1,
    );
    expect(operator.log()).not.toContain('leading no more');
    expect(await operator.stop()).toBe(0);
  });

  it('restarts of the API server in the midst of creates, edits and deletions lose none of them', async () => {
    const { cluster } = rig;
    const { declared } = admin;
    await cluster.operator();
    const names = Array.from({ length: 30 }, (_, i) => `p${String(i)}`);
    const restarts: Promise<void>[] = [];
    for (const [at, name] of names.entries()) {
      await declared.policy(name);
      if (at === 15) restarts.push(restart(cluster));
    }
    await Promise.all(restarts.splice(0));
    for (const [at, name] of names.entries()) {
      if (at % 3 === 0) await declared.policy(name, 'write');
      if (at % 3 === 1) await declared.drop(name);
      if (at === 15) restarts.push(restart(cluster));
    }
    await Promise.all(restarts);
    await declared.isSo();
  });

  it(
    'connections that are cut, half closed, held up and made useless at random lose nothing, and few requests',
    { timeout: 300_000 },
    async () => {
      const { cluster } = rig;
      const { declared } = admin;
      const way = await gateway();
      const proxy = await startTcpProxy(way.address);
      ways.push(proxy);
      const edited = Array.from({ length: 12 }, (_, i) => `edited-${String(i)}`);
      const fleeting = Array.from({ length: 12 }, (_, i) => `fleeting-${String(i)}`);
      for (const name of edited) await declared.policy(name);
      for (const name of edited.slice(0, 4)) await declared.token(name, name);
      const operator = await cluster.operator([], { kubernetes: proxy.address });
      await declared.isSo();
      const before = { requests: way.passed.length, connections: proxy.accepted() };

      const random = new Random(seedOf('kubernetes-watches'));
      const faults = new Faults(proxy, random);
      const drifts = new Drifts(cluster, random);
      const begun = performance.now();
      const changes = 150;
      for (let step = 0; step < changes; step++) {
        const dice = random.next();
        if (dice < 0.3) await declared.policy(random.pick(edited), random.pick(['read', 'write', 'deny']));
        else if (dice < 0.55) await declared.policy(random.pick(fleeting), random.pick(['read', 'write']));
        else if (dice < 0.8) await declared.drop(random.pick(fleeting));
        else await drifts.one(edited);
        if (random.chance(0.2)) await faults.one();
        await sleep(random.below(100));
      }
      await declared.isSo();
      const seconds = (performance.now() - begun) / 1000;

      // Each change is a few writes at the most, and after each fault each watch is asked for again.
      const most = 3 * changes + WATCHES * faults.count + seconds;
      expect(way.passed.length - before.requests).toBeLessThan(most);
      expect(proxy.accepted() - before.connections).toBeLessThan(most);

      // And then there is silence, but for the lease.
      const sinceAnother = (): number => [...way.passed].reverse().findIndex(({ path }) => !path.startsWith(LEASE));
      await expect.poll(sinceAnother, { timeout: 60_000 }).toBeGreaterThan(1);

      // Whoever is never answered asks less and less often.
      const inVain = { connections: proxy.accepted(), requests: way.passed.length };
      proxy.go('lose replies');
      proxy.cut();
      await sleep(OUTAGE_SECONDS * 1000);
      expect(proxy.accepted() - inVain.connections).toBeLessThan(3 * WATCHES * OUTAGE_SECONDS);
      way.decide((request) => (isWatch(request) ? 500 : 'pass'));
      proxy.go('pass');
      await sleep(OUTAGE_SECONDS * 1000);
      expect(way.passed.length - inVain.requests).toBeLessThan(3 * WATCHES * OUTAGE_SECONDS);
      expect(await operator.stop()).toBe(0);
    },
  );
});

/** What happens to connections. */
class Faults {
  count = 0;
  readonly #proxy: TcpProxy;
  readonly #random: Random;

  constructor(proxy: TcpProxy, random: Random) {
    this.#proxy = proxy;
    this.#random = random;
  }

  async one(): Promise<void> {
    this.count++;
    const proxy = this.#proxy;
    const faults: (() => Promise<void> | void)[] = [
      () => {
        proxy.cut();
      },
      () => {
        proxy.halfClose();
      },
      () => this.#during('hold'),
      () => this.#during('lose replies'),
      async () => {
        await this.#during('stall');
        // What was swallowed makes the connections that stand useless.
        proxy.cut();
      },
    ];
    await this.#random.pick(faults)();
  }

  async #during(way: 'hold' | 'lose replies' | 'stall'): Promise<void> {
    this.#proxy.go(way);
    await sleep(this.#random.below(600));
    this.#proxy.go('pass');
  }
}

/** What somebody changes on Nomad by hand; no object so often that the operator leaves it for a while. */
class Drifts {
  readonly #times = new Map<string, number>();
  readonly #cluster: Cluster;
  readonly #random: Random;

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  async one(names: readonly string[]): Promise<void> {
    const name = this.#random.pick(names);
    const times = (this.#times.get(name) ?? 0) + 1;
    if (times > 4) return;
    this.#times.set(name, times);
    const { liveNomad } = this.#cluster;
    const token = (await liveNomad.marked()).find(({ Name }) => Name.startsWith(`${name} [`));
    if (token !== undefined && this.#random.chance(0.5))
      await liveNomad.request('DELETE', `/v1/acl/token/${token.AccessorID}`);
    else await liveNomad.putPolicy(name, rules('list'));
  }
}

/** As after a crash: it would wait for those who watch before it ends. */
async function restart({ kubernetes }: Cluster): Promise<void> {
  process.kill(kubernetes.pid, 'SIGKILL');
  await kubernetes.stopApiServer();
  await kubernetes.startApiServer();
}

/** Forgets all old versions, as etcd does every five minutes. */
async function compact(cluster: Cluster): Promise<void> {
  const name = `compaction-${String(Date.now())}`;
  await cluster.kubectl('create', 'namespace', name);
  const version = await cluster.kubectl('get', 'namespace', name, '-o', 'jsonpath={.metadata.resourceVersion}');
  const reply = await askServer(`${cluster.kubernetes.etcdAddress}/v3/kv/compaction`, {
    method: 'POST',
    body: { revision: version, physical: true },
  });
  expect(reply.status).toBe(200);
}
