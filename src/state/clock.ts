import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  monotonic(): number;
  /** @param ms milliseconds. Rejects when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Linux does not count the time in which the whole machine is suspended. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, signal && { signal }),
};
