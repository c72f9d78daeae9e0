/** In the order of their live names, so that two imports of one cluster give the same files. */
export function byLiveName<T extends { readonly liveName: string; readonly distinction?: string }>(
  found: readonly T[],
): T[] {
  const key = ({ liveName, distinction = '' }: T): string => `${liveName}\0${distinction}`;
  return [...found].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
