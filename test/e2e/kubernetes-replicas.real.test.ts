import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { HOME, until, useCluster } from './cluster.ts';
import { startGateway, type Gateway, type Passed } from './gateway.ts';
import { rules, startApiGateway, useDeclared } from './kubernetes-declared.ts';
import type { RunningOperator } from './running.ts';

/** The lease that is shipped, how often one who waits looks, and how often the holder renews; seconds. */
const LEASE = { duration: 15, poll: 2, renewal: 3 };
/** For requests and starts on a machine that does other things, too; seconds. */
const SLACK = 9;
const LEADS = `leader_election_master_status{name="kubernetes:${HOME}/nomad-access-default-inventory"}`;
const LEASE_PATH = `/apis/coordination.k8s.io/v1/namespaces/${HOME}/leases/nomad-access-default`;

/** One of two operators. Each comes by a way of its own to the API server, and with a token of its own to Nomad. */
interface Replica {
  readonly operator: RunningOperator;
  readonly api: Gateway;
  readonly nomadToken: string;
}

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('two replicas', () => {
  const rig = useCluster();
  const admin = useDeclared(rig);
  const ways: Gateway[] = [];
  let nomad: Gateway;

  beforeEach(async () => {
    const { cluster } = rig;
    admin.declared.forget();
    nomad = await startGateway(cluster.nomad.address);
    ways.push(nomad);
    // Few requests at once: of many that are to be sent, some are not sent yet when it is killed.
    const spec = [`address: ${nomad.address}`, 'auth: { tokenEnv: NOMAD_TOKEN }', 'maxConnections: 8'];
    await cluster.apply(
      `apiVersion: nomad-access.io/v1alpha1\nkind: NomadCluster\nmetadata:\n  name: default\nspec:\n  ${spec.join('\n  ')}`,
    );
  });
  // Before the cluster is cleared, which ends the operators.
  afterEach(() => Promise.all(ways.splice(0).map((way) => way.close())));

  async function replica(): Promise<Replica> {
    const { cluster } = rig;
    const api = await startApiGateway(cluster);
    ways.push(api);
    const token = { Name: 'replica', Type: 'management' };
    const { body } = await cluster.liveNomad.request<{ SecretID: string }>('POST', '/v1/acl/token', token);
    const args = ['--allow-address', nomad.address];
    const operator = await cluster.operator(args, { kubernetes: api.address }, { NOMAD_TOKEN: body.SecretID });
    return { operator, api, nomadToken: body.SecretID };
  }

  /** The first one acts, the second one waits. */
  async function pair(): Promise<{ leader: Replica; standby: Replica }> {
    const { declared } = admin;
    for (const name of ['one', 'two']) await declared.policy(name);
    await declared.token('ci', 'one');
    const leader = await replica();
    await declared.isSo();
    const standby = await replica();
    await hasLogged(standby, 'standing by');
    expect(await leads(leader)).toBe(true);
    expect(await leads(standby)).toBe(false);
    for (const { operator } of [leader, standby])
      expect(await operator.get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
    return { leader, standby };
  }

  const leads = async ({ operator }: Replica): Promise<boolean> => (await operator.metric(LEADS)) === 1;
  const atNomad = ({ nomadToken }: Replica): Passed[] =>
    nomad.passed.filter(({ headers }) => headers['x-nomad-token'] === nomadToken);
  /** All that it writes to the API server but the lease. */
  const writes = ({ api }: Replica): string[] =>
    api.writes().flatMap(({ method, path }) => (path.startsWith(LEASE_PATH) ? [] : `${method} ${path}`));

  /** @returns after how many seconds a replica leads. */
  async function takeover(by: Replica): Promise<number> {
    const begun = performance.now();
    await by.operator.until(LEADS, 1);
    return (performance.now() - begun) / 1000;
  }

  /** Somebody edits a policy on Nomad, and the one that leads puts it back. */
  async function putsBack(name = 'two'): Promise<void> {
    await rig.cluster.liveNomad.putPolicy(name, rules('list'));
    await admin.declared.isSo();
  }

  it('one acts; when it is stopped it hands over, and the other one takes over at the next look', async () => {
    const { leader, standby } = await pair();
    await putsBack();
    expect(writes(standby)).toEqual([]);
    expect(atNomad(standby)).toEqual([]);
    expect(await leader.operator.stop()).toBe(0);
    expect(await takeover(standby)).toBeLessThan(LEASE.poll + SLACK);
    await admin.declared.policy('three');
    await putsBack();
    expect(await standby.operator.stop()).toBe(0);
  });

  it('one that is killed while it makes fifty tokens has a successor in time, and there are fifty', async () => {
    const { leader, standby } = await pair();
    let made = 0;
    nomad.decide(({ method, path }) => {
      // Those that are under way are made, and nobody hears of it.
      if (method !== 'GET' && path.startsWith('/v1/acl/token') && ++made === 20) leader.operator.kill('SIGKILL');
      return 'pass';
    });
    const names = Array.from({ length: 50 }, (_, i) => `t${String(i)}`);
    await Promise.all(names.map((name) => admin.declared.token(name, 'one')));
    await leader.operator.ended;
    expect(made).toBeLessThan(50);
    expect(await takeover(standby)).toBeLessThan(LEASE.duration + LEASE.poll + SLACK);
    await admin.declared.isSo();
    expect(made).toBeGreaterThanOrEqual(50);
    const marked = (await rig.cluster.liveNomad.marked()).map(({ Name }) => Name);
    expect(new Set(marked).size).toBe(51);
  });

  it('one that wakes after its lease begins no request, undoes nothing, and is good for another term', async () => {
    const { cluster } = rig;
    const { declared } = admin;
    const { leader, standby } = await pair();
    // It is stopped with something in hand that is not in the inventory, or in a status, yet.
    const put = nomadPut('/v1/acl/policy/three');
    await declared.policy('three');
    await put;
    leader.operator.kill('SIGSTOP');
    expect(await takeover(standby)).toBeLessThan(LEASE.duration + LEASE.poll + SLACK);
    await declared.policy('two', 'write');
    await declared.drop('one');
    await declared.token('ci', 'two');
    await declared.isSo();
    const [token] = await cluster.liveNomad.marked();
    await cluster.liveNomad.request('DELETE', `/v1/acl/token/${token?.AccessorID ?? ''}`);
    await declared.isSo();

    const begun = atNomad(leader).length;
    leader.api.forget();
    leader.operator.kill('SIGCONT');
    await hasLogged(leader, 'leading no more');
    // It asks for the lease again, and waits.
    await until('it has looked twice', () => Promise.resolve(looks(leader) > 1 ? true : undefined));
    expect(await leads(leader)).toBe(false);
    expect((await leader.operator.get('/readyz')).status).toBe(200);
    expect(writes(leader)).toEqual([]);
    expect(atNomad(leader)).toHaveLength(begun);
    await declared.isSo();
    await putsBack();

    expect(await standby.operator.stop()).toBe(0);
    expect(await takeover(leader)).toBeLessThan(LEASE.poll + SLACK);
    await declared.policy('two', 'read');
    await putsBack();
    expect(await leader.operator.stop()).toBe(0);
  });

  it('one whose lease somebody else takes stops by its next renewal, and nobody acts while they have it', async () => {
    const { cluster } = rig;
    const { leader, standby } = await pair();
    const patch = JSON.stringify({ spec: { holderIdentity: 'somebody' } });
    const asked = performance.now();
    const seconds = (): number => (performance.now() - asked) / 1000;
    await cluster.kubectl('patch', 'lease', 'nomad-access-default', '-n', HOME, '--type=merge', '-p', patch);
    await leader.operator.until(LEADS, 0);
    expect(seconds()).toBeLessThan(LEASE.renewal + SLACK);

    nomad.forget();
    for (const { api } of [leader, standby]) api.forget();
    await cluster.liveNomad.putPolicy('two', rules('list'));
    const isLed = async (): Promise<true | undefined> =>
      (await leads(leader)) || (await leads(standby)) ? true : undefined;
    for (;;) {
      const acts = [await isLed(), ...nomad.passed, ...writes(leader), ...writes(standby)];
      // What was looked at later than that tells nothing.
      if (seconds() > LEASE.duration - 1) break;
      expect(acts).toEqual([undefined]);
      await sleep(200);
    }
    await until('one of them has it again', isLed);
    await admin.declared.isSo();
  });

  it('a lease that is deleted comes back, and meanwhile no two of them act', async () => {
    const { cluster } = rig;
    const { leader, standby } = await pair();
    await cluster.kubectl('delete', 'lease', 'nomad-access-default', '-n', HOME);
    const deleted = performance.now();
    let tokens = 0;
    while (performance.now() - deleted < (LEASE.renewal + LEASE.poll) * 1000) {
      await admin.declared.token(`t${String(++tokens)}`, 'one');
      await sleep(200);
    }
    await hasLogged(leader, 'leading no more');
    await admin.declared.isSo();
    expect(await leads(leader)).toBe(true);
    expect(await leads(standby)).toBe(false);
    expect([...writes(standby), ...atNomad(standby)]).toEqual([]);
    expect(await leader.operator.stop()).toBe(0);
    expect(await takeover(standby)).toBeLessThan(LEASE.poll + SLACK);
    await putsBack();
  });

  async function hasLogged({ operator }: Replica, text: string): Promise<void> {
    await until(`"${text}" is logged`, () => Promise.resolve(operator.log().includes(text) ? true : undefined));
  }

  function looks({ api }: Replica): number {
    return api.passed.filter(({ method, path }) => method === 'GET' && path.startsWith(LEASE_PATH)).length;
  }

  /** Resolves when a write to this path arrives. */
  function nomadPut(of: string): Promise<void> {
    return new Promise((done) => {
      nomad.decide(({ method, path }) => {
        if (method !== 'GET' && path.startsWith(of)) done();
        return 'pass';
      });
    });
  }
});
