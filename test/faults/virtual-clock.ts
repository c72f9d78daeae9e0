import type { Clock } from '../../src/contract/clock.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Time that moves only when everything that could happen now has happened. The same calls give the same order. */
export class VirtualClock {
  #monotonic = 0;
  /** What the wall clock is ahead of the monotonic one. */
  #offset = Date.UTC(2026, 0, 1);
  #order = 0;
  #timers: Timer[] = [];

  now(): number {
    return this.#monotonic + this.#offset;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** The wall clock is set. */
  jump(ms: number): void {
    this.#offset += ms;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#monotonic + Math.max(0, ms), order: this.#order++, callback };
    let i = this.#timers.length;
    while (i > 0 && isBefore(timer, this.#timers[i - 1])) i--;
    this.#timers.splice(i, 0, timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  /** Lets time pass until a moment, each timer in its turn. */
  async runUntil(moment: number): Promise<void> {
    await settled();
    for (let next = this.#timers[0]; next !== undefined && next.at <= moment; next = this.#timers[0]) {
      this.#timers.shift();
      this.#monotonic = Math.max(this.#monotonic, next.at);
      next.callback();
      await settled();
    }
    this.#monotonic = Math.max(this.#monotonic, moment);
  }

  /** The clock of a process that can be killed: from then on nothing of it happens any more. */
  ofProcess(isAlive: () => boolean): Clock {
    const guarded = (callback: () => void) => (): void => {
      if (isAlive()) callback();
    };
    return {
      now: () => this.now(),
      monotonic: () => this.monotonic(),
      after: (ms, callback) => this.after(ms, guarded(callback)),
      sleep: (ms, signal) =>
        new Promise((done, fail) => {
          if (signal?.aborted) {
            fail(new Error('aborted'));
            return;
          }
          const onAbort = (): void => {
            cancel();
            fail(new Error('aborted'));
          };
          const cancel = this.after(
            ms,
            guarded(() => {
              signal?.removeEventListener('abort', onAbort);
              done();
            }),
          );
          signal?.addEventListener('abort', onAbort, { once: true });
        }),
    };
  }
}

function isBefore(a: Timer, b: Timer | undefined): boolean {
  return b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order));
}

/** Everything that waits for nothing but promises has run. */
export function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
