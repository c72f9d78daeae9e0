import { createHash } from 'node:crypto';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Inventory, InventoryChange, InventoryHead, StateBackend } from '../contract/state.ts';
import { keyText, type Owned } from '../plan/step.ts';
import { canonical } from '../plan/value.ts';
import { collectionPath, type ConfigMap, type ConfigMapPlace, sizeOf, StoredConfigMap } from './config-map.ts';
import { entrySchema, firstIssue, headSchema } from './inventory.ts';
import { saveInOrder } from './save-order.ts';

/** Of a page, in bytes, before new entries go to another one: the API server writes all of it for each of them. */
const PAGE_BYTES = 65_536;
/** A page with no more in it is filled again: so there are at most about twice as many pages as needed. */
const SPARE_BYTES = PAGE_BYTES / 2;
/** Of one entry; a ConfigMap holds 1 MiB. */
const ENTRY_BYTES = 1 << 19;

const PART = 'nomad-access.io/inventory';
const HEAD = 'head';

/** `name` is the head's, pages are `<name>-1`, `<name>-2` and so on; all bear the `labels`. */
export interface ConfigMapsOptions extends ConfigMapPlace {
  /** For messages. */
  readonly location: string;
}

/**
 * The inventory in ConfigMaps: a head (owner and connections) and numbered pages of objects. In a page each object is a key
 * of its own, a digest of its `keyText`, with the entry in JSON as value; it stays in the page that it came to. So a save is
 * one patch for each page that changes, of what changes in it, and new entries go to the same page while it has room.
 *
 * Guarantees: an object is stored by one check-and-set write of its page. When `save` has resolved, everything that changed
 * is stored. When it threw, or the process died in it, `load` gives the old or the new entry of each object, and connections
 * of both. A ConfigMap that somebody else changed or made is never overwritten.
 */
export class ConfigMapStore implements Omit<StateBackend, 'location' | 'lock'> {
  readonly #options: ConfigMapsOptions;
  #isLoaded = false;
  #head: StoredConfigMap;
  /** What the head holds, as far as we know. */
  #content: InventoryHead | undefined;
  #pages: StoredConfigMap[] = [];
  #lastNumber = 0;
  /** Which page holds which object, by its digest. */
  readonly #where = new Map<string, StoredConfigMap>();
  /** To which new entries go. */
  #open: StoredConfigMap | undefined;

  constructor(options: ConfigMapsOptions) {
    this.#options = options;
    this.#head = new StoredConfigMap(this.#place(HEAD));
  }

  async load(): Promise<Inventory | undefined> {
    const { api, namespace, name, labels, location } = this.#options;
    const selector = [...Object.entries(labels).map(([label, value]) => `${label}=${value}`), PART].join(',');
    const found = await api.list<ConfigMap>({ path: collectionPath(namespace), labelSelector: selector });
    const head = found.find(({ metadata }) => metadata.name === name);
    const content = head && this.#headOf(head);
    const objects = this.#takePages(found);
    if (content === undefined && objects.length > 0)
      throw new UsageError(
        `the ConfigMap ${name} (namespace ${namespace}) of the inventory ${location} is missing although there are objects; restore it from a backup, or take another --owner`,
      );
    this.#head = new StoredConfigMap(this.#place(HEAD), head);
    this.#content = content;
    this.#isLoaded = true;
    return content && { ...content, objects };
  }

