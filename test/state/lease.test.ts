import { describe, expect, it } from 'vitest';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import { kubernetesState } from '../../src/state/kubernetes.ts';
import { leaseTimes } from '../../src/state/lease.ts';
import { MemoryKubernetes } from './memory-kubernetes.ts';
import { lockCases } from './lock-cases.ts';
import { follow, Process } from './processes.ts';
import { Faulty, pass, settled, type Time } from './variables.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/ops/leases';
const LEASE = `${LEASES}/nomad-access-default`;
/** What the documentation promises: a lease of 15 s, and at most 2 s until the next look. */
const [LEASE_MS, POLL_MS] = [15_000, 2_000];

interface Spec {
  readonly holderIdentity: string;
  readonly leaseDurationSeconds: number;
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly leaseTransitions: number;
}

function processOf(time: Time, name: string, server: KubernetesApi): Process<KubernetesApi> {
  return new Process(time, name, server, ({ api, name: holder, clock }) =>
    kubernetesState({ api, namespace: 'ops', owner: 'default', holder, clock }),
  );
}

function processes(): {
  server: MemoryKubernetes;
  time: Time;
  a: Process<KubernetesApi>;
  b: Process<KubernetesApi>;
  wait: (ms: number, look?: () => void) => Promise<void>;
  specOf: () => Promise<Spec | undefined>;
} {
  const [server, time] = [new MemoryKubernetes(), { now: 0 }];
  const [a, b] = [processOf(time, 'host a, process 1', server), processOf(time, 'host b, process 2', server)];
  const wait = (ms: number, look?: () => void): Promise<void> => pass(time, ms, [a.clock, b.clock], look);
  const specOf = async (): Promise<Spec | undefined> => (await server.get<{ spec: Spec }>(LEASE))?.spec;
  return { server, time, a, b, wait, specOf };
}

