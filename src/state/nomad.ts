import { randomUUID } from 'node:crypto';
import pLimit from 'p-limit';
import { UsageError } from '../contract/errors.ts';
import type { Inventory, InventoryChange, InventoryHead, StateBackend } from '../contract/state.ts';
import {
  VARIABLE_BYTES,
  VARIABLE_PATH,
  type Variable,
  type VariablePlace,
  type VariablesApi,
} from '../contract/variables.ts';
import { keyText, type Owned } from '../plan/step.ts';
import { systemClock, type Waiting } from '../contract/clock.ts';
import { entrySchema, firstIssue, headSchema } from './inventory.ts';
import { all, REQUESTS, saveInOrder } from './save-order.ts';
import { DEPTH, hashOf, ShardTree } from './shard-tree.ts';
import { decode, encode, notOurs } from './variable-content.ts';
import { lockVariable, lockTimes } from './variable-lock.ts';
import { VariableWriter } from './variable-write.ts';

export interface NomadStateOptions {
  readonly api: VariablesApi;
  /** Path under which the variables are: `nomad-access/default`. */
  readonly path: string;
  readonly namespace: string;
  /** Within which another one takes over after the last sign of life of the holder; at least 23. Default 25. */
  readonly lockTtlSeconds?: number;
  /** Who we are, for messages: host and process. */
  readonly holder: string;
  readonly clock?: Waiting;
}

const DEFAULT_LOCK_TTL = 25;
/** A shard whose content has more characters is split; small, because each write of one of its objects writes all of it. */
const SPLIT = 16_384;
/** JSON that is longer is split without trying how far it shrinks; gzip makes about a seventh of entries. */
const CERTAINLY_LARGE = 16 * SPLIT;
/** Room for the other items of a variable, beside its content. */
const ROOM = 1024;
/** How often a load begins anew because a shard that was listed is gone when it is read. */
const LOADS = 5;

/**
 * The inventory in Nomad Variables under one path: `head` (owner and connections), `objects` and below (shards of objects),
 * `lock`.
 *
 * Guarantees: an object is stored by one check-and-set write of its shard. When `save` has resolved, everything that changed
 * is stored. When it threw, or the process died in it, `load` gives the old or the new entry of each object, and connections
 * of both; what was not stored is written by the next save, whatever that one changes. A variable that somebody else changed
 * is never overwritten.
 *
 * @throws UsageError for a path that Nomad does not take, or a lock time that it can't keep.
 */
export function nomadState(options: NomadStateOptions): StateBackend {
  const { api, path, namespace, holder, clock = systemClock, lockTtlSeconds = DEFAULT_LOCK_TTL } = options;
  checkPath(path);
  const times = lockTimes(lockTtlSeconds);
  const location = `nomad:${path}${namespace === 'default' ? '' : ` (namespace ${namespace})`}`;
  const store = new VariableStore({ api, path, namespace, holder, clock, location });
  return {
    location,
    load: () => store.load(),
    save: (change) => store.save(change),
    lock: (wait) =>
      lockVariable({ api, place: { namespace, path: `${path}/lock` }, holder, clock, times, location }, wait),
  };
}

function checkPath(path: string): void {
  const longest = `${path}/objects/${'0'.repeat(DEPTH)}`;
  const isOrderly = path.split('/').every((part) => part !== '');
  if (isOrderly && VARIABLE_PATH.test(longest) && !/^nomad(\/|$)/.test(path)) return;
  throw new UsageError(
    `${JSON.stringify(path)} is no path for an inventory: letters, digits, -, _, ~ and single / between them, at most ${String(128 - longest.length + path.length)} characters, and not below nomad/`,
  );
}

interface StoreOptions extends Required<Pick<NomadStateOptions, 'api' | 'path' | 'namespace' | 'holder' | 'clock'>> {
  readonly location: string;
}

class VariableStore {
  readonly #options: StoreOptions;
  readonly #writer: VariableWriter;
  #tree: ShardTree | undefined;
  /** What the head holds, as far as we know; its index is 0 before the first save. */
  #head: { readonly index: number; readonly content: InventoryHead | undefined } = { index: 0, content: undefined };

  constructor(options: StoreOptions) {
    this.#options = options;
    const { api, clock, holder } = options;
    this.#writer = new VariableWriter({ api, clock, writer: `${holder} ${randomUUID()}` });
  }

  async load(): Promise<Inventory | undefined> {
    for (let attempt = 1; attempt <= LOADS; attempt++) {
      const variables = await this.#readAll();
      if (variables !== undefined) return this.#take(variables);
    }
    throw new UsageError(`the inventory ${this.#options.location} changes faster than it can be read; try again`);
  }

