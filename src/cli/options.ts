import { stat } from 'node:fs/promises';
import { dirname, relative, resolve, sep } from 'node:path';
import { UsageError } from '../contract/errors.ts';
import { STATE_FILE } from '../state/file.ts';

/** Options that every command on manifests has. */
export interface ManifestOptions {
  readonly file?: readonly string[] | undefined;
  readonly state?: string | undefined;
  readonly owner: string;
  readonly allowAddress?: readonly string[] | undefined;
  readonly acceptAddressChange?: readonly string[] | undefined;
}

/** Where things lie on disk. */
export interface Places {
  /** As given to -f. */
  readonly paths: readonly string[];
  /** File of the inventory; absolute. */
  readonly state: string;
  /** Folder of the inventory, which its paths are relative to; absolute. */
  readonly base: string;
}

/** @throws UsageError where the inventory's place can't be told. */
export async function placesOf(options: ManifestOptions, cwd: string): Promise<Places> {
  const paths = options.file ?? [];
  const state = options.state === undefined ? await defaultState(paths, cwd) : resolve(cwd, options.state);
  return { paths, state, base: dirname(state) };
}

/** Beside the manifests, if there is one folder of them. */
async function defaultState(paths: readonly string[], cwd: string): Promise<string> {
  const [first] = paths;
  if (first === undefined || first === '-' || paths.length > 1) {
    throw new UsageError(
      'where is the inventory? Give --state PATH (it is found by itself only with a single -f FOLDER or FILE)',
    );
  }
  const path = resolve(cwd, first);
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new UsageError(`${first}: there is no such file or folder`);
  return resolve(info.isDirectory() ? path : dirname(path), STATE_FILE);
}

/** How the inventory writes a path: relative to its folder where it lies below it, with slashes. */
export function pathNameIn(base: string): (absolute: string) => string {
  return (absolute) => {
    const name = relative(base, absolute);
    return name === '..' || name.startsWith(`..${sep}`) ? absolute : name.split(sep).join('/') || '.';
  };
}

/** Whether a source lies under one of the roots that were given. */
export function under(roots: readonly string[]): (source: string) => boolean {
  return (source) => roots.some((root) => root === '.' || source === root || source.startsWith(`${root}/`));
}
