import type { Clock } from '../contract/clock.ts';

const WINDOW_MS = 60_000;
const MOST = 5;

/** Objects that somebody else keeps changing back: after five corrections within a minute they are left for a while. */
export class Contests {
  readonly #clock: Clock;
  /** Monotonic times of the corrections of the last minute. */
  readonly #corrections = new Map<string, number[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  corrected(object: string): void {
    const recent = [...this.#recent(object), this.#clock.monotonic()];
    this.#corrections.set(object, recent);
    if (this.#corrections.size > 1000) this.#forgetOld();
  }

  isContested(object: string): boolean {
    return this.#recent(object).length >= MOST;
  }

  #recent(object: string): number[] {
    const since = this.#clock.monotonic() - WINDOW_MS;
    return (this.#corrections.get(object) ?? []).filter((at) => at > since);
  }

  #forgetOld(): void {
    for (const object of [...this.#corrections.keys()])
      if (this.#recent(object).length === 0) this.#corrections.delete(object);
  }
}
