import { stat } from 'node:fs/promises';
import { dirname, relative, resolve, sep } from 'node:path';
import { UsageError } from '../contract/errors.ts';
import { STATE_FILE } from '../state/file.ts';

/** Options that every command on manifests and servers has. */
export interface ManifestOptions {
  readonly file?: readonly string[] | undefined;
  readonly state?: string | undefined;
  readonly owner: string;
  readonly allowAddress?: readonly string[] | undefined;
  readonly acceptAddressChange?: readonly string[] | undefined;
}

/** What an installation is called that nobody gave a name. */
export const DEFAULT_OWNER = 'default';

/** Which manifests are read. The owner makes none of them valid or not: it is part of what live objects are called. */
export type Reading = Pick<ManifestOptions, 'file'> & Partial<Pick<ManifestOptions, 'owner'>>;

/** Where the inventory is: a file (absolute), or Nomad Variables below a path. */
export type StatePlace =
  | { readonly in: 'file'; readonly path: string }
  | { readonly in: 'nomad'; readonly path: string; readonly namespace: string };

/** Where things lie. */
export interface Places {
  /** As given to -f. */
  readonly paths: readonly string[];
  readonly state: StatePlace;
  /** Folder that the inventory's paths are relative to; absolute. */
  readonly base: string;
  /** Whether that is not the folder of the inventory itself, which has to remember it then. */
  readonly isBaseApart: boolean;
}

/** For messages. */
export function placeText(state: StatePlace): string {
  return state.in === 'file' ? state.path : `nomad:${state.path}`;
}

/** @throws UsageError where the inventory's place can't be told. */
export async function placesOf(options: ManifestOptions, cwd: string): Promise<Places> {
  const paths = options.file ?? [];
  const state = options.state === undefined ? await defaultState(paths, cwd) : statePlace(options.state, cwd);
  const folders = await Promise.all(paths.filter((path) => path !== '-').map((path) => folderOf(resolve(cwd, path))));
  const own = state.in === 'file' ? dirname(state.path) : undefined;
  if (own !== undefined && folders.every((folder) => isWithin(own, folder)))
    return { paths, state, base: own, isBaseApart: false };
  // Another checkout of the same manifests, elsewhere, then calls them by the same names.
  const base = folders.length === 1 && folders[0] !== undefined ? folders[0] : cwd;
  return { paths, state, base, isBaseApart: true };
}

const NOMAD = /^nomad:(?<path>[^?]+)(?:\?namespace=(?<namespace>[^&]+))?$/;

function statePlace(text: string, cwd: string): StatePlace {
  if (!text.startsWith('nomad:')) return { in: 'file', path: resolve(cwd, text) };
  const { path, namespace = 'default' } = NOMAD.exec(text)?.groups ?? {};
  if (path === undefined)
    throw new UsageError(
      `--state ${text}: write nomad:PATH or nomad:PATH?namespace=NAME, such as nomad:nomad-access/default`,
    );
  return { in: 'nomad', path, namespace };
}

/** Beside the manifests, if there is one folder of them. */
async function defaultState(paths: readonly string[], cwd: string): Promise<StatePlace> {
  const [first] = paths;
  if (first === undefined || first === '-' || paths.length > 1) {
    throw new UsageError(
      'where is the inventory? Give --state PATH (it is found by itself only with a single -f FOLDER or FILE)',
    );
  }
  const path = resolve(cwd, first);
  if ((await stat(path).catch(() => undefined)) === undefined)
    throw new UsageError(`${first}: there is no such file or folder`);
  return { in: 'file', path: resolve(await folderOf(path), STATE_FILE) };
}

/** The folder itself, or the one that holds the file. */
async function folderOf(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() === true ? dirname(path) : path;
}

function isWithin(folder: string, path: string): boolean {
  const name = relative(folder, path);
  return name !== '..' && !name.startsWith(`..${sep}`);
}

/** How the inventory writes a path: relative to its folder where it lies below it, with slashes. */
export function pathNameIn(base: string): (absolute: string) => string {
  return (absolute) => (isWithin(base, absolute) ? relative(base, absolute).split(sep).join('/') || '.' : absolute);
}

/** Whether a source lies under one of the roots that were given. */
export function under(roots: readonly string[]): (source: string) => boolean {
  return (source) => roots.some((root) => root === '.' || source === root || source.startsWith(`${root}/`));
}
