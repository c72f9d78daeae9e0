import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf, UsageError } from '../../contract/errors.ts';
import type { Desire } from '../../contract/source.ts';
import { findFiles, STDIN, type Found } from './files.ts';
import { inOrder, type LoadOptions } from './index.ts';
import { KnownFiles } from './known-files.ts';
import { LastGood } from './last-good.ts';
import { identityOf, listen, Listeners, type Listen } from './listeners.ts';
import { MOST_WAITS, Pace } from './pace.ts';
import { codeOf, nameIn } from './places.ts';
import { Unread } from './unread.ts';

export interface WatchOptions {
  /** Ends the following: nothing is listened to any more, and the generator is done. */
  readonly signal: AbortSignal;
  /** How long it must be quiet after a change before it is read (50). */
  readonly settleMs?: number;
  /** How long the resources stay of a file that vanished, or that vanished from their file (2,000). */
  readonly vanishMs?: number;
  /** How often everything is looked at though nobody told of a change, give or take a tenth (30,000). */
  readonly rescanMs?: number;
  /** The same where some folder can't be listened to (5,000). */
  readonly deafRescanMs?: number;
  /** How often it is checked whether the given paths lead to the same folders as before (1,000). */
  readonly rootsMs?: number;
  /** Told once when folders can't be listened to. */
  readonly onWarning?: (message: string) => void;
  /** How changes of a folder's entries are listened to; the operating system's way where it is absent. */
  readonly listen?: Listen;
}

/** A look at very many files is repeated after this many times its length at the earliest. */
const REST = 50;

/**
 * The desired view, first as it is now and then each time it changes, until the signal is aborted.
 * @throws UsageError for standard input, which has no later state.
 */
export function watchDirectory(options: LoadOptions, watch: WatchOptions): AsyncGenerator<Desire, void> {
  if (options.paths.includes(STDIN)) {
    throw new UsageError(`standard input can't be followed: give files or folders to -f instead of ${STDIN}`);
  }
  return follow(options, watch);
}

async function* follow(options: LoadOptions, watch: WatchOptions): AsyncGenerator<Desire, void> {
  const following = new Following(options, watch);
  try {
    let last: Desire | undefined;
    while (!following.isOver()) {
      const desire = await following.look();
      if (desire !== undefined && !isSame(desire, last)) yield (last = desire);
      await following.rest();
    }
  } finally {
    following.close();
  }
}

class Following {
  readonly #options: LoadOptions;
  readonly #watch: WatchOptions;
  readonly #paths: readonly string[];
  readonly #settleMs: number;
  readonly #pace: Pace;
  readonly #listeners: Listeners;
  readonly #files: KnownFiles;
  readonly #unread: Unread;
  readonly #lastGood: LastGood;
  /** What the given paths led to at the last look. */
  #roots = '';
  /** When to look again at the latest. */
  #next = 0;
  /** Until when the first view may be put off. */
  readonly #patience: number;
  #isWarned = false;

  constructor(options: LoadOptions, watch: WatchOptions) {
    const { signal, settleMs = 50, vanishMs = 2_000 } = watch;
    this.#options = options;
    this.#watch = watch;
    this.#settleMs = settleMs;
    this.#patience = performance.now() + MOST_WAITS * settleMs;
    this.#paths = options.paths.map((path) => resolve(options.cwd, path));
    this.#pace = new Pace(settleMs, signal);
    this.#listeners = new Listeners(this.#pace.changed, watch.listen ?? listen);
    this.#files = new KnownFiles({ kinds: options.kinds, settleMs, vanishMs, signal });
    this.#unread = new Unread(vanishMs);
    this.#lastGood = new LastGood(options, vanishMs);
    // At once: whoever takes the views may be busy with one of them.
    signal.addEventListener('abort', this.close);
  }

  isOver(): boolean {
    return this.#watch.signal.aborted;
  }

  readonly close = (): void => {
    this.#watch.signal.removeEventListener('abort', this.close);
    this.#pace.close();
    this.#listeners.close();
  };

