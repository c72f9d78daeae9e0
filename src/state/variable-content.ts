import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Variable } from '../contract/variables.ts';

/**
 * JSON in the items of a variable: `content` is its gzip in base64 (`base64 -d | gunzip` reads it), `writer` says which
 * process wrote it, so that a write whose reply was lost is known again.
 */

export const CONTENT = 'content';
export const WRITER = 'writer';

const zip = promisify(gzip);
const unzip = promisify(gunzip);

export async function encode(json: string): Promise<string> {
  return (await zip(json)).toString('base64');
}

/** @throws UsageError where somebody else wrote something else there. */
export async function decode(variable: Variable, where: string): Promise<unknown> {
  const content = variable.items[CONTENT];
  if (content === undefined) throw notOurs(where, `no item ${CONTENT}`);
  try {
    return JSON.parse((await unzip(Buffer.from(content, 'base64'))).toString('utf8'));
  } catch (error) {
    throw notOurs(where, messageOf(error));
  }
}

export function notOurs(where: string, why: string): UsageError {
  return new UsageError(
    `the Nomad variable ${where} is no part of an inventory (${why}); restore it from a backup, or name another path with --state`,
  );
}
