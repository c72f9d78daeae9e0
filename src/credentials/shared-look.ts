import type { Clock } from '../contract/clock.ts';

/** A look again because something was refused: one for all that ask meanwhile, and not again and again. */
export class SharedLook {
  readonly #clock: Clock;
  readonly #look: () => Promise<void>;
  readonly #pauseMs: number;
  #running: Promise<void> | undefined;
  #endedAt = -Infinity;

  constructor(clock: Clock, pauseMs: number, look: () => Promise<void>) {
    this.#clock = clock;
    this.#pauseMs = pauseMs;
    this.#look = look;
  }

  /** Resolves at once where the last one is no longer than the pause ago. */
  again(): Promise<void> {
    if (this.#running !== undefined) return this.#running;
    if (this.#clock.monotonic() - this.#endedAt < this.#pauseMs) return Promise.resolve();
    this.#running = this.#look().finally(() => {
      this.#running = undefined;
      this.#endedAt = this.#clock.monotonic();
    });
    return this.#running;
  }
}
