/**
 * Which resources look at which live objects. It is recorded while their objects are derived, so that a change of a live
 * object leads to just the resources whose plan it may change.
 *
 * A lookup is a text: `connection/type/name`, `connection/type/name!` where only matters whether it exists, or
 * `connection/type?index` for what an index files there, `@resource` for another declared resource.
 */
export class Tracker {
  readonly #lookups = new Map<string, readonly string[]>();
  /** Most objects have one reader: a set for each would cost more than all the rest. */
  readonly #readers = new Map<string, string | Set<string>>();
  /** `connection/type` → who looks at something of it. */
  readonly #shelves = new Map<string, Set<string>>();

  /** What a resource looks at now, in place of what it looked at before. */
  record(id: string, lookups: readonly string[]): void {
    const before = this.#lookups.get(id);
    if (before !== undefined && equal(before, lookups)) return;
    this.forget(id);
    if (lookups.length === 0) return;
    this.#lookups.set(id, lookups);
    for (const lookup of lookups) this.#add(lookup, id);
    for (const shelf of shelvesIn(lookups)) {
      const ids = this.#shelves.get(shelf);
      if (ids) ids.add(id);
      else this.#shelves.set(shelf, new Set([id]));
    }
  }

  forget(id: string): void {
    const lookups = this.#lookups.get(id) ?? [];
    for (const lookup of lookups) this.#remove(lookup, id);
    for (const shelf of shelvesIn(lookups)) this.#shelves.get(shelf)?.delete(id);
    this.#lookups.delete(id);
  }

  /** The connections and types that a resource looks at. */
  shelvesOf(id: string): { readonly connection: string; readonly type: string }[] {
    return [...shelvesIn(this.#lookups.get(id) ?? [])].map((shelf) => {
      const slash = shelf.indexOf('/');
      return { connection: shelf.slice(0, slash), type: shelf.slice(slash + 1) };
    });
  }

  /** Who looks at something of a type on a connection. */
  lookingAt(connection: string, type: string): Iterable<string> {
    return this.#shelves.get(`${connection}/${type}`) ?? [];
  }

  readersOf(lookup: string): readonly string[] {
    const readers = this.#readers.get(lookup);
    if (readers === undefined) return [];
    return typeof readers === 'string' ? [readers] : [...readers];
  }

  /** Who else looks at an object that a resource looks at. */
  neighboursOf(id: string): string[] {
    const objects = (this.#lookups.get(id) ?? []).filter((lookup) => !/!$|^[^/]+\/[^/]+\?|^@/.test(lookup));
    return [...new Set(objects.flatMap((lookup) => this.readersOf(lookup)))].filter((other) => other !== id);
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

/** Neither a connection's nor a type's name has one of the marks that end it. */
function shelvesIn(lookups: readonly string[]): Set<string> {
  const ofObjects = lookups.filter((lookup) => !lookup.startsWith('@'));
  return new Set(ofObjects.map((lookup) => /^[^/]+\/[^/?]+/.exec(lookup)?.[0] ?? ''));
}

function equal(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

export function objectLookup(connection: string, type: string, name: string): string {
  return `${connection}/${type}/${name}`;
}

export function existenceLookup(connection: string, type: string, name: string): string {
  return `${connection}/${type}/${name}!`;
}

export function indexLookup(connection: string, type: string, index: string): string {
  return `${connection}/${type}?${index}`;
}

/** @param id `resourceText` of the resource. */
export function resourceLookup(id: string): string {
  return `@${id}`;
}
