/**
 * Nomad Variables and their locks: what the inventory in Nomad and sinks need of the API. Facts are those of Nomad 1.11.3, shown by
 * test/contract/variables.contract.test.ts.
 */

/** Sum of the bytes (UTF-8) of all keys and values that a variable may hold. */
export const VARIABLE_BYTES = 65_536;
/** Characters of a path: letters, digits, `-`, `_`, `~` and `/`. */
export const VARIABLE_PATH = /^[a-zA-Z0-9\-_~/]{1,128}$/;
/** TTL that Nomad takes for a lock; seconds. */
export const LOCK_TTL = { min: 10, max: 86_400 } as const;

export interface VariablePlace {
  readonly namespace: string;
  readonly path: string;
}

export interface Variable {
  readonly items: Readonly<Record<string, string>>;
  /** That of its first write: one that was deleted and made again has another. */
  readonly createIndex: number;
  /** Changes with every write, an equal one too; the `cas` of the next one. */
  readonly modifyIndex: number;
  /** Set while somebody holds its lock; only management tokens see it. */
  readonly lockId: string | undefined;
}

/** `current` is undefined where the variable does not exist, or is locked by somebody else. */
export type WriteOutcome =
  | { readonly written: true; readonly createIndex: number; readonly modifyIndex: number }
  | { readonly written: false; readonly current: Variable | undefined };

export interface VariableLockRequest {
  /** Chosen by the caller, so that an acquire whose reply was lost can be sent again. */
  readonly id: string;
  /** Go durations. Nomad frees the lock `2 × ttl + delay` after the last renewal. */
  readonly ttl: string;
  readonly delay: string;
}

export interface VariablesApi {
  /** Paths that begin with the prefix. @throws TargetError */
  list(namespace: string, prefix: string, signal?: AbortSignal): Promise<readonly string[]>;
  /**
   * @param after answers only once the variable's index differs from this one, or `waitMs` have passed.
   * @returns undefined where there is none. @throws TargetError
   */
  read(
    place: VariablePlace,
    after?: { readonly modifyIndex: number; readonly waitMs: number },
    signal?: AbortSignal,
  ): Promise<Variable | undefined>;
  /**
   * Check and set, sent once: only what was surely not carried out is sent again.
   * @param cas index that the variable must have; 0: it must not exist.
   * @throws TargetError `ambiguous` where it may have been carried out: read before doing it again.
   */
  write(place: VariablePlace, items: Readonly<Record<string, string>>, cas: number): Promise<WriteOutcome>;
  /** Check and delete, as `write`. A variable that is gone already is a conflict without `current`. */
  remove(place: VariablePlace, cas: number): Promise<WriteOutcome>;
  /**
   * Locks the variable and replaces its items. Idempotent for the same `lock.id`, but the second one renews nothing.
   * @returns false where another ID holds it. @throws TargetError
   */
  acquireLock(
    place: VariablePlace,
    lock: VariableLockRequest,
    items: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<boolean>;
  /** @returns false where the lock is held no more, or by another ID. @throws TargetError */
  renewLock(place: VariablePlace, lockId: string, signal?: AbortSignal): Promise<boolean>;
  /** The items stay. Another one may acquire it at once. A lock that is gone is no error. @throws TargetError */
  releaseLock(place: VariablePlace, lockId: string): Promise<void>;
}
