import { systemClock } from '../contract/clock.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { Observer } from '../contract/observer.ts';
import type { StateBackend, StateLock } from '../contract/state.ts';

/** Before the lock is asked for again when that could not be done; milliseconds. */
const AGAIN_MS = 5_000;

export interface Leading {
  readonly backend: StateBackend;
  readonly observer: Observer;
  readonly stop: AbortSignal;
  /** One term: from having the lock to losing it, or to the end. @param backend saves only while the lock is held. */
  readonly act: (backend: StateBackend, lock: StateLock) => Promise<void>;
}

/** Acts while it holds the lock of the inventory, and waits for it otherwise, until it is stopped. */
export async function lead(leading: Leading): Promise<void> {
  const { observer, stop } = leading;
  const isOver = (): boolean => stop.aborted;
  while (!isOver()) {
    const lock = await lockOf(leading);
    if (lock === undefined) continue;
    observer.leading(true);
    const isCutShort = await term(leading, lock).finally(() => lock.release());
    if (isOver()) return;
    observer.leading(false);
    if (isCutShort) await systemClock.sleep(AGAIN_MS, stop).catch(() => undefined);
  }
}

/** @returns whether it ended because the inventory could not be reached: another one may do better. */
async function term({ backend, observer, stop, act }: Leading, lock: StateLock): Promise<boolean> {
  try {
    await act(whileHeld(backend, lock), lock);
    return false;
  } catch (error) {
    if (stop.aborted || !(error instanceof TargetError)) throw error;
    observer.warned(`the inventory can't be had: ${error.message}`);
    return true;
  }
}

/** @returns undefined where it could not be had now. */
async function lockOf({ backend, observer, stop }: Leading): Promise<StateLock | undefined> {
  try {
    return await backend.lock().catch((error: unknown) => {
      if (!(error instanceof UsageError)) throw error;
      observer.leading(false);
      return backend.lock(stop);
    });
  } catch (error) {
    if (stop.aborted) return undefined;
    if (!(error instanceof TargetError)) throw error;
    observer.warned(`the lock of the inventory can't be had: ${error.message}`);
    await systemClock.sleep(AGAIN_MS, stop).catch(() => undefined);
    return undefined;
  }
}

/** Whoever holds the lock now has read the inventory, and would find it changed. */
function whileHeld(backend: StateBackend, lock: StateLock): StateBackend {
  return {
    ...backend,
    save: async (...args) => {
      requireHeld(lock);
      await backend.save(...args);
    },
  };
}

/** @throws TargetError */
export function requireHeld(lock: StateLock): void {
  if (lock.isValid()) return;
  throw new TargetError('the lock of the inventory is not held any more', { class: 'transient' });
}
