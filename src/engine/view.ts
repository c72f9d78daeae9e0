import type { ObjectType, Reading } from '../contract/kind.ts';
import { isUnreadable, readable, type Live, type ObjectKey, type Unreadable } from '../plan/step.ts';
import { isEqual } from '../plan/value.ts';

type Entry = Live | Unreadable;

interface Event {
  readonly name: string;
  readonly live: Live | undefined;
  readonly index: number;
}

interface Shelf {
  readonly type: ObjectType;
  readonly objects: Map<string, Entry>;
  readonly byIndex: Map<string, Live[]>;
  /** What we wrote or an event told, until a reading that began later confirms it: when, and at which index of Nomad. */
  readonly written: Map<string, { readonly at: number; readonly index: number }>;
  /** Names in the keys of objects that we are writing, and the events that came meanwhile. */
  readonly writing: Map<string, Event[]>;
  failure?: Unreadable | undefined;
}

/** Writes after which what was remembered of old ones is looked through, and how many moments make one old. */
const TIDY_EVERY = 1_000;
const LONG_AGO = 100_000;

/** What was never looked at must not be taken for absent. */
const NOT_READ: Unreadable = { error: 'it was not read yet', reason: 'Unavailable' };

/** A live object is not what it was in the view. */
export interface ViewChange {
  readonly connection: string;
  readonly type: ObjectType;
  readonly name: string;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
}

/**
 * The live objects as last read: what plans are made from. Whatever feeds it (a list, a stream, a sweep, our own write),
 * it answers from memory.
 *
 * Guarantees: a reading that began before a write of ours was through never hides what that write made; an event that
 * is older than what is known of its object changes nothing; a change is told once, and only where something other than
 * indexes and hashes differs.
 */
export class LiveView {
  readonly #shelves = new Map<string, Shelf>();
  #moment = 0;
  /** Told of every change that did not come from a write of ours. */
  onChange: (change: ViewChange) => void = () => undefined;
  /** Told of the identifier of an object that is as it was, once the server has told it. */
  onIdentified: (key: ObjectKey, id: string) => void = () => undefined;

  get(connection: string, type: string, name: string): Entry | undefined {
    return this.#shelves.get(shelfKey(connection, type))?.objects.get(name);
  }

  all(connection: string, type: string): ReadonlyMap<string, Entry> {
    return this.#shelves.get(shelfKey(connection, type))?.objects ?? new Map<string, Entry>();
  }

  by(connection: string, type: string, index: string): readonly Live[] {
    return this.#shelves.get(shelfKey(connection, type))?.byIndex.get(index) ?? [];
  }

  /** Why nothing is known of the type on that connection: it can't be read, or was not read yet. */
  failure(connection: string, type: string): Unreadable | undefined {
    const shelf = this.#shelves.get(shelfKey(connection, type));
    return shelf === undefined ? NOT_READ : shelf.failure;
  }

  /** What a reading says when it began, for `replace` and `take`. */
  begin(): number {
    return ++this.#moment;
  }

  /** A reading of all that matters of a type: what it does not name is gone. */
  replace(connection: string, type: ObjectType, { objects }: Reading, began: number): void {
    const shelf = this.#shelf(connection, type);
    shelf.failure = undefined;
    const isNewer = (name: string): boolean => {
      const written = shelf.written.get(name);
      if (written !== undefined && written.at > began) return true;
      shelf.written.delete(name);
      return false;
    };
    for (const name of [...shelf.objects.keys()])
      if (!objects.has(name) && !isNewer(name)) this.#set(connection, shelf, name, undefined);
    for (const [name, entry] of objects) if (!isNewer(name)) this.#set(connection, shelf, name, entry);
  }

  /** A reading of some objects: those that were asked for and that it does not name are gone. */
  take(connection: string, type: ObjectType, asked: Iterable<string>, { objects }: Reading, began: number): void {
    const shelf = this.#shelf(connection, type);
    shelf.failure = undefined;
    for (const name of new Set([...asked, ...objects.keys()])) {
      const written = shelf.written.get(name);
      if (written !== undefined && written.at > began) continue;
      shelf.written.delete(name);
      this.#set(connection, shelf, name, objects.get(name));
    }
  }

  /** The type can't be read there: plans say so. What was known before is kept, to tell later what has changed. */
  fail(connection: string, type: ObjectType, failure: Unreadable): void {
    this.#shelf(connection, type).failure = failure;
  }

