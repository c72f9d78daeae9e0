import { stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError } from '../../contract/resource.ts';
import { contentsOf, unreadable, type Contents } from './contents.ts';
import { tooManyDocuments } from './documents.ts';
import type { Found } from './files.ts';
import { MOST_DOCUMENTS } from './manifests.ts';
import { fileError, fileProblem, type SourceFile } from './places.ts';
import { each, textOf, withinLimits } from './read.ts';
import { Vanished } from './vanished.ts';

/** A file that is followed. */
export interface Known {
  readonly file: SourceFile;
  /** Changes with the file; absent when it shall be read again in any case. */
  signature: string | undefined;
  /** As it was last read. */
  read: Contents;
  /** What it says now: what was read, if the limits allow it. */
  current: Contents;
  /** What stands for it: the last that nothing was wrong with. */
  good: Contents | undefined;
}

interface Stats {
  readonly signature: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since it was last changed; negative where the file system's clock is ahead of ours. */
  readonly age: number;
}

interface KnownFilesOptions {
  readonly kinds: readonly AnyKind[];
  /** A file that was changed a shorter while ago may be half written. */
  readonly settleMs: number;
  readonly vanishMs: number;
  readonly signal: AbortSignal;
}

/** Reads parse at most this long before others get their turn. */
const LONGEST_TURN_MS = 10;

/** The files that were found, each read again only when it changed, and parsed again only when its text did. */
export class KnownFiles {
  /** Whether a file may be half written, so that it must be looked at again soon. */
  isUnsettled = false;
  /** Whether such a file is new, and was left aside. */
  isPartial = false;
  /** In the order in which they were found; then those that can't be reached at present. */
  present: readonly Known[] = [];
  readonly #options: KnownFilesOptions;
  readonly #files = new Map<string, Known>();
  readonly #vanished: Vanished;
  #isFirst = true;

  constructor(options: KnownFilesOptions) {
    this.#options = options;
    this.#vanished = new Vanished(options.vanishMs);
  }

  /** When the next vanished file is given up. */
  get deadline(): number {
    return this.#vanished.deadline;
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  /** Those that vanished so recently that they may come back. */
  get gone(): Known[] {
    return this.#vanished.paths().flatMap((path) => this.#files.get(path) ?? []);
  }

  /** @param now milliseconds of `performance.now()`. */
  async update(found: Found, now: number): Promise<void> {
    this.isUnsettled = false;
    this.isPartial = false;
    const stats = await each(found.files, statsOf);
    const errors: ManifestError[] = [];
    const sizes = stats.map((look) => (typeof look === 'string' ? look : look.size));
    const readable = new Set(withinLimits(found.files, sizes, errors));
    const changed: SourceFile[] = [];
    for (const [i, file] of found.files.entries()) {
      const look = stats[i];
      if (typeof look !== 'object' || !readable.has(file)) this.#refuse(file, errors);
      else if (this.#isChanged(file, look)) changed.push(file);
    }
    await this.#read(changed, new Map(found.files.map((file, i) => [file, stats[i]])));
    this.#sort(found, now);
    this.#limit();
    this.#isFirst = false;
  }

  #refuse(file: SourceFile, errors: readonly ManifestError[]): void {
    const own = errors.filter((error) => error.file === file.name);
    this.#set(file, undefined, unreadable(file, own));
  }

  #isChanged(file: SourceFile, { signature, age }: Stats): boolean {
    const known = this.#files.get(file.path);
    if (known?.signature === signature && known.file.root === file.root) return false;
    if (!this.#isFresh(age)) return true;
    this.isUnsettled = true;
    if (this.#isFirst) return true;
    this.isPartial ||= known === undefined;
    return false;
  }

  #isFresh(age: number): boolean {
    return age >= 0 && age < this.#options.settleMs;
  }

  async #read(files: readonly SourceFile[], stats: ReadonlyMap<SourceFile, Stats | string | undefined>): Promise<void> {
    const texts = await each(files, (file) => textOf(file));
    let turn = performance.now();
    for (const [i, file] of files.entries()) {
      const look = stats.get(file);
      const text = texts[i];
      if (typeof look !== 'object' || text === undefined) continue;
      const isSure = typeof text === 'string' && !this.#isFresh(look.age);
      this.#set(file, isSure ? look.signature : undefined, this.#contents(file, text));
      if (performance.now() - turn < LONGEST_TURN_MS) continue;
      await setImmediate();
      if (this.#options.signal.aborted) return;
      turn = performance.now();
    }
  }

  #contents(file: SourceFile, text: string | ManifestError): Contents {
    if (typeof text !== 'string') return unreadable(file, [text]);
    const known = this.#files.get(file.path);
    for (const contents of [known?.read, known?.good])
      if (contents?.text === text && contents.file.root === file.root) return contents;
    const { name, path, folder, root } = file;
    return contentsOf({ name, path, folder, root, text }, MOST_DOCUMENTS, this.#options.kinds);
  }

  #set(file: SourceFile, signature: string | undefined, read: Contents): void {
    const good = this.#files.get(file.path)?.good;
    this.#files.set(file.path, { file: read.file, signature, read, current: read, good });
  }

  #sort(found: Found, now: number): void {
    const isFound = new Set(found.files.map(({ path }) => path));
    this.#vanished.update(this.#files.keys(), isFound, found.blocked, now);
    for (const path of this.#vanished.expired(now)) this.#files.delete(path);
    const isGone = new Set(this.#vanished.paths());
    const held = [...this.#files.values()].filter(({ file: { path } }) => !isFound.has(path) && !isGone.has(path));
    this.present = [...found.files.flatMap(({ path }) => this.#files.get(path) ?? []), ...held];
  }

  #limit(): void {
    let left = MOST_DOCUMENTS;
    for (const known of this.present) {
      const { file, read } = known;
      left -= read.count;
      known.current = left < 0 ? unreadable(file, [fileError(file.name, tooManyDocuments)]) : read;
    }
  }
}

/** @returns what is wrong, where there is nothing to be told. */
async function statsOf({ path }: SourceFile): Promise<Stats | string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(path, { bigint: true });
    const signature = [dev, ino, size, mtimeNs, ctimeNs].map((number) => number.toString(36)).join(':');
    return { signature, size: Number(size), age: Date.now() - Number(ctimeMs) };
  } catch (error) {
    return fileProblem(error);
  }
}
