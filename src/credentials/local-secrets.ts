import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { messageOf, TargetError } from '../contract/errors.ts';
import { SECRET_VARIABLE_PREFIX, type SecretPlace, type SecretSourceApi } from '../contract/target.ts';
import { noSecret, SECRET_BYTES, secretText } from './secret-text.ts';

/**
 * Secrets on the machine that runs us. Manifests may be written by people who may not see them, and say to which server
 * they go: so only files below the manifest's folder are read, whatever links lead there, and only variables whose name
 * says that they are meant.
 */
export function localSecrets(env: Readonly<Record<string, string | undefined>>): SecretSourceApi {
  return {
    async read(place) {
      if (place.from === 'variable') return variable(place.name, env);
      if (place.from === 'file') return file(place);
      throw noSecret(`Secret ${place.namespace}/${place.name} can only be read with --source kubernetes`);
    },
  };
}

function variable(name: string, env: Readonly<Record<string, string | undefined>>): string {
  const where = `the environment variable ${name}`;
  if (!name.startsWith(SECRET_VARIABLE_PREFIX))
    throw noSecret(`${where} is none that may be sent: its name must begin with ${SECRET_VARIABLE_PREFIX}`);
  const content = env[name];
  if (content === undefined) throw noSecret(`${where} is not set: it must hold the secret`);
  return secretText(Buffer.from(content), where);
}

async function file({ folder, path }: Extract<SecretPlace, { from: 'file' }>): Promise<string> {
  const where = `file ${resolve(folder, path)}`;
  try {
    const [root, real] = await Promise.all([realpath(folder), realpath(resolve(folder, path))]);
    if (!isBelow(root, real)) throw noSecret(`${where} leads out of the manifest's folder, and is not sent`);
    return secretText(await contentOf(real, where), where);
  } catch (error) {
    if (error instanceof TargetError) throw error;
    throw noSecret(`${where} can't be read: ${messageOf(error)}`);
  }
}

/** Nothing waits for the other end of a pipe. */
async function contentOf(path: string, where: string): Promise<Uint8Array> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw noSecret(`${where} is no regular file`);
    if (info.size > SECRET_BYTES) throw noSecret(`${where} is longer than ${String(SECRET_BYTES)} bytes`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
