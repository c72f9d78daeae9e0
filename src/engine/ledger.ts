import { TargetError } from '../contract/errors.ts';
import type { Inventory, InventoryHead, RecordedConnection, StateBackend } from '../contract/state.ts';
import { systemClock, type Clock } from '../contract/clock.ts';
import { keyText, resourceText, type ObjectKey, type Owned } from '../plan/step.ts';
import { isEqual } from '../plan/value.ts';

/**
 * How long results wait for a save that several of them share: saving takes at most a twentieth of the time. Losing them
 * loses nothing, since intents are saved first; but what somebody changes before they are saved is taken for theirs.
 */
const SAVE_DELAY_MS = { least: 50, most: 5_000 };
const SHARE_OF_TIME = 20;

/**
 * The inventory in memory, and its way to the backend.
 *
 * Guarantees: what is about to be created is saved as `pending` before the create is sent (`intend`, awaited), so a
 * crash in between never loses track of it. Results are saved soon after (`record`, `forget`), and all of them once
 * `flush` has returned. Saves never overlap.
 */
export class Ledger {
  readonly #objects = new Map<string, Owned>();
  readonly #byResource = new Map<string, Owned[]>();
  readonly #connections = new Map<string, RecordedConnection>();
  /** How many objects are owned through each connection. */
  readonly #used = new Map<string, number>();
  readonly #backend: StateBackend;
  readonly #owner: string;
  readonly #kindOf: (type: string) => RecordedConnection['kind'] | 'local' | undefined;
  /** What the backend does not have yet: keys of objects. */
  #changed = new Set<string>();
  readonly #clock: Pick<Clock, 'after' | 'monotonic'>;
  #dirty = false;
  #lastSaveMs = 0;
  #saving: Promise<void> | undefined;
  /** Calls the next save off. */
  #calledOff: (() => void) | undefined;
  #failure: unknown;
  #isClosed = false;
  /** The least that results wait for a save; milliseconds. */
  saveDelayMs = SAVE_DELAY_MS.least;
  /** Folder that paths are relative to, where it is not the inventory's own; absolute. */
  base: string | undefined;
  /** Told of each save that failed, also of those that nobody waits for. */
  onFailure: (error: unknown) => void = () => undefined;

  /** @param kindOf the kind of the connections that a type of object is made through. */
  constructor(
    backend: StateBackend,
    owner: string,
    inventory: Inventory | undefined,
    kindOf: (type: string) => RecordedConnection['kind'] | 'local' | undefined,
    clock: Pick<Clock, 'after' | 'monotonic'> = systemClock,
  ) {
    this.#clock = clock;
    this.#kindOf = kindOf;
    this.#backend = backend;
    this.#owner = owner;
    for (const object of inventory?.objects ?? []) this.#set(object);
    this.#changed.clear();
    for (const connection of inventory?.connections ?? []) this.#connections.set(connectionKey(connection), connection);
  }

  get(key: ObjectKey): Owned | undefined {
    return this.#objects.get(keyText(key));
  }

  /** @param id `resourceText` of the resource. */
  ownedBy(id: string): readonly Owned[] {
    return this.#byResource.get(id) ?? [];
  }

  get size(): number {
    return this.#objects.size;
  }

