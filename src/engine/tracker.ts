/**
 * Which resources look at which live objects. It is recorded while their objects are derived, so that a change of a live
 * object leads to just the resources whose plan it may change.
 *
 * A lookup is a text: `connection/type/name`, or `connection/type?index` for what an index files there.
 */
export class Tracker {
  readonly #lookups = new Map<string, readonly string[]>();
  /** Most objects have one reader: a set for each would cost more than all the rest. */
  readonly #readers = new Map<string, string | Set<string>>();

  /** What a resource looks at now, in place of what it looked at before. */
  record(id: string, lookups: readonly string[]): void {
    const before = this.#lookups.get(id);
    if (before !== undefined && equal(before, lookups)) return;
    this.forget(id);
    if (lookups.length === 0) return;
    this.#lookups.set(id, lookups);
    for (const lookup of lookups) this.#add(lookup, id);
  }

  forget(id: string): void {
    for (const lookup of this.#lookups.get(id) ?? []) this.#remove(lookup, id);
    this.#lookups.delete(id);
  }

  readersOf(lookup: string): readonly string[] {
    const readers = this.#readers.get(lookup);
    if (readers === undefined) return [];
    return typeof readers === 'string' ? [readers] : [...readers];
  }

  isRead(lookup: string): boolean {
    return this.#readers.has(lookup);
  }

  #add(lookup: string, id: string): void {
    const readers = this.#readers.get(lookup);
    if (readers === undefined) this.#readers.set(lookup, id);
    else if (typeof readers === 'string') this.#readers.set(lookup, new Set([readers, id]));
    else readers.add(id);
  }

  #remove(lookup: string, id: string): void {
    const readers = this.#readers.get(lookup);
    if (readers === id) this.#readers.delete(lookup);
    if (!(readers instanceof Set)) return;
    readers.delete(id);
    if (readers.size === 0) this.#readers.delete(lookup);
  }
}

function equal(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

export function objectLookup(connection: string, type: string, name: string): string {
  return `${connection}/${type}/${name}`;
}

export function indexLookup(connection: string, type: string, index: string): string {
  return `${connection}/${type}?${index}`;
}
