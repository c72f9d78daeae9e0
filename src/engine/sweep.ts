import { TargetError } from '../contract/errors.ts';
import type { Io } from '../contract/target.ts';
import type { Clock } from './clock.ts';
import { readPart, wantedBy, type Wanted } from './observe.ts';
import type { Connection, World } from './world.ts';

export interface SweepOptions {
  readonly world: World;
  readonly kind: Connection['kind'] | 'local';
  /** Name of the connection. */
  readonly connection: string;
  readonly clock: Clock;
  /** How often each object is read; milliseconds. It stretches where the budget does not suffice. */
  readonly intervalMs: number;
  /** Requests a second at most. */
  readonly budget: number;
  /** The resources that have something to read there. */
  readonly resources: () => readonly string[];
  /** Told whether the view is known to be right, each time that changes. */
  readonly onSync: (isSynced: boolean, error?: string) => void;
  /** Told when the budget makes a sweep take longer than the interval; seconds. */
  readonly onStretch: (seconds: number) => void;
}

const RETRY_MS = 5_000;

/**
 * The live view of what nobody tells of: objects are read again, one resource after the other, spread over the interval.
 * Only what is ours is read.
 */
export class Sweep {
  readonly #options: SweepOptions;
  #isSynced: boolean | undefined;
  #isStretched = false;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** Sweeps until the signal is aborted. What can't be read is told to `onSync`, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs } = this.#options;
    while (!signal.aborted) {
      const began = clock.monotonic();
      await this.#once(began, signal);
      await this.#until(began + intervalMs, signal);
    }
  }

  /** Reads what one resource has there, now. A failure is left in the view. */
  async read(id: string, signal: AbortSignal): Promise<boolean> {
    return this.#read(this.#options.world.io, id, signal);
  }

  async #once(began: number, signal: AbortSignal): Promise<void> {
    const { world, budget, intervalMs, resources } = this.#options;
    const counter = { requests: 0 };
    const io = counted(world.io, counter);
    const ids = resources();
    if (ids.length === 0) this.#tell(true);
    for (const [i, id] of ids.entries()) {
      while (!signal.aborted && !(await this.#read(io, id, signal))) await this.#wait(RETRY_MS, signal);
      if (signal.aborted) return;
      const spread = ((i + 1) / ids.length) * intervalMs;
      await this.#until(began + Math.max(spread, (counter.requests / budget) * 1000), signal);
    }
    this.#stretched((counter.requests / budget) * 1000 > intervalMs, counter.requests / budget);
  }

  async #read(io: Io, id: string, signal: AbortSignal): Promise<boolean> {
    const { world } = this.#options;
    try {
      for (const isLate of [false, true]) {
        const wanted = wantedBy(world, id).filter((w) => this.#isHere(w) && (w.type.late ?? false) === isLate);
        await Promise.all(wanted.map((w) => readPart(world, io, w, signal)));
      }
      this.#tell(true);
      return true;
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (!signal.aborted) this.#tell(false, error.message);
      return false;
    }
  }

  #isHere({ type, connection }: Wanted): boolean {
    return (
      type.watch === undefined && type.connection === this.#options.kind && connection === this.#options.connection
    );
  }

  #tell(isSynced: boolean, error?: string): void {
    if (isSynced === this.#isSynced) return;
    this.#isSynced = isSynced;
    this.#options.onSync(isSynced, error);
  }

  #stretched(isStretched: boolean, seconds: number): void {
    if (isStretched && !this.#isStretched) this.#options.onStretch(seconds);
    this.#isStretched = isStretched;
  }

  async #until(moment: number, signal: AbortSignal): Promise<void> {
    await this.#wait(moment - this.#options.clock.monotonic(), signal);
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await this.#options.clock.sleep(ms, signal).catch(() => undefined);
  }
}

/** The same way out, with every request counted. */
function counted(io: Io, counter: { requests: number }): Io {
  const counting = <T extends object>(api: T): T =>
    new Proxy(api, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]): unknown => {
          counter.requests++;
          return Reflect.apply(member, target, args);
        };
      },
    });
  return {
    nomad: (connection) => counting(io.nomad(connection)),
    vault: (connection) => counting(io.vault(connection)),
    files: counting(io.files),
    secrets: io.secrets,
  };
}
