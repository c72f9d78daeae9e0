import { readFile, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import writeFileAtomic from 'write-file-atomic';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Inventory, StateBackend, StateLock } from '../contract/state.ts';
import { firstIssue, inventorySchema } from './inventory.ts';

export const STATE_FILE = '.nomad-access.state.json';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
}

/** The inventory as a JSON file beside the manifests, with a lock file beside it while somebody writes. */
export function fileState(path: string): StateBackend {
  return {
    location: path,
    load: () => load(path),
    save: (content) => save(path, content),
    lock: (wait) => lock(path, wait),
  };
}

async function load(path: string): Promise<Inventory | undefined> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw new UsageError(`cannot read the inventory ${path}: ${messageOf(error)}`);
  });
  if (content === undefined) return undefined;
  const json = parseJson(path, content);
  if (isNewer(json)) throw new UsageError(`${path} was written by a newer version: upgrade nomad-access`);
  const parsed = inventorySchema.safeParse(json);
  if (parsed.success) return parsed.data as Inventory;
  throw new UsageError(
    `${path} is no inventory (${firstIssue(parsed.error)}); restore it from a backup, or remove it to begin anew`,
  );
}

function isNewer(json: unknown): boolean {
  const version = (json as { version?: unknown } | null)?.version;
  return typeof version === 'number' && version > 1;
}

function parseJson(path: string, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new UsageError(
      `${path} is not JSON (${messageOf(error)}); restore it from a backup, or remove it to begin anew`,
    );
  }
}

async function save(path: string, content: Inventory): Promise<void> {
  try {
    await writeFileAtomic(path, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  } catch (error) {
    throw new UsageError(`cannot write the inventory ${path}: ${messageOf(error)}; name another place with --state`);
  }
}

/** How often a lock that somebody else holds is looked at again; milliseconds. */
const LOOK_AGAIN_MS = 500;

async function lock(path: string, wait?: AbortSignal): Promise<StateLock> {
  const lockPath = `${path}.lock`;
  const content = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
  } satisfies Holder);
  for (;;) {
    try {
      await writeFile(lockPath, content, { flag: 'wx', mode: 0o600 });
      return {
        isValid: () => true,
        lost: new AbortController().signal,
        release: () => unlink(lockPath).catch(() => undefined),
      };
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') {
        throw new UsageError(`cannot lock the inventory: ${messageOf(error)}; name another place with --state`);
      }
      const holder = await breakStaleLock(lockPath);
      if (holder !== undefined && wait === undefined) throw holder;
      if (holder !== undefined) await sleep(LOOK_AGAIN_MS, undefined, { signal: wait });
    }
  }
}

/** A lock whose process has died on this machine is removed. @returns an error where the holder may be alive. */
async function breakStaleLock(lockPath: string): Promise<UsageError | undefined> {
  const holder = await readFile(lockPath, 'utf8').then(parseHolder, () => undefined);
  if (holder?.host === hostname() && !isAlive(holder.pid)) {
    await unlink(lockPath).catch(() => undefined);
    return undefined;
  }
  const who =
    holder === undefined ? 'another process' : `process ${String(holder.pid)} on ${holder.host} since ${holder.since}`;
  return new UsageError(`the inventory is locked by ${who}: wait for it, or remove ${lockPath} if it is gone`);
}

function parseHolder(content: string): Holder | undefined {
  try {
    return JSON.parse(content) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
