import { setTimeout as sleep } from 'node:timers/promises';
import { TargetError } from '../../contract/errors.ts';

/** Regions join and leave seldom. */
const KNOWN_FOR_MS = 60_000;
/** The pause before something is looked for again: it grows, as what is late may be very late. */
const PAUSE_MS = { first: 5, most: 500 };

/** What there is of regions, asked once a minute by however many want to know. */
export class Regions {
  readonly #ask: () => Promise<readonly string[]>;
  #known: { readonly names: Promise<readonly string[]>; readonly at: number } | undefined;

  constructor(ask: () => Promise<readonly string[]>) {
    this.#ask = ask;
  }

  async names(): Promise<readonly string[]> {
    const now = performance.now();
    if (this.#known === undefined || now - this.#known.at > KNOWN_FOR_MS) {
      const known = { names: this.#ask(), at: now };
      this.#known = known;
      known.names.catch(() => {
        if (this.#known === known) this.#known = undefined;
      });
    }
    return this.#known.names;
  }
}

/**
 * Looks again and again until it is found.
 * @param look undefined while it is not.
 * @throws TargetError with the message, where it does not come in time.
 */
export async function untilFound<T>(
  look: () => Promise<T | undefined>,
  {
    mostMs,
    message,
    signal,
  }: { readonly mostMs: number; readonly message: string; readonly signal?: AbortSignal | undefined },
): Promise<T> {
  const end = performance.now() + mostMs;
  for (let pause = PAUSE_MS.first; ; pause = Math.min(PAUSE_MS.most, pause * 2)) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new TargetError(message, { class: 'dependency' });
    await sleep(pause, undefined, { signal });
  }
}
