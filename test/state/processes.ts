import { expect } from 'vitest';
import fc from 'fast-check';
import type { StateBackend, StateLock } from '../../src/contract/state.ts';
import { Faulty, pass, StillClock, type Time } from './variables.ts';

/** A process that wants to act, over a network of its own. */
export class Process<Api extends object> {
  readonly clock: StillClock;
  isOffline = false;
  readonly api: Api;

  constructor(
    time: Time,
    readonly name: string,
    server: Api,
    private readonly open: (process: Process<Api>) => StateBackend,
  ) {
    this.clock = new StillClock(time);
    const network = new Faulty<Api>(() => (this.isOffline ? 'request lost' : undefined), server);
    this.api = this.clock.hears(network.api);
  }

  lock(wait?: AbortSignal): Promise<StateLock> {
    return this.open(this).lock(wait);
  }
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

/** What a promise has come to so far. */
export function follow<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const followed: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => (followed.value = value),
    (error: unknown) => (followed.error = error),
  );
  return followed;
}

const event = fc.record({
  process: fc.nat(2),
  is: fc.constantFrom('stop', 'continue', 'offline', 'online', 'release'),
  after: fc.integer({ min: 0, max: 20_000 }),
});

/**
 * Three replicas, stopped, woken and cut off as it comes: never do two hold the lock, and in the end somebody does.
 * @param start a server, and three processes on it.
 * @param endsMs after the last event.
 */
export async function assertNeverTwo<Api extends object>(
  start: () => { time: Time; processes: readonly Process<Api>[] },
  endsMs: number,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      const { time, processes } = start();
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
