import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TargetError, UsageError } from '../../src/contract/errors.ts';
import type { StateLock } from '../../src/contract/state.ts';
import { follow, type Process } from './processes.ts';
import { pass, settled, type Time } from './variables.ts';

/** A server. */
export interface Started<Api extends object> {
  readonly time: Time;
  /** Starts a process on it. */
  readonly start: (name: string) => Process<Api>;
}

export interface Promised {
  /** From the last renewal of a holder that died to the next one's acquiring. */
  readonly takeoverMs: number;
  /** From a release to that. */
  readonly handoverMs: number;
  /** What one is told who does not wait for `host a, process 1`. */
  readonly refusal: RegExp;
}

/** Acts for as long as it holds the lock, and waits for it again when that ends. */
class Replica<Api extends object> {
  held: StateLock | undefined;
  end: () => void = () => undefined;

  constructor(readonly process: Process<Api>) {}

  async act(enough: AbortSignal): Promise<void> {
    while (!enough.aborted) {
      const lock = await this.process.lock(enough);
      this.held = lock;
      await new Promise<void>((done) => {
        this.end = done;
        lock.lost.addEventListener('abort', () => {
          done();
        });
      });
      await lock.release();
    }
  }
}

/** What every lock on a server promises. */
export function lockCases<Api extends object>(begin: () => Started<Api>, promised: Promised): void {
  const { takeoverMs, handoverMs, refusal } = promised;

  function two(): {
    a: Process<Api>;
    b: Process<Api>;
    wait: (ms: number, look?: () => void) => Promise<void>;
  } {
    const { time, start } = begin();
    const [a, b] = [start('host a, process 1'), start('host b, process 2')];
    return { a, b, wait: (ms, look) => pass(time, ms, [a.clock, b.clock], look) };
  }

  it('keeps a second operator out, who is told who holds it', async () => {
    const { a, b } = two();
    const lock = await a.lock();
    expect(lock.isValid()).toBe(true);
    await expect(b.lock()).rejects.toThrow(UsageError);
    await expect(b.lock()).rejects.toThrow(refusal);
  });

  it('stays held for as long as its holder lives', async () => {
    const { a, b, wait } = two();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    await wait(3_600_000, () => {
      expect(lock.isValid()).toBe(true);
    });
    expect(next.value).toBeUndefined();
  });

  it('is handed over when it is released', async () => {
    const { a, b, wait } = two();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    await wait(60_000);
    expect(next.value).toBeUndefined();
    await lock.release();
    expect(lock.isValid()).toBe(false);
    await wait(handoverMs);
    expect(next.value?.isValid()).toBe(true);
  });

  it.each([60_000, 60_500, 61_000, 61_500, 62_000, 62_500, 62_999])(
    'is taken over within its time from a holder that died after %d ms',
    async (after) => {
      const { a, b, wait } = two();
      await a.lock();
      const next = follow(b.lock(new AbortController().signal));
      await wait(after);
      a.clock.isStopped = true;
      await wait(takeoverMs);
      expect(next.value?.isValid()).toBe(true);
    },
  );

  it('a stopped process that wakes knows in its first tick that it must not act', async () => {
    const { a, b, wait } = two();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    a.clock.isStopped = true;
    await wait(takeoverMs);
    expect(next.value?.isValid()).toBe(true);
    a.clock.isStopped = false;
    expect(lock.isValid()).toBe(false);
    await wait(1);
    expect(lock.lost.aborted).toBe(true);
    await lock.release();
    await wait(60_000);
    expect([lock.isValid(), next.value?.isValid()]).toEqual([false, true]);
  });

  it('a stopped process that wakes before anybody took over goes on once the server has confirmed it', async () => {
    const { a, wait } = two();
    const lock = await a.lock();
    a.clock.isStopped = true;
    await wait(15_000);
    a.clock.isStopped = false;
    expect(lock.isValid()).toBe(false);
    await wait(1);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([true, false]);
  });

  it('outlives a short outage', async () => {
    const { a, wait } = two();
    const lock = await a.lock();
    await wait(3_000);
    a.isOffline = true;
    await wait(6_000);
    a.isOffline = false;
    await wait(600_000, () => {
      expect(lock.isValid()).toBe(true);
    });
  });

  it('is waited for until that is aborted, and then not held', async () => {
    const { a, b, wait } = two();
    const lock = await a.lock();
    const enough = new AbortController();
    const next = follow(b.lock(enough.signal));
    await wait(7_000);
    enough.abort(new Error('told to stop'));
    await settled();
    expect(next.error).toEqual(new Error('told to stop'));
    await lock.release();
    await (await a.lock()).release();
  });

  it('is waited for through an outage', async () => {
    const { a, wait } = two();
    a.isOffline = true;
    const lock = follow(a.lock(new AbortController().signal));
    await wait(600_000);
    a.isOffline = false;
    await wait(10_000);
    expect(lock.value?.isValid()).toBe(true);
  });

  it('an outage is an error for those who do not wait', async () => {
    const { a } = two();
    a.isOffline = true;
    await expect(a.lock()).rejects.toThrow(TargetError);
  });

  it('is never held by two at once, whatever is stopped, woken or cut off when', async () => {
    await assertNeverTwo(begin, 2 * takeoverMs);
  });
}

const event = fc.record({
  process: fc.nat(2),
  is: fc.constantFrom('stop', 'continue', 'offline', 'online', 'release'),
  after: fc.integer({ min: 0, max: 20_000 }),
});

/** In the end somebody does hold it. @param endsMs after the last event. */
async function assertNeverTwo<Api extends object>(begin: () => Started<Api>, endsMs: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      const { time, start } = begin();
      const processes = ['a', 'b', 'c'].map((name) => start(name));
      const replicas = processes.map((process) => new Replica(process));
      const enough = new AbortController();
      for (const replica of replicas) replica.act(enough.signal).catch(() => undefined);
      const look = (): void => {
        // A stopped process acts when it wakes: what it would be told then is what counts.
        const valid = replicas.filter((r) => r.held?.isValid());
        expect(valid.length).toBeLessThanOrEqual(1);
      };
      const clocks = processes.map((process) => process.clock);
      for (const { process, is, after } of events) {
        await pass(time, after, clocks, look);
        const replica = replicas[process];
        if (replica === undefined) continue;
        const { clock } = replica.process;
        if (is === 'stop' || is === 'continue') clock.isStopped = is === 'stop';
        else if (is === 'offline' || is === 'online') replica.process.isOffline = is === 'offline';
        else if (!clock.isStopped) replica.end();
      }
      for (const process of processes) [process.clock.isStopped, process.isOffline] = [false, false];
      await pass(time, endsMs, clocks, look);
      // In the end somebody acts.
      expect(replicas.filter((r) => r.held?.isValid())).toHaveLength(1);
      enough.abort();
    }),
    { numRuns: 100 },
  );
}
