import { lstat, mkdir, open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { FileApi } from '../contract/target.ts';

/** A secret is short; a longer file is somebody else's. Bytes. */
const LONGEST = 64 * 1024;

/**
 * Secret files. Paths are relative to `base`, or absolute. A symlink in a file's place is never followed: whoever can
 * make one could have a secret written, or a file overwritten, elsewhere.
 */
export function fileSink(base: string): FileApi {
  return {
    read: (path) => reported('read', path, () => read(resolve(base, path))),
    write: (path, content) => reported('write', path, () => write(resolve(base, path), content)),
    remove: (path) => reported('remove', path, () => rm(resolve(base, path), { force: true })),
  };
}

async function read(path: string): Promise<{ content: string; mode: number } | undefined> {
  const stat = await lstat(path).catch(absent);
  if (stat === undefined) return undefined;
  if (!stat.isFile()) throw new Error('it is not a regular file: remove it, or name another path');
  if (stat.size > LONGEST) return { content: '', mode: stat.mode & 0o777 };
  const file = await open(path, 'r');
  try {
    return { content: await file.readFile('utf8'), mode: stat.mode & 0o777 };
  } finally {
    await file.close();
  }
}

/** Not synced to disk: a secret that a power failure takes can be read back from Nomad. */
async function write(path: string, content: string): Promise<void> {
  const stat = await lstat(path).catch(absent);
  if (stat !== undefined && !stat.isFile())
    throw new Error('it is not a regular file: remove it, or name another path');
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, content, { mode: 0o600, fsync: false });
}

function absent(error: unknown): undefined {
  const { code } = error as { code?: string };
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw error;
}

async function reported<T>(what: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new TargetError(`cannot ${what} the secret file ${path}: ${messageOf(error)}`, { class: 'terminal' });
  }
}
