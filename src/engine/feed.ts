import { messageOf, TargetError } from '../contract/errors.ts';
import { typesOf, type ObjectType, type WatchedType } from '../contract/kind.ts';
import type { NomadApi, NomadEvent } from '../contract/target.ts';
import type { Live } from '../plan/step.ts';
import type { Clock } from '../contract/clock.ts';
import { readWhole, wantedOf } from './observe.ts';
import { indexLookup, objectLookup } from './tracker.ts';
import type { World } from './world.ts';

type Watched = ObjectType & { readonly watch: WatchedType };

export interface FeedOptions {
  readonly world: World;
  /** Name of the NomadCluster. */
  readonly connection: string;
  readonly api: NomadApi;
  readonly clock: Clock;
  /** How often everything is listed anew, whatever the stream said; milliseconds, jittered by a tenth. */
  readonly resyncMs: number;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** Told whether the view is known to be right, each time that changes. */
  readonly onSync: (isSynced: boolean, error?: string) => void;
}

const RETRY_MS = { least: 250, afterList: 2_500, most: 15_000 };
/** Between lists, so many times as long as the last one took; milliseconds at most. */
const PACE = { times: 3, most: 2_000 };
/** How long a list waits for a stream that is being opened. */
const OPENING_MS = 1_000;
/** How long the stream is let go at most while much is written: so long a change by others may wait then. */
const HOLD_MS = 5_000;
/** How long blocking queries stand in for a stream that is not to be had before it is tried again. */
const WITHOUT_STREAM_MS = 60_000;

/**
 * The live view of one Nomad cluster: lists, and in between what the event stream tells.
 *
 * The stream is a hint that can lie: it replays what is old, and what it misses while it is down it never tells. So the
 * lists are read once it is known to stand, again each time it had to be opened anew, and from time to time; and what is
 * older than the last list, or than what is known of an object, changes nothing. Where there is no stream, blocking
 * queries tell when to list.
 */
export class NomadFeed {
  readonly #options: FeedOptions;
  readonly #types: ReadonlyMap<string, Watched>;
  /** Index of the last list of each type. */
  readonly #listed = new Map<string, number>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** Resolves when the stream stands, or is not to be had soon. */
  #opening: Promise<void> | undefined;
  #isSynced: boolean | undefined;
  #stream: AbortController | undefined;
  /** Who wants the stream let go. */
  readonly #holds = new Set<symbol>();
  /** When the last list ended, and how long it took; monotonic milliseconds. */
  #lastList = { ended: -Infinity, took: 0 };
  /** Lists that failed in a row. */
  #failedLists = 0;
  /** Calls the next list off that makes up for one that failed. */
  #nextTry: (() => void) | undefined;
  #resume: () => void = () => undefined;
  #signal = new AbortController().signal;

  constructor(options: FeedOptions) {
    this.#options = options;
    const types = [...typesOf(options.world.kinds).values()].filter(isWatched);
    this.#types = new Map(types.map((type) => [type.watch.topic, type]));
  }

  /** Keeps the view right until the signal is aborted. Failures are told to `onSync`, and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const resync = this.#resync(signal);
    let failures = 0;
    while (!signal.aborted) {
      if (this.#holds.size > 0) await this.#released(signal);
      const began = this.#options.clock.monotonic();
      const error = await this.#follow(signal);
      if (error === HELD) continue;
      failures = this.#options.clock.monotonic() - began > WITHOUT_STREAM_MS ? 0 : failures + 1;
      if (error !== undefined) await this.#refreshUnlessEnded();
      await this.#pause(failures, signal);
      // Not a single line: it may never come, so something else has to tell meanwhile.
      if (error !== undefined && failures > 2) await this.#query(signal);
    }
    this.#nextTry?.();
    await resync;
  }

  /** Lists anew. What is asked for while a list is being read is answered by the next one, shared by all who ask. */
  refresh(): Promise<void> {
    this.#next ??= this.#refresh();
    return this.#next;
  }

