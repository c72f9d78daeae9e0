import { randomUUID } from 'node:crypto';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { StateLock } from '../contract/state.ts';
import {
  LOCK_TTL,
  type Variable,
  type VariableLockRequest,
  type VariablePlace,
  type VariablesApi,
} from '../contract/variables.ts';
import type { Waiting } from '../contract/clock.ts';
import { hashOf } from './shard-tree.ts';

/**
 * Nomad's variable lock as a lease. Facts of Nomad 1.11.3 (nomad/locks.go) that it rests on:
 *
 * - Nomad frees a lock twice its TTL after the last renewal, plus the lock's delay. So it is asked for with half of the time
 *   within which another one shall take over, and the holder trusts it for the TTL alone: that is what Nomad promises.
 * - The delay is the shortest there is. A longer one is no protection but a danger: it goes on after a release, and at its
 *   end frees the lock of whoever has acquired it since.
 * - Renewals are kept in memory by the leader; a new leader begins the time of every lock anew, which only makes it longer.
 * - A release frees it at once, whatever the delay.
 */

export interface LockTimes {
  /** What Nomad is told. */
  readonly ttlMs: number;
  /** How long after a renewal was sent we trust in it. */
  readonly validMs: number;
  /** From one renewal to the next, and how long one may take. */
  readonly renewMs: number;
  readonly pollMs: number;
  readonly takeoverSeconds: number;
}

const SHORTEST_DELAY = '1ns';
/** How often somebody who waits looks, beside being told by Nomad; with up to a fifth more or less. */
const POLL_MS = 2000;
/** From Nomad's freeing of a lock to the next one's acquiring of it, even where Nomad does not tell. */
const HANDOVER_MS = 3000;
/** Of the TTL: for clocks that run at different rates, and for the way of a request from the check to the server. */
const MARGIN = 0.1;

/** @param seconds within which another one takes over. @throws UsageError where Nomad can't do that. */
export function lockTimes(seconds: number): LockTimes {
  const ttlMs = (seconds * 1000 - HANDOVER_MS) / 2;
  const [least, most] = [LOCK_TTL.min * 2 + HANDOVER_MS / 1000, LOCK_TTL.max * 2 + HANDOVER_MS / 1000];
  if (!(seconds >= least && seconds <= most))
    throw new UsageError(
      `a lock of ${String(seconds)} s cannot be had from Nomad, which frees a lock after twice its TTL of ${String(LOCK_TTL.min)} s or more: give ${String(least)} to ${String(most)} s`,
    );
  return {
    ttlMs,
    validMs: ttlMs * (1 - MARGIN),
    renewMs: ttlMs / 3,
    pollMs: POLL_MS,
    takeoverSeconds: seconds,
  };
}

export interface LockOptions {
  readonly api: VariablesApi;
  readonly place: VariablePlace;
  readonly holder: string;
  readonly clock: Waiting;
  readonly times: LockTimes;
  /** Of the inventory, for messages. */
  readonly location: string;
}

/** @throws UsageError that names the holder where it is not waited for; the reason of `wait` once that is aborted. */
export async function lockVariable(options: LockOptions, wait: AbortSignal | undefined): Promise<StateLock> {
  const claim = new Claim(options, wait !== undefined);
  let current: Variable | undefined;
  for (let attempt = 1; ; attempt++) {
    wait?.throwIfAborted();
    if (current?.lockId === undefined) {
      const lock = await claim.stake();
      if (lock !== undefined && wait?.aborted !== true) return lock;
      await lock?.release();
      const seen = current?.modifyIndex;
      current = await look(options, wait !== undefined);
      if (wait === undefined) throw lockedBy(options, current);
      const isFreed = current !== undefined && current.lockId === undefined && current.modifyIndex !== seen;
      if (isFreed) continue;
    }
    if (wait !== undefined) current = await changed(options, current, attempt, wait);
  }
}

/** Attempts to acquire the lock. */
class Claim {
  readonly #options: LockOptions;
  readonly #patient: boolean;
  #id = randomUUID();
  /** When the first request with this ID was sent: Nomad may count from then on, however often it is sent again. */
  #sent: number | undefined;

  constructor(options: LockOptions, patient: boolean) {
    this.#options = options;
    this.#patient = patient;
  }

