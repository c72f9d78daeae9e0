import type { AnyKind } from '../contract/kind.ts';

/** A list of resources, in a rule of a role, that begins with one of the managed kinds. */
const LIST = /^( *)resources:(?: \[acl[a-z/, ]*\]|(?:\n *- (?:acl|vaultjwt|vaultnomad)[a-z/]*)+)$/gm;

/** A file of roles with every managed kind in its rules, where it names some of them now. */
export function withKinds(roles: string, kinds: readonly AnyKind[]): string {
  const plurals = kinds
    .filter(({ scope }) => scope === 'Namespaced')
    .map(({ plural }) => plural)
    .sort();
  return roles.replaceAll(LIST, (list: string, indent: string) => {
    const part = list.includes('/status') ? '/status' : '';
    return `${indent}resources:${plurals.map((plural) => `\n${indent}  - ${plural}${part}`).join('')}`;
  });
}
