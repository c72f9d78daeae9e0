import { readFile, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { StateLock } from '../contract/state.ts';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
}

/** How often a lock that somebody else holds is looked at again; milliseconds. */
const LOOK_AGAIN_MS = 500;

/**
 * A lock file beside the inventory, named after it, while somebody writes.
 * @throws UsageError that names the holder, where there is one and it is not waited for.
 */
export async function lockFile(path: string, wait?: AbortSignal): Promise<StateLock> {
  const lockPath = `${path}.lock`;
  for (;;) {
    const refusal = await take(lockPath);
    if (refusal === undefined) break;
    if (wait === undefined) throw refusal;
    await sleep(LOOK_AGAIN_MS, undefined, { signal: wait });
  }
  return {
    isValid: () => true,
    lost: new AbortController().signal,
    release: () => unlink(lockPath).catch(() => undefined),
  };
}

/** @returns undefined once the lock is ours; an error that names who holds it where that one may be alive. */
async function take(lockPath: string): Promise<UsageError | undefined> {
  while (!(await create(lockPath))) {
    const content = await contentOf(lockPath);
    if (content === undefined) continue;
    const holder = parseHolder(content);
    if (holder === undefined || !isDead(holder)) return heldBy(holder, lockPath);
    const refusal = await removeStale(lockPath, content);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** @returns false where there is one already. */
async function create(lockPath: string): Promise<boolean> {
  const holder: Holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  try {
    await writeFile(lockPath, JSON.stringify(holder), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'EEXIST') return false;
    throw new UsageError(`cannot lock the inventory: ${messageOf(error)}; name another place with --state`);
  }
}

/** @returns undefined where it is gone by now; an empty text where it can't be read. */
async function contentOf(lockPath: string): Promise<string | undefined> {
  return readFile(lockPath, 'utf8').catch((error: unknown) =>
    (error as { code?: string }).code === 'ENOENT' ? undefined : '',
  );
}

/**
 * Removes the lock of a process that has died, unless another process has done so: between a look at a file and its removal
 * somebody else's fresh lock may have come into its place, so that only who holds a second lock does both.
 */
async function removeStale(lockPath: string, content: string): Promise<UsageError | undefined> {
  const guard = `${lockPath}.takeover`;
  const refusal = await take(guard);
  if (refusal !== undefined) return refusal;
  try {
    if ((await contentOf(lockPath)) === content) await unlink(lockPath).catch(() => undefined);
  } finally {
    await unlink(guard).catch(() => undefined);
  }
  return undefined;
}

function heldBy(holder: Holder | undefined, lockPath: string): UsageError {
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

/** Only of processes on this machine can that be known. */
function isDead({ pid, host }: Holder): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code !== 'EPERM';
  }
}