  /** @returns undefined where another one holds it, or that is not known. */
  async stake(): Promise<HeldLock | undefined> {
    this.#sent ??= this.#options.clock.monotonic();
    const acquired = await acquire(this.#options, this.#id, this.#patient);
    if (acquired === true) return HeldLock.hold(this.#options, this.#id, this.#sent);
    // A new ID, so that a request with the old one that arrives late is not taken for the next.
    if (acquired === false) [this.#id, this.#sent] = [randomUUID(), undefined];
    return undefined;
  }
}

/** @returns false where another one holds it; undefined where that is not known. */
async function acquire(options: LockOptions, id: string, patient: boolean): Promise<boolean | undefined> {
  const { api, place, holder, times } = options;
  const lock: VariableLockRequest = { id, ttl: `${String(times.ttlMs)}ms`, delay: SHORTEST_DELAY };
  const items = { holder, since: new Date().toISOString() };
  return ifAnswered(patient, () =>
    withDeadline(options.clock, times.renewMs, (signal) => api.acquireLock(place, lock, items, signal)),
  );
}

async function look(options: LockOptions, patient: boolean): Promise<Variable | undefined> {
  const { api, place, times, clock } = options;
  return ifAnswered(patient, () => withDeadline(clock, times.renewMs, (signal) => api.read(place, undefined, signal)));
}

/** @returns undefined where a server in trouble is to be waited for. */
async function ifAnswered<T>(patient: boolean, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (patient && error instanceof TargetError && error.class === 'transient') return undefined;
    throw error;
  }
}

/**
 * Watches the variable for as long as it is as we know it, but no longer than a pause, nor than it is waited for.
 * @returns it as it is then; undefined where that is not known.
 */
async function changed(
  { api, place, clock, times, holder }: LockOptions,
  current: Variable | undefined,
  attempt: number,
  wait: AbortSignal,
): Promise<Variable | undefined> {
  if (wait.aborted) return undefined;
  const pauseMs = times.pollMs * (0.8 + 0.4 * jitter(holder, attempt));
  const over = new AbortController();
  const stop = (): void => {
    over.abort();
  };
  wait.addEventListener('abort', stop);
  const slept = clock.sleep(pauseMs, over.signal).then(
    () => undefined,
    () => undefined,
  );
  const after = { modifyIndex: current?.modifyIndex ?? 0, waitMs: pauseMs };
  const watched = current === undefined ? slept : api.read(place, after, over.signal).catch(() => slept);
  try {
    return await Promise.race([slept, watched]);
  } finally {
    wait.removeEventListener('abort', stop);
    over.abort();
  }
}

/** 0 to 1, the same for the same holder and attempt, so that a simulation can be replayed. */
function jitter(holder: string, attempt: number): number {
  return parseInt(hashOf(`${holder} ${String(attempt)}`).slice(0, 16), 2) / 65_536;
}

function lockedBy({ location, times }: LockOptions, current: Variable | undefined): UsageError {
  const { holder = 'somebody else', since = 'a moment ago' } = current?.items ?? {};
  return new UsageError(
    `the inventory ${location} is locked by ${holder} since ${since}: wait for it to end; if it has died, Nomad frees the lock within ${String(times.takeoverSeconds)} s`,
  );
}

class HeldLock implements StateLock {
  readonly #options: LockOptions;
  readonly #id: string;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();
  #validUntil: number;

  private constructor(options: LockOptions, id: string, sent: number) {
    this.#options = options;
    this.#id = id;
    this.#validUntil = sent + options.times.validMs;
  }

  /** @param sent when it may have been acquired. @returns undefined where it is gone by now. */
  static async hold(options: LockOptions, id: string, sent: number): Promise<HeldLock | undefined> {
    const lock = new HeldLock(options, id, sent);
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
    const { api, place } = this.#options;
    const release = (): Promise<void> => api.releaseLock(place, this.#id);
    await release().catch(async (error: unknown) => {
      if (error instanceof TargetError && error.ambiguous) await release().catch(() => undefined);
    });
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

  /** @returns false where Nomad says that it is ours no more; undefined where it did not say. */
  async #renew(): Promise<boolean | undefined> {
    const { api, place, clock, times } = this.#options;
    const sent = clock.monotonic();
    const renewed = await withDeadline(clock, times.renewMs, (signal) => api.renewLock(place, this.#id, signal)).catch(
      () => undefined,
    );
    if (renewed === true) this.#validUntil = sent + times.validMs;
    return renewed;
  }
}

/** A request that hangs is given up in time to try another. @throws TargetError `transient` then. */
async function withDeadline<T>(clock: Waiting, ms: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
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
