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
import { HeldLock, ifAnswered, jitter, type Renewable, type RenewalTimes, withDeadline } from './held-lock.ts';

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

export interface LockTimes extends RenewalTimes {
  /** What Nomad is told. */
  readonly ttlMs: number;
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
    if (acquired === true) return HeldLock.hold(this.#options, renewable(this.#options, this.#id), this.#sent);
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

function lockedBy({ location, times }: LockOptions, current: Variable | undefined): UsageError {
  const { holder = 'somebody else', since = 'a moment ago' } = current?.items ?? {};
  return new UsageError(
    `the inventory ${location} is locked by ${holder} since ${since}: wait for it to end; if it has died, Nomad frees the lock within ${String(times.takeoverSeconds)} s`,
  );
}

function renewable({ api, place }: LockOptions, id: string): Renewable {
  const release = (): Promise<void> => api.releaseLock(place, id);
  return {
    renew: (signal) => api.renewLock(place, id, signal),
    release: () =>
      release().catch((error: unknown) => {
        if (error instanceof TargetError && error.ambiguous) return release();
        return undefined;
      }),
  };
}
