/**
 * A collection followed by a list and then a watch, for as long as its reader lives.
 *
 * Guarantees:
 * - No change goes unseen. A watch goes on from the last version that was told, or from a bookmark; where the server no
 *   longer knows that version (410), or said something that can't be read, all is listed again and told by `replaced`.
 * - What is told of one object is in the order of its versions, and `replaced` comes before everything else.
 * - A connection that says nothing is found dead after `quietMs`: before that, the server itself ends each watch.
 * - Requests are bounded: after a failure the next one waits, longer each time, up to `backoffMs.max`; only a watch that told
 *   something, or that ended when it was asked to, makes the wait short again.
 * - Neither the server, nor the way to it, nor a mistake of the handler ends it: only the signal does, at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { Collection, CollectionHandler, KubernetesObject } from '../contract/kubernetes.ts';
import type { Connection } from './connection.ts';
import { collectionPath, listAll, withoutManagedFields } from './list.ts';
import { refusal } from './refusal.ts';

export interface FollowTimes {
  /** After which the server shall end a watch; a fifth is added at random, so that not all end together. */
  readonly watchSeconds: number;
  /** How long a watch may say nothing before its connection counts as dead; more than a watch takes. */
  readonly quietMs: number;
  /** Between tries, doubling, with jitter; milliseconds. */
  readonly backoffMs: { readonly min: number; readonly max: number };
}

export const FOLLOW_TIMES: FollowTimes = {
  watchSeconds: 45,
  quietMs: 60_000,
  backoffMs: { min: 200, max: 30_000 },
};

/** Follows until the signal is aborted. Never throws. */
export async function follow<T extends KubernetesObject>(
  connection: Connection,
  collection: Collection,
  handler: CollectionHandler<T>,
  signal: AbortSignal,
  times: Partial<FollowTimes> = {},
): Promise<void> {
  await new Follower(connection, collection, handler, signal, { ...FOLLOW_TIMES, ...times }).run();
}

interface WatchEvent<T> {
  readonly type: string;
  readonly object: T;
}

class Follower<T extends KubernetesObject> {
  readonly #connection: Connection;
  readonly #collection: Collection;
  readonly #handler: CollectionHandler<T>;
  readonly #signal: AbortSignal;
  readonly #times: FollowTimes;
  /** Up to where all is told; undefined: it has to be listed. */
  #version: string | undefined;
  /** In a row. */
  #failures = 0;
  #trouble: string | undefined;

  constructor(
    connection: Connection,
    collection: Collection,
    handler: CollectionHandler<T>,
    signal: AbortSignal,
    times: FollowTimes,
  ) {
    this.#connection = connection;
    this.#collection = collection;
    this.#handler = handler;
    this.#signal = signal;
    this.#times = times;
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      let isListing = this.#version === undefined;
      try {
        this.#version ??= await this.#list();
        isListing = false;
        await this.#watch(this.#version);
      } catch (error) {
        await this.#failed(error, isListing);
      }
    }
  }

  async #list(): Promise<string> {
    const { objects, version } = await listAll<T>(this.#connection, this.#collection, this.#signal);
    this.#tell(() => {
      this.#handler.replaced(objects);
    });
    return version;
  }

  /** Until the server ends it. @throws TargetError */
  async #watch(version: string): Promise<void> {
    const { watchSeconds, quietMs } = this.#times;
    const seconds = Math.max(1, Math.round(watchSeconds * (1 + Math.random() / 5)));
    const query = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion: version };
    const path = collectionPath(this.#collection, { ...query, timeoutSeconds: String(seconds) });
    const begun = performance.now();
    const lines = this.#connection.lines({
      path,
      // Compressed, an event would wait until the compressor is full.
      headers: { accept: 'application/json', 'accept-encoding': 'identity' },
      quietMs: { first: quietMs, later: quietMs },
      opened: () => {
        this.#tellTrouble(undefined);
      },
      signal: this.#signal,
    });
    for await (const line of lines) {
      if (this.#signal.aborted) return;
      if (typeof line !== 'string') throw this.#refused(line);
      this.#event(line);
      this.#failures = 0;
    }
    if (this.#signal.aborted) return;
    if (performance.now() - begun < (seconds * 1000) / 2)
      throw passing(`the watch of ${this.#collection.path} ended before its time`);
    this.#failures = 0;
  }

  #event(line: string): void {
    const { type, object } = this.#parsed(line);
    const version = object.metadata.resourceVersion;
    if (type === 'DELETED')
      this.#tell(() => {
        this.#handler.removed(object);
      });
    else if (type !== 'BOOKMARK')
      this.#tell(() => {
        this.#handler.changed(object);
      });
    this.#version = version;
  }

  /** @throws TargetError where all has to be listed again. */
  #parsed(line: string): WatchEvent<T> {
    const event = eventOf<T>(line);
    if (event !== undefined) return event;
    this.#version = undefined;
    throw passing(`the watch of ${this.#collection.path} can not go on: ${errorIn(line)}`);
  }

  #refused(response: Parameters<typeof refusal>[1]): TargetError {
    if (response.status === 410) this.#version = undefined;
    return refusal({ method: 'GET', address: this.#connection.address, path: this.#collection.path }, response);
  }

  async #failed(error: unknown, isListing: boolean): Promise<void> {
    if (this.#signal.aborted) return;
    const status = error instanceof TargetError ? error.status : undefined;
    const isRefused = status === 401 || status === 403 || status === 404;
    // What is refused may be another thing when it is allowed again.
    if (isRefused) this.#version = undefined;
    // A watch that breaks once, or from too old a version, is everyday life.
    if (isListing || isRefused || this.#failures > 0) this.#tellTrouble(`${messageOf(error)}${adviceFor(status)}`);
    const { min, max } = this.#times.backoffMs;
    const wait = Math.min(max, min * 2 ** Math.min(this.#failures++, 20));
    await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal: this.#signal }).catch(() => undefined);
  }

  #tellTrouble(why: string | undefined): void {
    if (why === this.#trouble || this.#signal.aborted) return;
    this.#trouble = why;
    try {
      this.#handler.trouble?.(why);
    } catch (error) {
      process.emitWarning(`${this.#collection.path}: ${messageOf(error)}`);
    }
  }

  #tell(tell: () => void): void {
    if (this.#signal.aborted) return;
    try {
      tell();
    } catch (error) {
      this.#tellTrouble(`what ${this.#collection.path} tells was not taken: ${messageOf(error)}`);
    }
  }
}

const TYPES = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

/** @returns undefined where it is none that can be gone on from: an error of the server, or not readable. */
function eventOf<T extends KubernetesObject>(line: string): WatchEvent<T> | undefined {
  try {
    const event = JSON.parse(line) as WatchEvent<T>;
    if (!TYPES.has(event.type) || typeof event.object.metadata.resourceVersion !== 'string') return undefined;
    return { type: event.type, object: withoutManagedFields(event.object) };
  } catch {
    return undefined;
  }
}

/** The server's own words, where it told an error instead of a change. */
function errorIn(line: string): string {
  try {
    const { object } = JSON.parse(line) as { readonly object?: { readonly message?: unknown } };
    if (typeof object?.message === 'string') return object.message;
  } catch {
    // Said below.
  }
  return 'what came can not be read';
}

function passing(why: string): TargetError {
  return new TargetError(why, { class: 'transient' });
}

function adviceFor(status: number | undefined): string {
  if (status === 401) return '; the API server does not accept our credentials';
  if (status === 404) return '; apply the CRDs: nomad-access crds | kubectl apply -f -';
  return '';
}
