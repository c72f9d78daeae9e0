import type { ObjectType } from '../contract/kind.ts';
import { isUnreadable, type Live, type ObjectKey, type Unreadable } from '../plan/step.ts';

interface Shelf {
  objects: Map<string, Live | Unreadable>;
  byIndex: Map<string, Live[]>;
  failure?: Unreadable;
}

/**
 * The live objects as last read: what plans are made from. Whatever feeds it (a list, a stream, a sweep, our own
 * write), it answers from memory.
 */
export class LiveView {
  readonly #shelves = new Map<string, Shelf>();

  get(connection: string, type: string, name: string): Live | Unreadable | undefined {
    return this.#shelves.get(shelfKey(connection, type))?.objects.get(name);
  }

  all(connection: string, type: string): ReadonlyMap<string, Live | Unreadable> {
    return this.#shelves.get(shelfKey(connection, type))?.objects ?? new Map<string, Live | Unreadable>();
  }

  by(connection: string, type: string, index: string): readonly Live[] {
    return this.#shelves.get(shelfKey(connection, type))?.byIndex.get(index) ?? [];
  }

  /** Why the type could not be read on that connection. */
  failure(connection: string, type: string): Unreadable | undefined {
    return this.#shelves.get(shelfKey(connection, type))?.failure;
  }

  /** Takes the place of everything known of that type there. */
  replace(connection: string, type: ObjectType, objects: ReadonlyMap<string, Live | Unreadable>): void {
    const shelf: Shelf = { objects: new Map(objects), byIndex: new Map() };
    for (const live of objects.values()) addToIndex(shelf, type, live);
    this.#shelves.set(shelfKey(connection, type.name), shelf);
  }

  fail(connection: string, type: ObjectType, failure: Unreadable): void {
    this.#shelves.set(shelfKey(connection, type.name), { objects: new Map(), byIndex: new Map(), failure });
  }

  /** One object as it stands after a write or a read of its own; undefined for gone. */
  put(key: ObjectKey, type: ObjectType, live: Live | Unreadable | undefined, previous?: Live): void {
    const shelf = this.#shelf(key.connection, key.type);
    const name = (of: Live | Unreadable | undefined): string =>
      of !== undefined && !isUnreadable(of) && type.identify ? type.identify(of) : key.name;
    const old = shelf.objects.get(name(live ?? previous));
    if (old !== undefined) removeFromIndex(shelf, type, old);
    if (live === undefined) {
      shelf.objects.delete(name(previous));
      return;
    }
    shelf.objects.set(name(live), live);
    addToIndex(shelf, type, live);
  }

  #shelf(connection: string, type: string): Shelf {
    const key = shelfKey(connection, type);
    let shelf = this.#shelves.get(key);
    if (shelf === undefined) {
      shelf = { objects: new Map(), byIndex: new Map() };
      this.#shelves.set(key, shelf);
    }
    return shelf;
  }
}

function shelfKey(connection: string, type: string): string {
  return `${connection}/${type}`;
}

function addToIndex(shelf: Shelf, type: ObjectType, live: Live | Unreadable): void {
  const index = isUnreadable(live) ? undefined : type.index?.(live);
  if (index === undefined || isUnreadable(live)) return;
  const entries = shelf.byIndex.get(index);
  if (entries) entries.push(live);
  else shelf.byIndex.set(index, [live]);
}

function removeFromIndex(shelf: Shelf, type: ObjectType, live: Live | Unreadable): void {
  const index = isUnreadable(live) ? undefined : type.index?.(live);
  if (index === undefined) return;
  const left = (shelf.byIndex.get(index) ?? []).filter((other) => other !== live);
  if (left.length > 0) shelf.byIndex.set(index, left);
  else shelf.byIndex.delete(index);
}