  async save({ head, changed, objects }: InventoryChange): Promise<void> {
    const whole = this.#content === undefined ? objects() : [];
    if (!this.#isLoaded) await this.load();
    const wanted = new Map<string, Owned | undefined>(changed);
    if (this.#content === undefined) for (const object of whole) wanted.set(keyText(object.key), object);
    this.#spread(wanted);
    const writes = this.#pages.filter((page) => page.isChanged).map((page) => () => page.write());
    await saveInOrder(this.#content, head, (content) => this.#saveHead(content), writes);
    for (const [key, object] of wanted) if (object === undefined) this.#where.delete(digestOf(key));
  }

  /** @returns what the pages hold. @throws UsageError where one of them can't be read. */
  #takePages(found: readonly ConfigMap[]): Owned[] {
    this.#pages = [];
    this.#where.clear();
    this.#open = undefined;
    this.#lastNumber = 0;
    const numbered = found.map((configMap) => ({ configMap, number: this.#numberOf(configMap) }));
    const objects: Owned[] = [];
    for (const { configMap, number } of numbered.sort((a, b) => a.number - b.number)) {
      if (number === 0) continue;
      const page = this.#addPage(number, configMap);
      for (const [digest, value] of page.data) {
        const entry = this.#entryOf(configMap, digest, value);
        // Only a request that outlived its process by far can have stored a second one.
        if (this.#where.has(digest)) page.set(digest, undefined);
        else objects.push(entry);
        if (!this.#where.has(digest)) this.#where.set(digest, page);
      }
    }
    return objects;
  }

  /** @returns 0 for what is no page of ours, whatever its labels say: the head, a copy that somebody keeps. */
  #numberOf({ metadata }: ConfigMap): number {
    const { name } = this.#options;
    const digits = metadata.name.startsWith(`${name}-`) ? metadata.name.slice(name.length + 1) : '';
    return /^[1-9]\d{0,8}$/.test(digits) ? Number(digits) : 0;
  }

  #addPage(number: number, found?: ConfigMap): StoredConfigMap {
    const page = new StoredConfigMap(this.#place('page', number), found);
    this.#pages.push(page);
    this.#lastNumber = number;
    return page;
  }

  /** Known objects change where they are, new ones go to the open page. */
  #spread(changed: ReadonlyMap<string, Owned | undefined>): void {
    const fresh = new Map<string, string>();
    for (const [key, object] of changed) {
      const digest = digestOf(key);
      const value = object && JSON.stringify(object);
      if (value !== undefined && value.length > ENTRY_BYTES)
        throw new UsageError(`${key}: what the inventory must remember of it is more than a ConfigMap can hold`);
      const page = this.#where.get(digest);
      if (page !== undefined) page.set(digest, value);
      else if (value !== undefined) fresh.set(digest, value);
    }
    let left = 0;
    for (const [digest, value] of fresh) left += sizeOf(digest, value);
    let room = 0;
    for (const [digest, value] of fresh) {
      const size = sizeOf(digest, value);
      if (this.#open === undefined || room < size) {
        this.#open = this.#pageFor(Math.min(left, PAGE_BYTES));
        room = PAGE_BYTES - this.#open.size;
      }
      this.#open.set(digest, value);
      this.#where.set(digest, this.#open);
      room -= size;
      left -= size;
    }
  }

  /** One that has room for all of it where that is little, so that it is one request. */
  #pageFor(size: number): StoredConfigMap {
    if (this.#open !== undefined && this.#open.size + size <= PAGE_BYTES) return this.#open;
    const spare = this.#pages.find((page) => page.size <= SPARE_BYTES);
    return spare ?? this.#addPage(this.#lastNumber + 1);
  }

  async #saveHead(content: InventoryHead): Promise<void> {
    this.#head.set(HEAD, canonical(content as never));
    await this.#head.write();
    this.#content = content;
  }

  #headOf(configMap: ConfigMap): InventoryHead {
    const json = this.#jsonIn(configMap, configMap.data?.[HEAD] ?? '');
    const version = (json as { version?: unknown } | null)?.version;
    if (typeof version === 'number' && version > 1)
      throw new UsageError(
        `the inventory ${this.#options.location} was written by a newer version: upgrade nomad-access`,
      );
    const parsed = headSchema.safeParse(json);
    if (parsed.success) return parsed.data;
    throw this.#unusable(configMap, firstIssue(parsed.error));
  }

  #entryOf(configMap: ConfigMap, digest: string, value: string): Owned {
    const parsed = entrySchema.safeParse(this.#jsonIn(configMap, value));
    if (!parsed.success) throw this.#unusable(configMap, `${digest}: ${firstIssue(parsed.error)}`);
    const entry = parsed.data as Owned;
    if (digestOf(keyText(entry.key)) === digest) return entry;
    throw this.#unusable(configMap, `${digest}: not the key of ${keyText(entry.key)}`);
  }

  #jsonIn(configMap: ConfigMap, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.#unusable(configMap, messageOf(error));
    }
  }

  #unusable({ metadata: { name } }: ConfigMap, why: string): UsageError {
    return new UsageError(
      `the ConfigMap ${name} (namespace ${this.#options.namespace}) is no part of an inventory (${why}); restore it from a backup, or take another --owner`,
    );
  }

  #place(part: 'head' | 'page', number?: number): ConfigMapPlace {
    const { name, labels } = this.#options;
    const suffix = number === undefined ? '' : `-${String(number)}`;
    return { ...this.#options, name: `${name}${suffix}`, labels: { ...labels, [PART]: part } };
  }
}

/** A key that a ConfigMap takes: 132 bits of a digest. It is part of the stored format: a change of it loses every object. */
function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 22);
}
