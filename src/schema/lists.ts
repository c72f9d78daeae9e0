import type { AnyKind } from '../contract/kind.ts';

/** A list of resources, in a rule of a role, that begins with one of the managed kinds. */
const RESOURCES = /^( *)resources:(?: \[acl[a-z/, ]*\]|(?:\n *- (?:acl|vaultjwt|vaultnomad)[a-z/]*)+)$/gm;
/** Argo CD's health checks that are the same as that of the first kind. */
const HEALTH = 'resource.customizations.health.nomad-access.io_';
const HEALTH_CHECKS = new RegExp(
  `^( *)${HEALTH.replaceAll('.', '\\.')}\\w+: \\*health(?:\\n *${HEALTH}\\w+: \\*health)*$`,
  'gm',
);

/** A file of roles or of health checks with every kind in its lists, where it names some of them now. */
export function withKinds(file: string, kinds: readonly AnyKind[]): string {
  const plurals = kinds
    .filter(({ scope }) => scope === 'Namespaced')
    .map(({ plural }) => plural)
    .sort();
  const later = kinds.filter(({ kind }) => !file.includes(`${HEALTH}${kind}: &health`));
  return file
    .replaceAll(RESOURCES, (list: string, indent: string) => {
      const part = list.includes('/status') ? '/status' : '';
      return `${indent}resources:${plurals.map((plural) => `\n${indent}  - ${plural}${part}`).join('')}`;
    })
    .replaceAll(HEALTH_CHECKS, (_list: string, indent: string) =>
      later.map(({ kind }) => `${indent}${HEALTH}${kind}: *health`).join('\n'),
    );
}