  /** A list from before the stream stands would have to be read again once it does. */
  async #refresh(): Promise<void> {
    await this.#running?.catch(() => undefined);
    await this.#opening;
    await this.#pace();
    this.#next = undefined;
    const began = this.#options.clock.monotonic();
    this.#running = this.#list();
    await this.#running;
    const ended = this.#options.clock.monotonic();
    this.#lastList = { ended, took: ended - began };
  }

  /** However often somebody asks: lists take no more than a share of the time. */
  async #pace(): Promise<void> {
    const { clock } = this.#options;
    const { ended, took } = this.#lastList;
    const rest = ended + Math.min(PACE.most, took * PACE.times) - clock.monotonic();
    if (rest > 0) await clock.sleep(rest, this.#signal).catch(() => undefined);
  }

  /**
   * Lets the stream go while much is written: nearly all that it tells then is our own doing, and that costs the server and
   * us more than the list which makes up for it.
   * @returns what ends it.
   */
  hold(): () => void {
    const hold = Symbol('hold');
    const end = (): void => {
      cancel();
      if (this.#holds.delete(hold) && this.#holds.size === 0) this.#resume();
    };
    const cancel = this.#options.clock.after(HOLD_MS, end);
    this.#holds.add(hold);
    this.#stream?.abort();
    return end;
  }

  async #released(signal: AbortSignal): Promise<void> {
    await new Promise<void>((done) => {
      this.#resume = done;
      signal.addEventListener('abort', this.#resume, { once: true });
    });
    signal.removeEventListener('abort', this.#resume);
  }

  async #list(): Promise<void> {
    const { world, connection } = this.#options;
    const wanted = wantedOf(world, (c, type) => c === connection && type.watch !== undefined);
    for (const type of this.#types.values())
      if (!wanted.some((w) => w.type === type)) wanted.push({ connection, type, desired: [], owned: [], observed: [] });
    const indexes = await Promise.all(wanted.map((w) => readWhole(world, w, this.#signal)));
    if (this.#signal.aborted) return;
    let failure: string | undefined;
    for (const [i, { type }] of wanted.entries()) {
      const failed = world.view.failure(connection, type.name);
      if (failed === undefined) this.#listed.set(type.name, indexes[i] ?? 0);
      else failure ??= failed.error;
    }
    this.#tell(failure === undefined, failure);
    this.#failedLists = failure === undefined ? 0 : this.#failedLists + 1;
    if (failure !== undefined) this.#tryAgain();
  }

  #tryAgain(): void {
    const { clock, random } = this.#options;
    const delay = Math.min(RETRY_MS.most, RETRY_MS.afterList * 2 ** (this.#failedLists - 1)) * (0.8 + random() * 0.4);
    this.#nextTry?.();
    this.#nextTry = clock.after(delay, () => {
      this.#nextTry = undefined;
      void this.#refreshUnlessEnded();
    });
  }

  async #refreshUnlessEnded(): Promise<void> {
    if (!this.#signal.aborted) await this.refresh();
  }

  #tell(isSynced: boolean, error?: string): void {
    if (isSynced === this.#isSynced) return;
    this.#isSynced = isSynced;
    this.#options.onSync(isSynced, error);
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { clock, resyncMs, random } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(resyncMs * (0.9 + random() / 5), signal).catch(() => undefined);
      await this.#refreshUnlessEnded();
    }
  }

  /** Follows the stream to its end. @returns why it ended, where it never began or was let go. */
  async #follow(signal: AbortSignal): Promise<string | undefined> {
    const ended = new AbortController();
    this.#stream = ended;
    let opened: () => void = () => undefined;
    this.#opening = new Promise((done) => {
      const cancel = this.#options.clock.after(OPENING_MS, done);
      opened = () => {
        cancel();
        done();
      };
    });
    let isStanding = false;
    try {
      // What the last lists had already says nothing new.
      const from = Math.max(0, ...this.#listed.values());
      const until = AbortSignal.any([signal, ended.signal]);
      const events = this.#options.api.events([...this.#types.keys()], until, from);
      for await (const line of events) {
        opened();
        if (!isStanding) await this.refresh();
        isStanding = true;
        for (const event of line) this.#apply(event);
      }
      if (ended.signal.aborted) return HELD;
      return isStanding ? undefined : 'it ended before it began';
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      return isStanding ? undefined : messageOf(error);
    } finally {
      opened();
      ended.abort();
    }
  }

  #apply(event: NomadEvent): void {
    const { world, connection } = this.#options;
    const type = this.#types.get(event.Topic);
    if (type === undefined || event.Index <= (this.#listed.get(type.name) ?? 0)) return;
    const isGone = event.Type.endsWith('Deleted');
    const live = isGone ? undefined : type.watch.live(event.Payload);
    if (!isGone && live === undefined) void this.#refreshUnlessEnded();
    else if (this.#isMeant(type, event.Key, live)) world.view.event(connection, type, event.Key, live, event.Index);
  }

  /** Most of what happens on a cluster is nobody's business here. */
  #isMeant(type: ObjectType, name: string, live: Live | undefined): boolean {
    const { world, connection } = this.#options;
    if (world.tracker.isRead(objectLookup(connection, type.name, name))) return true;
    if (world.view.get(connection, type.name, name) !== undefined) return true;
    const index = live && type.index?.(live);
    return index !== undefined && world.tracker.isRead(indexLookup(connection, type.name, index));
  }

  /** Blocking queries in place of the stream, for a while. */
  async #query(signal: AbortSignal): Promise<void> {
    const { api, clock } = this.#options;
    const over = new AbortController();
    const cancel = clock.after(WITHOUT_STREAM_MS, () => {
      over.abort();
    });
    const until = AbortSignal.any([signal, over.signal]);
    await this.refresh();
    const follow = async (type: Watched): Promise<void> => {
      while (!until.aborted) {
        const index = this.#listed.get(type.name) ?? 1;
        if ((await api.moved(type.watch.list, index, until)) !== index) await this.refresh();
      }
    };
    const types = [...this.#types.values()];
    await Promise.all(types.map(follow)).catch((error: unknown) => {
      if (!(error instanceof TargetError)) throw error;
    });
    over.abort();
    cancel();
  }

  async #pause(failures: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    if (failures === 0) return;
    const most = Math.min(RETRY_MS.most, RETRY_MS.least * 2 ** (failures - 1));
    await clock.sleep(most * (0.5 + random() / 2), signal).catch(() => undefined);
  }
}

const HELD = 'held';

function isWatched(type: ObjectType): type is Watched {
  return type.watch !== undefined;
}
