import type { Found } from './files.ts';
import { Vanished } from './vanished.ts';

/** Folders, and links and roots that may lead to some: which of them could never be read since we started. */
export class Unread {
  /** Path, and whether it was ever read. */
  readonly #places = new Map<string, boolean>();
  readonly #vanished: Vanished;

  constructor(vanishMs: number) {
    this.#vanished = new Vanished(vanishMs);
  }

  get deadline(): number {
    return this.#vanished.deadline;
  }

  update({ files, folders, blocked }: Found, now: number): void {
    for (const path of blocked) if (!this.#places.has(path)) this.#places.set(path, false);
    for (const path of folders) this.#places.set(path, true);
    for (const { path } of files) this.#places.delete(path);
    this.#vanished.update(this.#places.keys(), new Set(folders), blocked, now);
    for (const path of this.#vanished.expired(now)) this.#places.delete(path);
  }

  /** Paths; what was recorded under them may still be declared. */
  paths(): string[] {
    return [...this.#places].flatMap(([path, isRead]) => (isRead ? [] : [path]));
  }
}
