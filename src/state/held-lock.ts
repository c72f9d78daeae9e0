import type { Waiting } from '../contract/clock.ts';
import { TargetError } from '../contract/errors.ts';
import type { StateLock } from '../contract/state.ts';
import { hashOf } from './shard-tree.ts';

/** What is the same for every lock that a server gives for a time and that is kept by renewals. */

export interface RenewalTimes {
  /** How long after a renewal was sent we trust in it; milliseconds, as all of these. */
  readonly validMs: number;
  /** From one renewal to the next, and how long one may take. */
  readonly renewMs: number;
}

/** A lock that was acquired, as its server has it. */
export interface Renewable {
  /** @returns false where the server says that it is ours no more. @throws where that is not known. */
  renew(signal: AbortSignal): Promise<boolean>;
  release(): Promise<void>;
}

export interface HeldLockOptions {
  readonly clock: Waiting;
  readonly times: RenewalTimes;
  /** Of the inventory, for messages. */
  readonly location: string;
}

/** Trusted from the moment a renewal was sent, since the server can have begun to count no earlier. */
export class HeldLock implements StateLock {
  readonly #options: HeldLockOptions;
  readonly #kept: Renewable;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();
  #validUntil: number;

  private constructor(options: HeldLockOptions, kept: Renewable, sent: number) {
    this.#options = options;
    this.#kept = kept;
    this.#validUntil = sent + options.times.validMs;
  }

  /** @param sent when it may have been acquired. @returns undefined where it is gone by now. */
  static async hold(options: HeldLockOptions, kept: Renewable, sent: number): Promise<HeldLock | undefined> {
    const lock = new HeldLock(options, kept, sent);
    const isFresh = options.clock.monotonic() < sent + options.times.renewMs;
    if (!isFresh && !(await lock.#renew())) return undefined;
    void lock.#keep();
    return lock;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  isValid(): boolean {
    return (
      !this.#released.signal.aborted && !this.#lost.signal.aborted && this.#options.clock.monotonic() < this.#validUntil
    );
  }

  /** Nobody is kept waiting by a failure: the lock then ends by itself. */
  async release(): Promise<void> {
    if (this.#released.signal.aborted) return;
    this.#released.abort();
    await this.#kept.release().catch(() => undefined);
  }

  async #keep(): Promise<void> {
    const { clock, times } = this.#options;
    const { signal } = this.#released;
    let pauseMs = times.renewMs;
    for (;;) {
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const renewed = await this.#renew();
      const isOver = clock.monotonic() >= this.#validUntil;
      if (renewed === false || (renewed === undefined && isOver)) {
        this.#lost.abort(new Error(`the lock of the inventory ${this.#options.location} is lost`));
        return;
      }
      pauseMs = renewed === true ? times.renewMs : times.renewMs / 4;
    }
  }

  /** @returns false where the server says that it is ours no more; undefined where it did not say. */
  async #renew(): Promise<boolean | undefined> {
    const { clock, times } = this.#options;
    const sent = clock.monotonic();
    const renewed = await withDeadline(clock, times.renewMs, (signal) => this.#kept.renew(signal)).catch(
      () => undefined,
    );
    if (renewed === true) this.#validUntil = sent + times.validMs;
    return renewed;
  }
}

/** A request that hangs is given up in time to try another. @throws TargetError `transient` then. */
export async function withDeadline<T>(
  clock: Waiting,
  ms: number,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const answered = new AbortController();
  const late = clock.sleep(ms, answered.signal).then(() => {
    over.abort();
    throw new TargetError('no answer in time', { class: 'transient', ambiguous: true });
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([ask(over.signal), late]);
  } finally {
    answered.abort();
  }
}

/** @returns undefined where a server in trouble is to be waited for. */
export async function ifAnswered<T>(patient: boolean, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (patient && error instanceof TargetError && error.class === 'transient') return undefined;
    throw error;
  }
}

/** 0 to 1, the same for the same holder and attempt, so that a simulation can be replayed. */
export function jitter(holder: string, attempt: number): number {
  return parseInt(hashOf(`${holder} ${String(attempt)}`).slice(0, 16), 2) / 65_536;
}
