import { randomUUID } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { TokenPlace } from '../contract/credential.ts';
import { messageOf, TargetError } from '../contract/errors.ts';
import { privateFolder } from '../contract/private-folder.ts';
import { textIn } from './credential-text.ts';

/** A file that holds a token and a newline, for its owner's eyes only. @param path absolute */
export function tokenFile(path: string): TokenPlace {
  return {
    name: path,
    read: () => reported('read', path, () => read(path)),
    create: (token) => reported('create', path, () => create(path, `${token}\n`)),
  };
}

async function read(path: string): Promise<string | undefined> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (content === undefined) return undefined;
  const found = textIn(content, path, 'token');
  if ('text' in found) return found.text;
  throw new TargetError(`${found.trouble.error}; remove it to have one made`, { class: 'denied' });
}

/**
 * Written and synced under another name, and given its own by a hard link, which never replaces a file: whoever sees it sees
 * all of it, and after a power failure as well.
 */
async function create(path: string, content: string): Promise<boolean> {
  const folder = dirname(path);
  await privateFolder(folder);
  const unfinished = join(folder, `.${basename(path)}.${randomUUID().slice(0, 8)}.nomad-access-unfinished`);
  try {
    await writeSynced(unfinished, content);
    await link(unfinished, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(unfinished, { force: true });
  }
  const handle = await open(folder, 'r');
  // Some file systems sync no folders.
  await handle.sync().catch(() => undefined);
  await handle.close();
  return true;
}

async function writeSynced(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function reported<T>(what: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof TargetError) throw error;
    throw new TargetError(`cannot ${what} the token file ${path}: ${messageOf(error)}`, { class: 'denied' });
  }
}