describe('the lock of an inventory in Kubernetes', () => {
  lockCases<KubernetesApi>(
    () => {
      const [server, time] = [new MemoryKubernetes(), { now: 0 }];
      return { time, start: (name) => processOf(time, name, server) };
    },
    {
      takeoverMs: LEASE_MS + POLL_MS,
      handoverMs: POLL_MS,
      refusal: /kubernetes:ops\/nomad-access-default-inventory is locked by host a, process 1_.* since 20.*15 s later/,
    },
  );

  it('is read by client-go and kubectl like any other election', async () => {
    const { a, b, wait, specOf } = processes();
    const first = await a.lock();
    const micro = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
    const held = await specOf();
    expect(held).toEqual({
      holderIdentity: expect.stringMatching(/^host a, process 1_[-0-9a-f]{36}$/) as string,
      leaseDurationSeconds: 15,
      acquireTime: expect.stringMatching(micro) as string,
      renewTime: expect.stringMatching(micro) as string,
      leaseTransitions: 0,
    });
    await wait(3_000);
    const renewed = await specOf();
    expect(renewed).toEqual({ ...held, renewTime: renewed?.renewTime });
    expect(renewed?.renewTime).not.toBe(held?.renewTime);
    await first.release();
    expect(await specOf()).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: 0 });
    await b.lock();
    expect(await specOf()).toMatchObject({ leaseDurationSeconds: 15, leaseTransitions: 1 });
  });

  it('is not taken from a holder whose wall clock is far behind, before its time by our own clock', async () => {
    const { server, a, b, wait, time } = processes();
    await a.lock();
    a.clock.isStopped = true;
    const old = { acquireTime: '2001-01-01T00:00:00.000000Z', renewTime: '2001-01-01T00:00:00.000000Z' };
    await server.patch(LEASE, 'merge', { spec: old });
    time.now = 1_000_000;
    const next = follow(b.lock(new AbortController().signal));
    await wait(LEASE_MS - 1);
    expect(next.value).toBeUndefined();
    await wait(1);
    expect(next.value?.isValid()).toBe(true);
  });

  it("lasts as long as its holder has said, not as long as one's own would", async () => {
    const { server, b, wait } = processes();
    const theirs = { holderIdentity: 'somebody', leaseDurationSeconds: 60 };
    await server.create(LEASES, { metadata: { name: 'nomad-access-default' }, spec: theirs });
    const next = follow(b.lock(new AbortController().signal));
    await wait(59_999);
    expect(next.value).toBeUndefined();
    await wait(1);
    expect(next.value?.isValid()).toBe(true);
  });

  it('one that waits and was stopped itself does not take a lease that was renewed meanwhile', async () => {
    const { a, b, wait } = processes();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    await wait(1_000);
    b.clock.isStopped = true;
    await wait(60_000);
    b.clock.isStopped = false;
    await wait(60_000);
    expect([lock.isValid(), next.value]).toEqual([true, undefined]);
  });

  it('is not trusted any more while the server does not answer, before another one can have it', async () => {
    const { a, b, wait } = processes();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    a.isOffline = true;
    await wait(13_400);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([true, false]);
    await wait(1_500);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([false, true]);
    expect(next.value).toBeUndefined();
    await wait(LEASE_MS + POLL_MS - 14_900);
    expect(next.value?.isValid()).toBe(true);
  });

  it.each([
    ['taken by hand', { spec: { holderIdentity: 'somebody' } }],
    ['freed by hand', { spec: { holderIdentity: '' } }],
  ])('is lost when it is %s, at the next renewal', async (_what, change) => {
    const { server, a, wait } = processes();
    const lock = await a.lock();
    await server.patch(LEASE, 'merge', change);
    await wait(3_000);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([false, true]);
  });

  it('is not had by one that saw it held and then deleted, as long as its holder may trust in it', async () => {
    const { server, a, b, wait } = processes();
    const first = await a.lock();
    const second = b.lock(new AbortController().signal);
    let isSecond = false;
    void second.then(() => (isSecond = true));
    await wait(POLL_MS);
    // The first one is not told.
    a.isOffline = true;
    await server.delete(LEASE);
    await wait(LEASE_MS + POLL_MS, () => {
      expect(isSecond && first.isValid()).toBe(false);
    });
    await second;
    expect(first.isValid()).toBe(false);
  });

  it('is lost when the Lease is deleted, at the next renewal', async () => {
    const { server, a, wait } = processes();
    const lock = await a.lock();
    await server.delete(LEASE);
    await wait(3_000);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([false, true]);
  });

  it('is not lost when somebody labels the Lease, and the label stays', async () => {
    const { server, a, wait } = processes();
    const lock = await a.lock();
    await server.patch(LEASE, 'merge', { metadata: { labels: { team: 'platform' } } });
    await wait(60_000);
    expect(lock.isValid()).toBe(true);
    expect(await server.get(LEASE)).toMatchObject({
      metadata: { labels: { team: 'platform', 'app.kubernetes.io/managed-by': 'nomad-access' } },
    });
  });

  it('a renewal under way does not take it back after its release', async () => {
    const { server, time, b, wait, specOf } = processes();
    const faulty = new Faulty((request) => (request === 3 ? 'delayed' : undefined), server as KubernetesApi);
    const a = processOf(time, 'late', faulty.api);
    const lock = await a.lock();
    const until = (ms: number): Promise<void> => pass(time, ms, [a.clock]);
    await until(3_000);
    await lock.release();
    await faulty.arrive();
    await until(10_000);
    expect(await specOf()).toMatchObject({ holderIdentity: '' });
    expect((await b.lock()).isValid()).toBe(true);
    await wait(0);
  });

  it('is trusted from the first request on that may have acquired it, not from the one that was answered', async () => {
    const { server, time, b } = processes();
    // The acquire arrives, and nothing is answered for 14 s: another one may have it 15 s after it saw that.
    const { api } = new Faulty<KubernetesApi>((request) => {
      if (request === 2) return 'reply lost';
      return request > 2 && time.now < 14_000 ? 'request lost' : undefined;
    }, server);
    const late = processOf(time, 'late', api);
    const clocks = [late.clock, b.clock];
    const lateLock = follow(late.lock(new AbortController().signal));
    await settled();
    const other = follow(b.lock(new AbortController().signal));
    await pass(time, 60_000, clocks, () => {
      expect(lateLock.value?.isValid() === true && other.value?.isValid() === true).toBe(false);
    });
    expect(lateLock.value?.isValid() === true || other.value?.isValid() === true).toBe(true);
  });

  it.each([
    ['acquire', 2],
    ['renew', 3],
    ['release', 5],
  ])('a lost reply to %s does no harm', async (_what, at) => {
    const { server, time, b } = processes();
    let lost = 0;
    const { api } = new Faulty<KubernetesApi>((request) => {
      if (request !== at) return undefined;
      lost++;
      return 'reply lost';
    }, server);
    const a = processOf(time, 'a', api);
    const lock = await a.lock();
    await pass(time, 7_000, [a.clock], () => {
      expect(lock.isValid()).toBe(true);
    });
    await lock.release();
    expect(lost).toBe(1);
    expect((await b.lock()).isValid()).toBe(true);
  });

  it('a server that does not answer the release keeps nobody waiting', async () => {
    const { server, time } = processes();
    let isHung = false;
    const hung = new Proxy(server as KubernetesApi, {
      get:
        (_target, name: keyof KubernetesApi) =>
        (...args: never[]) =>
          isHung ? new Promise(() => undefined) : (server[name] as (...args: never[]) => unknown)(...args),
    });
    const a = processOf(time, 'a', hung);
    const lock = await a.lock();
    isHung = true;
    const released = follow(lock.release().then(() => 'released'));
    await pass(time, 3_000, [a.clock]);
    expect(released.value).toBe('released');
  });

  it('asks little: a holder writes every 3 s, one that waits reads every 1.2 s to 2 s', async () => {
    const { server, time } = processes();
    const counted = ['a', 'b'].map((name) => {
      const counting = new Faulty<KubernetesApi>(() => undefined, server);
      return { counting, process: processOf(time, name, counting.api) };
    });
    for (const { process } of counted) void process.lock(new AbortController().signal);
    const clocks = counted.map(({ process }) => process.clock);
    await pass(time, 600_000, clocks);
    const [holder, waiting] = counted.map(({ counting }) => counting.requests);
    expect(holder).toBe(202);
    expect(waiting).toBeGreaterThan(300);
    expect(waiting).toBeLessThan(500);
  });

  it('is trusted for less than it lasts, and renewed several times within that', () => {
    const { leaseSeconds, validMs, renewMs, pollMs } = leaseTimes();
    expect(validMs).toBeLessThan(leaseSeconds * 1000);
    expect(renewMs * 3).toBeLessThan(validMs);
    expect(pollMs).toBe(POLL_MS);
  });
});
