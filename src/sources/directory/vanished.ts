import { dirname } from 'node:path';

/** Whether the path is one of these, or lies below one. */
function isBelow(places: ReadonlySet<string>, path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if (places.has(at)) return true;
    if (at === dirname(at)) return false;
  }
}

/** Paths that are missed, each for a while: what comes back in time was never gone. */
export class Vanished {
  /** How long a path is missed before it is given up. */
  readonly #patienceMs: number;
  /** Since when. */
  readonly #missed = new Map<string, number>();

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** When the next one is given up. */
  get deadline(): number {
    let first = Infinity;
    for (const since of this.#missed.values()) first = Math.min(first, since + this.#patienceMs);
    return first;
  }

  paths(): string[] {
    return [...this.#missed.keys()];
  }

  /**
   * Misses those of the paths that were not found. What can't be reached is not missed: it may well be there.
   * @param now milliseconds of any clock that never goes back.
   */
  update(paths: Iterable<string>, found: ReadonlySet<string>, blocked: readonly string[], now: number): void {
    const unreachable = new Set(blocked);
    for (const path of paths) {
      if (found.has(path) || isBelow(unreachable, path)) this.#missed.delete(path);
      else if (!this.#missed.has(path)) this.#missed.set(path, now);
    }
  }

  /** Those that were missed for too long: they are forgotten. */
  expired(now: number): string[] {
    const expired = this.paths().filter((path) => (this.#missed.get(path) ?? now) + this.#patienceMs <= now);
    for (const path of expired) this.#missed.delete(path);
    return expired;
  }
}
