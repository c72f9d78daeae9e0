import { setTimeout as delay } from 'node:timers/promises';

/** Time, as the engine sees it; tests put their own in its place. All lengths are milliseconds. */
export interface Clock {
  /** Since the epoch; may jump. */
  now(): number;
  /** Never goes back, and goes on while the process is stopped. */
  monotonic(): number;
  /** @throws AbortError when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once, not before the time is over. @returns how to call it off. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal && { signal }),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
};