  /** What an event says of one object; undefined for gone. */
  event(connection: string, type: ObjectType, name: string, live: Live | undefined, index: number): void {
    const shelf = this.#shelf(connection, type);
    const known = shelf.objects.get(name);
    const held = shelf.writing.get(keyNameOf(type, live ?? known) ?? name);
    if (held !== undefined) {
      held.push({ name, live, index });
      return;
    }
    const written = shelf.written.get(name)?.index ?? 0;
    if (index === written) this.#identify(connection, shelf, name, live?.id);
    if (index <= indexOf(known) || index <= written) return;
    // A list that was made before must not undo it.
    shelf.written.set(name, { at: ++this.#moment, index });
    // Events do not tell which token is our own.
    const guard = readable(known)?.protected;
    this.#set(connection, shelf, name, live && guard !== undefined ? { ...live, protected: guard } : live);
  }

  /** A write of ours is about to be sent: the event that tells of it must not look like somebody else's. */
  writing(key: ObjectKey, type: ObjectType): void {
    this.#shelf(key.connection, type).writing.set(key.name, []);
  }

  /** The write is through: what was told meanwhile and is not of it counts now. */
  wrote(key: ObjectKey, type: ObjectType): void {
    const { writing } = this.#shelf(key.connection, type);
    const held = writing.get(key.name) ?? [];
    writing.delete(key.name);
    for (const { name, live, index } of held) this.event(key.connection, type, name, live, index);
  }

  /** One object as it stands after a write of ours; undefined for gone. @param index of the write, where Nomad told it. */
  put(key: ObjectKey, type: ObjectType, live: Live | undefined, previous?: Live, index = live?.index ?? 0): void {
    const shelf = this.#shelf(key.connection, type);
    const of = live ?? previous;
    const name = (of && type.identify?.(of)) ?? key.name;
    // Somebody else was faster: their event came before our reply.
    if (index > 0 && indexOf(shelf.objects.get(name)) > index) return;
    shelf.written.set(name, { at: ++this.#moment, index });
    this.#store(shelf, name, live);
    if (shelf.written.size % TIDY_EVERY === 0) this.#tidy(shelf);
  }

  /** No reading is under way any more that began before so many others. */
  #tidy({ written }: Shelf): void {
    for (const [name, { at }] of written) if (at < this.#moment - LONG_AGO) written.delete(name);
  }

  #set(connection: string, shelf: Shelf, name: string, after: Entry | undefined): void {
    const before = shelf.objects.get(name);
    this.#store(shelf, name, after);
    if (!isSame(before, after)) this.onChange({ connection, type: shelf.type, name, before, after });
    else if (readable(before)?.id === undefined) this.#tellId(connection, shelf, name, readable(after)?.id);
  }

  /** The event of our own write tells what its reply did not. */
  #identify(connection: string, shelf: Shelf, name: string, id: string | undefined): void {
    const known = readable(shelf.objects.get(name));
    if (known === undefined || known.id !== undefined || id === undefined) return;
    this.#store(shelf, name, { ...known, id });
    this.#tellId(connection, shelf, name, id);
  }

  #tellId(connection: string, { type, objects }: Shelf, name: string, id: string | undefined): void {
    if (id !== undefined)
      this.onIdentified({ connection, type: type.name, name: keyNameOf(type, objects.get(name)) ?? name }, id);
  }

  #store(shelf: Shelf, name: string, entry: Entry | undefined): void {
    const before = shelf.objects.get(name);
    if (before !== undefined) removeFromIndex(shelf, before);
    if (entry === undefined) {
      shelf.objects.delete(name);
      return;
    }
    shelf.objects.set(name, entry);
    addToIndex(shelf, entry);
  }

  #shelf(connection: string, type: ObjectType): Shelf {
    const key = shelfKey(connection, type.name);
    let shelf = this.#shelves.get(key);
    if (shelf === undefined) {
      shelf = { type, objects: new Map(), byIndex: new Map(), written: new Map(), writing: new Map() };
      this.#shelves.set(key, shelf);
    }
    return shelf;
  }
}

function keyNameOf(type: ObjectType, entry: Entry | undefined): string | undefined {
  const live = readable(entry);
  return live && type.keyName?.(live);
}

function shelfKey(connection: string, type: string): string {
  return `${connection}/${type}`;
}

function indexOf(entry: Entry | undefined): number {
  return readable(entry)?.index ?? 0;
}

/** Whether a plan could tell the two apart. */
function isSame(a: Entry | undefined, b: Entry | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  if (isUnreadable(a) || isUnreadable(b)) return isUnreadable(a) && isUnreadable(b) && a.error === b.error;
  // Of what we have just made, the server has yet to tell the identifier.
  if ((a.id !== undefined && a.id !== b.id) || a.protected !== b.protected) return false;
  const { hash: _a, ...factsOfA } = a.facts ?? {};
  const { hash: _b, ...factsOfB } = b.facts ?? {};
  return isEqual(a.fields, b.fields) && isEqual(factsOfA, factsOfB);
}

/** What its type's index files an entry under. */
export function filedUnder(type: ObjectType, entry: Entry | undefined): string | undefined {
  const live = readable(entry);
  return live && type.index?.(live);
}

function addToIndex({ type, byIndex }: Shelf, entry: Entry): void {
  const index = filedUnder(type, entry);
  if (index === undefined || isUnreadable(entry)) return;
  const entries = byIndex.get(index);
  if (entries) entries.push(entry);
  else byIndex.set(index, [entry]);
}

function removeFromIndex({ type, byIndex }: Shelf, entry: Entry): void {
  const index = filedUnder(type, entry);
  if (index === undefined) return;
  const left = (byIndex.get(index) ?? []).filter((other) => other !== entry);
  if (left.length > 0) byIndex.set(index, left);
  else byIndex.delete(index);
}
