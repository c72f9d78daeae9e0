import { SECRET_VARIABLE_PREFIX } from '../contract/target.ts';

/** In the order of their live names, so that two imports of one cluster give the same files. */
export function byLiveName<T extends { readonly liveName: string; readonly distinction?: string }>(
  found: readonly T[],
): T[] {
  const key = ({ liveName, distinction = '' }: T): string => `${liveName}\0${distinction}`;
  return [...found].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Names the variable that holds a secret of an imported object: each secret has one of its own. */
export function secretVariable(...parts: readonly (string | undefined)[]): string {
  const name = parts.filter((part) => part !== undefined).join('_');
  return SECRET_VARIABLE_PREFIX + name.replace(/[^A-Za-z0-9]+/g, '_').toUpperCase();
}