  /** @returns what is declared now; nothing where it can't be said yet, or when it is over. */
  async look(): Promise<Desire | undefined> {
    return unlessAborted(this.#look(), this.#watch.signal);
  }

  async #look(): Promise<Desire | undefined> {
    const started = performance.now();
    this.#pace.begin();
    this.#roots = await this.#rootsNow();
    this.#listeners.begin();
    const found = await findFiles(this.#options.paths, this.#options.base, this.#options.cwd, this.#listeners);
    this.#listeners.end();
    await this.#files.update(found, started);
    this.#unread.update(found, started);
    this.#next = this.#files.isUnsettled ? performance.now() + this.#settleMs : Infinity;
    if (this.isOver() || this.#pace.isDisturbed() || this.#isTooEarly()) return undefined;
    const desire = await this.#desire(found, started);
    this.#plan(started);
    return desire;
  }

  /** A file that was being written when we started may look whole: nothing shall be taken for gone because of that. */
  #isTooEarly(): boolean {
    return this.#files.isUnsettled && performance.now() < this.#patience;
  }

  async #desire(found: Found, now: number): Promise<Desire> {
    const unread = this.#files.gone.filter(({ good }) => good === undefined);
    const isComplete = found.blocked.length === 0 && unread.length === 0 && !this.#files.isPartial;
    const view = await this.#lastGood.view(this.#files.present, isComplete, now);
    const blocked = this.#unread.paths().filter((path) => !this.#files.has(path));
    const unknown = [
      ...view.unknown,
      ...unread.map(({ file }) => file.name),
      ...blocked.map((path) => nameIn(this.#options.base, path)),
    ];
    return {
      resources: view.resources,
      errors: inOrder([...found.errors, ...view.errors]),
      roots: found.roots,
      unknown: [...new Set(unknown)].sort(),
    };
  }

  #plan(started: number): void {
    const now = performance.now();
    const isDeaf = this.#warn();
    const { rescanMs = 30_000, deafRescanMs = 5_000 } = this.#watch;
    const interval = (isDeaf ? Math.min(deafRescanMs, rescanMs) : rescanMs) * (0.9 + 0.2 * Math.random());
    this.#next = Math.min(
      now + Math.max(interval, REST * (now - started)),
      this.#files.isUnsettled ? now + this.#settleMs : Infinity,
      this.#files.deadline,
      this.#unread.deadline,
      this.#lastGood.deadline,
    );
  }

  /** @returns whether there is a folder that can't be listened to. */
  #warn(): boolean {
    const { problem } = this.#listeners;
    if (problem === undefined) return false;
    if (!this.#isWarned) this.#watch.onWarning?.(deaf(problem));
    this.#isWarned = true;
    return true;
  }

  /** Waits until it is time to look again, or until it is over. */
  async rest(): Promise<void> {
    const { rootsMs = 1_000 } = this.#watch;
    while (!this.isOver()) {
      await this.#pace.wait(Math.min(this.#next, performance.now() + rootsMs));
      if (this.isOver() || this.#pace.isDue() || performance.now() >= this.#next) return;
      const roots = await unlessAborted(this.#rootsNow(), this.#watch.signal);
      if (roots !== this.#roots) this.#pace.changed();
    }
  }

  /** Changes when another folder is put in a root's place, at whatever height of its path; costs the same for any number of files. */
  async #rootsNow(): Promise<string> {
    const looks = this.#paths.map(async (path) => {
      const real = await realpath(path).catch(codeOf);
      return [real, await identityOf(path)];
    });
    return JSON.stringify(await Promise.all(looks));
  }
}

/** Waits no longer than until the signal: a file system may let one wait for ever. A signal that outlives many waits keeps none of them. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      resolve(undefined);
    };
    if (signal.aborted) over();
    signal.addEventListener('abort', over);
    void promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', over);
    });
  });
}

function deaf(problem: unknown): string {
  const hint =
    codeOf(problem) === 'ENOSPC'
      ? 'raise fs.inotify.max_user_watches'
      : 'raise the limits of open files and of inotify';
  return `can't listen to all folders of manifests, so they are looked at every few seconds instead: ${messageOf(problem)}; ${hint}`;
}

/** What is read again is a new resource, and what is not is the same one. The order says nothing. */
function isSame(a: Desire, b: Desire | undefined): boolean {
  if (b === undefined || a.resources.length !== b.resources.length) return false;
  const isSameRest = JSON.stringify([a.errors, a.unknown]) === JSON.stringify([b.errors, b.unknown]);
  const resources = new Set(b.resources);
  return isSameRest && a.resources.every((resource) => resources.has(resource));
}