  /** @returns variables by their path below ours; undefined where one of them was removed meanwhile: it has been split. */
  async #readAll(): Promise<Map<string, Variable> | undefined> {
    const { api, namespace, path } = this.#options;
    const names = (await api.list(namespace, `${path}/`)).map((p) => p.slice(path.length + 1)).filter(isPart);
    const limit = pLimit(REQUESTS);
    const read = await Promise.all(
      names.map((name) => limit(async () => [name, await api.read(this.#place(name))] as const)),
    );
    const found = read.filter((pair): pair is readonly [string, Variable] => pair[1] !== undefined);
    return found.length === names.length ? new Map(found) : undefined;
  }

  async #take(variables: ReadonlyMap<string, Variable>): Promise<Inventory | undefined> {
    const tree = new ShardTree();
    for (const [name, { modifyIndex }] of variables) {
      if (name !== 'head')
        tree.add(prefixIn(name), { objects: new Map(), index: modifyIndex, dirty: false, sent: true });
    }
    for (const [name, variable] of variables) {
      if (name === 'head') continue;
      const prefix = prefixIn(name);
      for (const entry of await this.#entries(name, variable)) {
        const key = keyText(entry.key);
        if (tree.find(hashOf(key)) === prefix) tree.get(prefix)?.objects.set(key, entry);
      }
    }
    const head = variables.get('head');
    if (head === undefined && variables.size > 0)
      throw new UsageError(
        `the Nomad variable ${this.#place('head').path} is missing although there are objects; restore it from a backup, or name another path with --state`,
      );
    const content = head && (await this.#headOf(head));
    this.#tree = tree;
    this.#head = { index: head?.modifyIndex ?? 0, content };
    return content && { ...content, objects: tree.objects() };
  }

  async #entries(name: string, variable: Variable): Promise<readonly Owned[]> {
    const { path } = this.#place(name);
    const parsed = entrySchema.array().safeParse(await decode(variable, path));
    if (parsed.success) return parsed.data as Owned[];
    throw notOurs(path, firstIssue(parsed.error));
  }

  async #headOf(variable: Variable): Promise<InventoryHead> {
    const { path } = this.#place('head');
    const parsed = headSchema.safeParse(await decode(variable, path));
    if (parsed.success) return parsed.data;
    throw notOurs(path, firstIssue(parsed.error));
  }

  async save({ head, changed, objects }: InventoryChange): Promise<void> {
    const whole = this.#head.content === undefined ? objects() : [];
    if (this.#tree === undefined) await this.load();
    const tree = this.#tree ?? new ShardTree();
    if (this.#head.content === undefined) for (const object of whole) tree.set(keyText(object.key), object);
    for (const [key, object] of changed) tree.set(key, object);
    const contents = await fitting(tree);
    const writes = [...contents].map(
      ([prefix, content]) =>
        () =>
          this.#write(tree, prefix, content),
    );
    await saveInOrder(this.#head.content, head, (wanted) => this.#saveHead(wanted), writes);
    await all(tree.covered().map((prefix) => () => this.#remove(tree, prefix)));
  }

  async #saveHead(head: InventoryHead): Promise<void> {
    const content = await encode(JSON.stringify(head));
    if (content.length > VARIABLE_BYTES - ROOM)
      throw new UsageError(
        `${String(head.connections.length)} connections are more than a Nomad variable can hold; leave certificates to files (tls.caFile)`,
      );
    this.#head = { index: await this.#writer.put(this.#place('head'), content, this.#head.index), content: head };
  }

  async #write(tree: ShardTree, prefix: string, content: string): Promise<void> {
    const shard = tree.get(prefix);
    if (shard === undefined) return;
    shard.sent = true;
    shard.index = await this.#writer.put(this.#place(nameOf(prefix)), content, shard.index);
    shard.dirty = false;
  }

  async #remove(tree: ShardTree, prefix: string): Promise<void> {
    const place = this.#place(nameOf(prefix));
    const shard = tree.get(prefix);
    if (shard !== undefined && shard.sent) await this.#writer.remove(place, shard.index);
    tree.remove(prefix);
  }

  #place(name: string): VariablePlace {
    const { namespace, path } = this.#options;
    return { namespace, path: `${path}/${name}` };
  }
}

/** What is to be written, by prefix; what is too large has been split. */
async function fitting(tree: ShardTree): Promise<ReadonlyMap<string, string>> {
  const contents = new Map<string, string>();
  for (;;) {
    const waiting = tree.dirty().filter((prefix) => !contents.has(prefix));
    if (waiting.length === 0) return contents;
    for (const prefix of waiting) {
      const content = await contentOf([...(tree.get(prefix)?.objects.values() ?? [])], prefix);
      if (content === undefined) tree.split(prefix);
      else contents.set(prefix, content);
    }
  }
}

/** @returns undefined where it is too large for one shard. */
async function contentOf(objects: readonly Owned[], prefix: string): Promise<string | undefined> {
  const canSplit = objects.length > 1 && prefix.length < DEPTH;
  const json = JSON.stringify(objects);
  if (canSplit && json.length > CERTAINLY_LARGE) return undefined;
  const content = await encode(json);
  if (canSplit && content.length > SPLIT) return undefined;
  if (content.length <= VARIABLE_BYTES - ROOM) return content;
  throw new UsageError(
    `${objects.map((o) => keyText(o.key)).join(', ')}: what the inventory must remember of it is more than a Nomad variable can hold`,
  );
}

const OBJECTS = 'objects';

function isPart(name: string): boolean {
  return name === 'head' || /^objects(\/[01]+)?$/.test(name);
}

function nameOf(prefix: string): string {
  return prefix === '' ? OBJECTS : `${OBJECTS}/${prefix}`;
}

function prefixIn(name: string): string {
  return name.slice(OBJECTS.length + 1);
}
