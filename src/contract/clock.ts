import { setTimeout as delay } from 'node:timers/promises';

/** Time, as all that waits sees it; tests put their own in its place. All lengths are milliseconds. */
export interface Clock {
  /** Since the epoch; may jump. */
  now(): number;
  /** Never goes back, and goes on while the process is stopped; on Linux not while the whole machine is suspended. */
  monotonic(): number;
  /** @throws AbortError when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once, not before the time is over. @returns how to call it off. */
  after(ms: number, callback: () => void): () => void;
}

/** What only waits needs no more. */
export type Waiting = Pick<Clock, 'monotonic' | 'sleep'>;

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

/** Resolves once the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else
      signal.addEventListener(
        'abort',
        () => {
          done();
        },
        { once: true },
      );
  });
}
