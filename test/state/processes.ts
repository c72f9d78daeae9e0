import type { StateBackend, StateLock } from '../../src/contract/state.ts';
import { Faulty, StillClock, type Time } from './variables.ts';

/** A process that wants to act, over a network of its own. */
export class Process<Api extends object> {
  readonly clock: StillClock;
  isOffline = false;
  readonly api: Api;

  constructor(
    time: Time,
    readonly name: string,
    server: Api,
    private readonly open: (process: Process<Api>) => StateBackend,
  ) {
    this.clock = new StillClock(time);
    const network = new Faulty<Api>(() => (this.isOffline ? 'request lost' : undefined), server);
    this.api = this.clock.hears(network.api);
  }

  lock(wait?: AbortSignal): Promise<StateLock> {
    return this.open(this).lock(wait);
  }
}

/** What a promise has come to so far. */
export function follow<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const followed: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => (followed.value = value),
    (error: unknown) => (followed.error = error),
  );
  return followed;
}