  all(): Owned[] {
    return [...this.#objects.values()];
  }

  /** Those that something is owned through, and those that the credentials for these come from. */
  connections(): RecordedConnection[] {
    const all = [...this.#connections.values()];
    const used = all.filter((connection) => (this.#used.get(connectionKey(connection)) ?? 0) > 0);
    const behind = new Set(used.map(({ credentialFrom }) => credentialFrom));
    return all.filter((connection) => used.includes(connection) || behind.has(connectionKey(connection)));
  }

  /** Remembers how a connection is declared, as long as something is owned through it. */
  connect(connection: RecordedConnection): void {
    this.#connections.set(connectionKey(connection), connection);
    this.#dirty = true;
  }

  /**
   * Writes down what is about to be created, and waits until that is saved. An entry that exists already is kept.
   * @throws what the backend threw; TargetError once it is closed: then nothing must be created.
   */
  async intend(entries: readonly Owned[]): Promise<void> {
    if (entries.length === 0) return;
    this.#requireOpen();
    for (const entry of entries) this.#set(entry);
    this.#dirty = true;
    await this.flush();
    this.#requireOpen();
  }

  /** Nothing is saved where the inventory says so already. */
  record(entry: Owned): void {
    const known = this.get(entry.key);
    if (known !== undefined && isSame(known, entry)) return;
    this.#set(entry);
    this.#saveSoon();
  }

  forget(key: ObjectKey): void {
    const text = keyText(key);
    const entry = this.#objects.get(text);
    if (entry === undefined) return;
    this.#objects.delete(text);
    this.#changed.add(text);
    this.#use(key, -1);
    this.#leave(entry);
    this.#saveSoon();
  }

  /** Saves what is not saved yet. @throws what the backend threw; then it is tried again soon. */
  async flush(): Promise<void> {
    this.#calledOff?.();
    this.#calledOff = undefined;
    while (this.#saving !== undefined) await this.#saving;
    while (this.#dirty && !this.#isClosed) {
      await this.#save();
      if (this.#failure !== undefined) throw this.#failure as Error;
    }
  }

  /** Nothing is saved any more: somebody else may hold the inventory now. Resolves when no save is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#calledOff?.();
    while (this.#saving !== undefined) await this.#saving;
  }

  #requireOpen(): void {
    if (this.#isClosed)
      throw new TargetError('the inventory is closed: nothing is made any more', { class: 'transient' });
  }

  #set(entry: Owned): void {
    const key = keyText(entry.key);
    const before = this.#objects.get(key);
    this.#objects.set(key, entry);
    this.#changed.add(key);
    if (before === undefined) this.#use(entry.key, 1);
    const owner = resourceText(entry.resource);
    const entries = this.#byResource.get(owner);
    const at = before === undefined ? -1 : (entries?.indexOf(before) ?? -1);
    if (entries !== undefined && at >= 0) {
      entries[at] = entry;
      return;
    }
    if (before !== undefined) this.#leave(before);
    this.#byResource.set(owner, [...(entries ?? []), entry]);
  }

  #leave(entry: Owned): void {
    const owner = resourceText(entry.resource);
    const others = this.ownedBy(owner).filter((other) => other !== entry);
    if (others.length === 0) this.#byResource.delete(owner);
    else this.#byResource.set(owner, others);
  }

  #use({ type, connection }: ObjectKey, more: 1 | -1): void {
    const used = `${this.#kindOf(type) ?? ''}/${connection}`;
    this.#used.set(used, (this.#used.get(used) ?? 0) + more);
  }

  #saveSoon(): void {
    this.#dirty = true;
    if (this.#isClosed) return;
    const delay = Math.min(SAVE_DELAY_MS.most, Math.max(this.saveDelayMs, this.#lastSaveMs * SHARE_OF_TIME));
    this.#calledOff ??= this.#clock.after(delay, () => {
      this.#calledOff = undefined;
      this.flush().catch(() => undefined);
    });
  }

  #save(): Promise<void> {
    const began = this.#clock.monotonic();
    const changed = this.#changed;
    this.#changed = new Set();
    this.#dirty = false;
    this.#saving = this.#backend
      .save({
        head: this.#head(),
        changed: new Map([...changed].map((key) => [key, this.#objects.get(key)])),
        objects: () => this.all(),
      })
      .then(() => {
        this.#failure = undefined;
      })
      .catch((error: unknown) => {
        for (const key of changed) this.#changed.add(key);
        this.#failure = error;
        this.onFailure(error);
        this.#saveSoon();
      })
      .finally(() => {
        this.#saving = undefined;
        this.#lastSaveMs = this.#clock.monotonic() - began;
      });
    return this.#saving;
  }

  #head(): InventoryHead {
    return {
      version: 1,
      owner: this.#owner,
      ...(this.base !== undefined && { base: this.base }),
      connections: this.connections(),
    };
  }
}

function isSame(a: Owned, b: Owned): boolean {
  return (
    a.state === b.state &&
    a.intent === b.intent &&
    a.id === b.id &&
    a.adopted === b.adopted &&
    a.deletionPolicy === b.deletionPolicy &&
    a.suspended === b.suspended &&
    a.source === b.source &&
    resourceText(a.resource) === resourceText(b.resource) &&
    isEqual(a.detail ?? null, b.detail ?? null)
  );
}

function connectionKey(connection: RecordedConnection): string {
  return `${connection.kind}/${connection.name}`;
}
