/** How many times the quiet time a look waits for quiet at most. */
export const MOST_WAITS = 20;

/** Milliseconds; a timer can't take any number. */
const LONGEST_SLEEP = 60_000;

/** Says when it is time to look again: when it was quiet for a while after a change. Times are those of `performance.now()`. */
export class Pace {
  readonly #quietMs: number;
  readonly #signal: AbortSignal;
  /** The first change that no look has seen yet, and the last. */
  #first: number | undefined;
  #last = 0;
  /** The first change that the present look was to see. */
  #seen = 0;
  #wake: () => void = () => undefined;

  constructor(quietMs: number, signal: AbortSignal) {
    this.#quietMs = quietMs;
    this.#signal = signal;
    signal.addEventListener('abort', this.#aborted);
  }

  readonly #aborted = (): void => {
    this.#wake();
  };

  close(): void {
    this.#signal.removeEventListener('abort', this.#aborted);
  }

  readonly changed = (): void => {
    this.#last = performance.now();
    if (this.#first !== undefined) return;
    this.#first = this.#last;
    this.#wake();
  };

  /** A look begins. */
  begin(): void {
    this.#seen = this.#first ?? performance.now();
    this.#first = undefined;
  }

  /** Whether something changed during the look, so that it may have seen one half of a change: then another one follows. Not for ever. */
  isDisturbed(): boolean {
    if (this.#first === undefined || this.#first > this.#seen + MOST_WAITS * this.#quietMs) return false;
    this.#first = this.#seen;
    return true;
  }

  isDue(): boolean {
    return this.#due() <= performance.now();
  }

  /** Waits for the time to look, for a moment, or for the signal. */
  async wait(until: number): Promise<void> {
    while (!this.#signal.aborted) {
      const left = Math.min(until, this.#due()) - performance.now();
      if (left <= 0) return;
      await this.#sleep(left);
    }
  }

  #due(): number {
    if (this.#first === undefined) return Infinity;
    return Math.min(this.#last + this.#quietMs, this.#first + MOST_WAITS * this.#quietMs);
  }

  async #sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.ceil(ms), LONGEST_SLEEP));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
