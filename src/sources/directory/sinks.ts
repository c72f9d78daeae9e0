import { lstat } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import { isWithin } from './places.ts';
import { isRecord } from './plain.ts';
import type { RealPaths } from './real-paths.ts';

/** Where a spec says which file gets a secret. */
const SINK = 'spec.writeSecretTo.file.path';

/** Where a spec says what place a secret is written to, by the type of object that it is. */
export const SINKS: ReadonlyMap<string, string> = new Map([
  ['file', SINK],
  ['vault-kv-secret', 'spec.writeSecretTo.vaultKv.path'],
  ['nomad-variable', 'spec.writeSecretTo.nomadVariable.path'],
]);

/** What is wrong with the file that a secret shall be written to. @param root what a relative path must not leave. */
export async function sinkErrors(resource: Resource, root: string, real: RealPaths): Promise<ManifestError[]> {
  const path = sinkOf(resource.spec);
  if (path === undefined) return [];
  const message = malformed(path) ?? (await misplaced(path, resource.folder, root, real));
  return message === undefined ? [] : [{ ...resource.locate(SINK), path: SINK, message }];
}

function sinkOf(spec: unknown): string | undefined {
  const writeSecretTo = isRecord(spec) ? spec['writeSecretTo'] : undefined;
  const file = isRecord(writeSecretTo) ? writeSecretTo['file'] : undefined;
  const path = isRecord(file) ? file['path'] : undefined;
  return typeof path === 'string' ? path : undefined;
}

function malformed(path: string): string | undefined {
  if (path.includes('\0')) return 'must not hold a NUL character';
  if (path.startsWith('~')) return 'must not begin with "~", which only a shell understands: write the path out';
  if (/(^|\/)\.{0,2}$/.test(path)) return 'must name a file, not a folder';
  if (/\.(yaml|yml|json)$/i.test(path))
    return 'must not end in .yaml, .yml or .json: it would be taken for a manifest; call it .token or .secret';
  return undefined;
}

async function misplaced(path: string, folder: string, root: string, real: RealPaths): Promise<string | undefined> {
  const absolute = resolve(folder, path);
  if (!isAbsolute(path) && !(await staysWithin(absolute, root, real)))
    return `must not lead out of ${root}: write an absolute path if that is meant`;
  if (!(await real.folder(dirname(absolute))).exists) return undefined;
  const info = await lstat(absolute).catch(() => undefined);
  if (info === undefined || info.isFile()) return undefined;
  return 'exists already and is no regular file: remove it, or name another one';
}

async function staysWithin(path: string, root: string, real: RealPaths): Promise<boolean> {
  return isWithin(root, path) && isWithin((await real.folder(root)).path, await real.file(path));
}
