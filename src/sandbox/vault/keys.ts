import { missing } from './errors.ts';

/** @returns what a list of a folder answers: its names, folders with a slash at their end. @throws VaultError where it is empty. */
export function keysBelow(paths: readonly string[], folder: string): { readonly keys: string[] } {
  const prefix = folder === '' ? '' : `${folder}/`;
  const below = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
  const keys = new Set(below.map((path) => (path.includes('/') ? `${path.split('/')[0] ?? ''}/` : path)));
  if (keys.size === 0) throw missing();
  return { keys: [...keys].sort() };
}
