import { TargetError } from '../contract/errors.ts';
import type { Io } from '../contract/target.ts';
import type { Clock } from '../contract/clock.ts';
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

/** What became of a try to read a resource: `out` where the server can't be reached, `denied` where it said no. */
export type Turn = 'read' | 'out' | 'denied';

/**
 * The live view of what nobody tells of: objects are read again, one resource after the other, spread over the interval.
 * Only what is ours is read.
 *
 * Guarantees: the one that was read longest ago is next, so that from one reading of a resource to the next no more than
 * the interval passes, also for what has just been added, unless the budget stretches it; one that may not be read keeps
 * no other from its turn.
 */
export class Sweep {
  readonly #options: SweepOptions;
  /** The one that was read longest ago is first. */
  readonly #order = new Set<string>();
  /** Why a resource may not be read. */
  readonly #denied = new Map<string, string>();
  #isSynced: boolean | undefined;
  #isStretched = false;
  #wake: () => void = () => undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** Sweeps until the signal is aborted. What can't be read is told to `onSync`, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await this.#interval(signal);
  }

  /** Reads what one resource has there, now. A failure is left in the view. */
  async read(id: string, signal: AbortSignal): Promise<Turn> {
    const isNew = !this.#order.has(id);
    const turn = await this.#read(this.#options.world.io, id, signal);
    if (isNew) this.#wake();
    return turn;
  }

  async #interval(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs, resources, world } = this.#options;
    const counter = { requests: 0, turns: 0 };
    const io = counted(world.io, counter);
    const until = clock.monotonic() + intervalMs;
    this.#arrange(resources());
    if (this.#order.size === 0) this.#tell(true);
    while (!signal.aborted && clock.monotonic() < until) await this.#step(io, counter, until, signal);
    this.#judge(counter);
  }

  /** Takes in what is new, and leaves out what is gone. */
  #arrange(ids: readonly string[]): void {
    const now = new Set(ids);
    for (const id of this.#order) if (!now.has(id)) this.#order.delete(id);
    for (const id of this.#denied.keys()) if (!now.has(id)) this.#denied.delete(id);
    for (const id of ids) this.#order.add(id);
  }

  /** One turn, and the time until the next one: at the latest until the interval is over. */
  async #step(io: Io, counter: Counter, until: number, signal: AbortSignal): Promise<void> {
    const { clock, intervalMs, budget } = this.#options;
    const began = clock.monotonic();
    const before = counter.requests;
    const [id] = this.#order;
    while (id !== undefined && !signal.aborted && (await this.#read(io, id, signal)) === 'out')
      await this.#wait(RETRY_MS, signal);
    if (id !== undefined) counter.turns++;
    const least = ((counter.requests - before) / budget) * 1000;
    const next = (): number =>
      Math.min(began + Math.max(intervalMs / this.#order.size, least), Math.max(until, began + least));
    for (let at = next(); !signal.aborted && clock.monotonic() < at; at = next())
      await this.#wait(at - clock.monotonic(), signal, true);
  }

  async #read(io: Io, id: string, signal: AbortSignal): Promise<Turn> {
    const { world } = this.#options;
    this.#order.delete(id);
    this.#order.add(id);
    try {
      const readEach = (wanted: readonly Wanted[]): Promise<unknown> =>
        Promise.all(wanted.map((w) => readPart(world, io, w, signal)));
      const wanted = wantedBy(world, id).filter((w) => this.#isHere(w));
      await readEach(wanted.filter(({ type }) => !type.late));
      if (wanted.some(({ type }) => type.late))
        await readEach(wantedBy(world, id).filter((w) => w.type.late === true && this.#isHere(w)));
      this.#denied.delete(id);
      const [denied] = this.#denied.values();
      this.#tell(denied === undefined, denied);
      return 'read';
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (signal.aborted) return 'out';
      if (error.class !== 'transient') this.#denied.set(id, error.message);
      this.#tell(false, error.message);
      return error.class === 'transient' ? 'out' : 'denied';
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

  /** Whether the budget suffices for all of them within the interval, going by the turns of the last one. */
  #judge({ requests, turns }: Counter): void {
    const { budget, intervalMs, onStretch } = this.#options;
    if (turns === 0) return;
    const seconds = ((requests / turns) * this.#order.size) / budget;
    const isStretched = seconds * 1000 > intervalMs;
    if (isStretched && !this.#isStretched) onStretch(seconds);
    this.#isStretched = isStretched;
  }

  /** @param mayWake whether it ends when there is something new. */
  #wait(ms: number, signal: AbortSignal, mayWake = false): Promise<void> {
    return new Promise((done) => {
      const over = (): void => {
        cancel();
        signal.removeEventListener('abort', over);
        done();
      };
      const cancel = this.#options.clock.after(ms, over);
      signal.addEventListener('abort', over);
      if (mayWake) this.#wake = over;
      if (signal.aborted) over();
    });
  }
}

interface Counter {
  requests: number;
  turns: number;
}

/** The same way out, with every request counted. */
function counted(io: Io, counter: Counter): Io {
  const counting = <T extends object>(api: T): T =>
    new Proxy(api, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        // The same way out once more, into another namespace.
        if (name === 'in')
          return (...args: unknown[]): unknown => counting(Reflect.apply(member, target, args) as object);
        return (...args: unknown[]): unknown => {
          counter.requests++;
          return Reflect.apply(member, target, args);
        };
      },
    });
  return {
    nomad: (connection) => counting(io.nomad(connection)),
    variables: (connection) => counting(io.variables(connection)),
    vault: (connection) => counting(io.vault(connection)),
    files: counting(io.files),
    // Followed, and read from memory.
    kubernetesSecrets: io.kubernetesSecrets,
    secretSources: io.secretSources,
    secrets: io.secrets,
  };
}
