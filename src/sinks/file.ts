import { lstat, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { messageOf, TargetError } from '../contract/errors.ts';
import { privateFolder } from '../contract/private-folder.ts';
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
    remove: (path) => reported('remove', path, () => remove(resolve(base, path))),
    discard: (path) => reported('remove', path, () => rm(unfinishedName(resolve(base, path)), { force: true })),
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

/**
 * Written beside it and renamed. The other name is always the same, so that what a crash leaves there is replaced by the
 * next try and removed with the file. Not synced to disk: a secret that a power failure takes can be read back from Nomad.
 */
async function write(path: string, content: string): Promise<void> {
  const stat = await lstat(path).catch(absent);
  if (stat !== undefined && !stat.isFile())
    throw new Error('it is not a regular file: remove it, or name another path');
  await privateFolder(dirname(path));
  const unfinished = unfinishedName(path);
  await rm(unfinished, { force: true });
  await writeFile(unfinished, content, { flag: 'wx', mode: 0o600 });
  await rename(unfinished, path);
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(unfinishedName(path), { force: true });
}

function unfinishedName(path: string): string {
  return join(dirname(path), `.${basename(path)}.nomad-access-unfinished`);
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
