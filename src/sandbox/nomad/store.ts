/** Numbered changes, as Raft gives them to Nomad's state store: every write takes the next index. */

export interface Indexed {
  CreateIndex: number;
  ModifyIndex: number;
}

export interface StoreEvent {
  readonly Topic: string;
  readonly Type: string;
  readonly Key: string;
  readonly Index: number;
  readonly Payload: unknown;
  readonly Namespace: '';
  /** By what else than its key an event is found. */
  readonly FilterKeys: readonly string[] | null;
}

/** Names of policies, roles and auth methods. */
export const NAME = /^[a-zA-Z0-9-]{1,128}$/;
/** How many events a late subscriber still gets (event_buffer_size). */
const BUFFER = 100;

export class Store {
  index = 10;
  /** Of the last event that the buffer has lost; 0 for none. */
  forgotten = 0;
  readonly events: StoreEvent[] = [];
  readonly #listeners = new Set<() => void>();

  /** Takes the next index and tells everybody who waits. */
  change(event: Pick<StoreEvent, 'Topic' | 'Type' | 'Key' | 'Payload' | 'FilterKeys'>): void {
    this.events.push({ ...event, Index: this.index, Namespace: '' });
    if (this.events.length > BUFFER) this.forgotten = this.events.shift()?.Index ?? 0;
    for (const listener of [...this.#listeners]) listener();
  }

  next(): number {
    return ++this.index;
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Objects of one type by their key. Remembers the index of its last change: what blocking queries wait for. */
export class Table<T extends Indexed> {
  readonly rows = new Map<string, T>();
  lastIndex: number;
  readonly #store: Store;
  readonly #topic: string;
  readonly #payload: (row: T) => unknown;
  readonly #filterKeys: (row: T) => string[] | null;

  constructor(
    store: Store,
    topic: string,
    payload: (row: T) => unknown,
    filterKeys: (row: T) => string[] | null = () => null,
  ) {
    this.#filterKeys = filterKeys;
    this.#store = store;
    this.#topic = topic;
    this.#payload = payload;
    this.lastIndex = store.index;
  }

  put(key: string, row: Omit<T, keyof Indexed>): T {
    const written = this.putUntold(key, row);
    this.#changed(key, `${this.#topic}Upserted`, written, written.ModifyIndex);
    return written;
  }

  /** A write that no event tells of. */
  putUntold(key: string, row: Omit<T, keyof Indexed>): T {
    const index = this.#store.next();
    const written = { ...row, CreateIndex: this.rows.get(key)?.CreateIndex ?? index, ModifyIndex: index } as T;
    this.rows.set(key, written);
    this.lastIndex = index;
    return written;
  }

  /** As `put`, but where the hash is the one that it was it changes nothing, though it takes an index. */
  putChanged(key: string, row: Omit<T, keyof Indexed> & { readonly Hash: string }): T {
    const old = this.rows.get(key) as (T & { readonly Hash?: string }) | undefined;
    if (old?.Hash !== row.Hash) return this.put(key, row);
    this.#store.next();
    return old;
  }

  /** Takes an index also where there is nothing to delete. */
  delete(key: string): void {
    const index = this.#store.next();
    const row = this.rows.get(key);
    if (row === undefined) return;
    this.rows.delete(key);
    this.#changed(key, `${this.#topic}Deleted`, row, index);
  }

  /** In the order of their keys, as Nomad's radix tree iterates. */
  sorted(prefix = ''): T[] {
    return [...this.rows.entries()]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, row]) => row);
  }

  #changed(key: string, type: string, row: T, index: number): void {
    this.lastIndex = index;
    this.#store.change({
      Topic: this.#topic,
      Type: type,
      Key: key,
      Payload: this.#payload(row),
      FilterKeys: this.#filterKeys(row),
    });
  }
}
