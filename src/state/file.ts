import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import writeFileAtomic from 'write-file-atomic';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Inventory, InventoryChange, InventoryHead, StateBackend } from '../contract/state.ts';
import { keyText, type Owned } from '../plan/step.ts';
import { canonical } from '../plan/value.ts';
import { lockFile } from './file-lock.ts';
import { changeSchema, firstIssue, inventorySchema } from './inventory.ts';

export const STATE_FILE = '.nomad-access.state.json';

/** What saves append before the file is written anew: so much for each byte of the whole, and at least that many. */
const GROWTH = { times: 4, bytes: 1 << 20 };

/**
 * The inventory as a file beside the manifests, with a lock file beside it while somebody writes.
 *
 * Its first line is a whole inventory in JSON; each further line is what one save changed, so that a save costs what it
 * changes, and not what there is. Each process begins with a whole one, and the file is written anew when it has grown.
 */
export function fileState(path: string): StateBackend {
  const file = new InventoryFile(path);
  return {
    location: path,
    load: () => load(path),
    save: (change) => file.save(change),
    lock: (wait) => lockFile(path, wait),
  };
}

/** What an inventory file says. A last line that is not whole is a save that did not return. @throws UsageError */
export function parseInventory(path: string, content: string): Inventory {
  const [first = '', ...lines] = content.split('\n');
  const json = jsonIn(first);
  // A person may have formatted it.
  if (json === undefined) return wholeIn(path, parseJson(path, content));
  lines.pop();
  const whole = wholeIn(path, json);
  return lines.length === 0 ? whole : changed(path, whole, lines);
}

/** @returns undefined for what is no JSON. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function changed(path: string, inventory: Inventory, lines: readonly string[]): Inventory {
  const objects = new Map(inventory.objects.map((object) => [keyText(object.key), object]));
  let head: InventoryHead = inventory;
  for (const [i, line] of lines.entries()) {
    const where = `${path}, line ${String(i + 2)},`;
    const parsed = changeSchema.safeParse(parseJson(where, line));
    if (!parsed.success) throw unusable(`${where} is no change of an inventory (${firstIssue(parsed.error)})`);
    for (const key of parsed.data.gone) objects.delete(key);
    for (const object of parsed.data.set as Owned[]) objects.set(keyText(object.key), object);
    head = parsed.data.head ?? head;
  }
  return { ...head, objects: [...objects.values()] };
}

function wholeIn(path: string, json: unknown): Inventory {
  if (isNewer(json)) throw new UsageError(`${path} was written by a newer version: upgrade nomad-access`);
  const parsed = inventorySchema.safeParse(json);
  if (parsed.success) return parsed.data as Inventory;
  throw unusable(`${path} is no inventory (${firstIssue(parsed.error)})`);
}

function isNewer(json: unknown): boolean {
  const version = (json as { version?: unknown } | null)?.version;
  return typeof version === 'number' && version > 1;
}

function parseJson(where: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unusable(`${where} is not JSON (${messageOf(error)})`);
  }
}

function unusable(what: string): UsageError {
  return new UsageError(`${what}; restore it from a backup, or remove it to begin anew`);
}

async function load(path: string): Promise<Inventory | undefined> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new UsageError(`cannot read the inventory ${path}: ${messageOf(error)}`);
  });
  return content === undefined ? undefined : parseInventory(path, content);
}

/** The file as we left it: bytes of its first line, and of all of it. */
interface Written {
  readonly whole: number;
  readonly all: number;
  readonly head: string;
}

/** The file as this process writes it. */
class InventoryFile {
  readonly #path: string;
  /** Undefined where the next save writes it anew. */
  #written: Written | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async save(change: InventoryChange): Promise<void> {
    const head = canonical(change.head as never);
    const written = this.#written;
    const line = written && lineOf(change, head !== written.head);
    try {
      if (written !== undefined && line !== undefined && !isGrown(written, line)) {
        if (await this.#append(line, head, written)) return;
      }
      await this.#rewrite(wholeOf(change), head);
    } catch (error) {
      this.#written = undefined;
      throw new UsageError(
        `cannot write the inventory ${this.#path}: ${messageOf(error)}; name another place with --state`,
      );
    }
  }

  async #rewrite(text: string, head: string): Promise<void> {
    await writeFileAtomic(this.#path, text, { mode: 0o600 });
    const bytes = Buffer.byteLength(text);
    this.#written = { whole: bytes, all: bytes, head };
  }

  /** @returns false where the file is not as we left it. */
  async #append(line: string, head: string, written: Written): Promise<boolean> {
    const file = await open(this.#path, constants.O_WRONLY | constants.O_APPEND).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) return false;
    try {
      if ((await file.stat()).size !== written.all) return false;
      await file.appendFile(line);
      await file.datasync();
    } finally {
      await file.close();
    }
    this.#written = { ...written, all: written.all + Buffer.byteLength(line), head };
    return true;
  }
}

function isGrown({ all, whole }: Written, line: string): boolean {
  return all + line.length > whole * (1 + GROWTH.times) + GROWTH.bytes;
}

function wholeOf({ head, objects }: InventoryChange): string {
  return `${JSON.stringify({ ...head, objects: objects() })}\n`;
}

function lineOf({ head, changed }: InventoryChange, isHeadNew: boolean): string {
  const set = [...changed.values()].filter((object) => object !== undefined);
  const gone = [...changed].filter(([, object]) => object === undefined).map(([key]) => key);
  return `${JSON.stringify({ ...(isHeadNew && { head }), set, gone })}\n`;
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
