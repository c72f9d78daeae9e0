import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { manifest } from '../e2e/workspace.ts';

/** What every declared policy says; an update of all changes `read` to another capability. */
export const RULES = 'namespace "default" {\n  policy = "read"\n}\n';
/** Pairs in one file. */
const PAIRS = 10;

/** Manifests of `count` policies and as many tokens, each with its own policy and `more`. @returns their folder. */
export function declare(
  folder: string,
  count: number,
  rules = RULES,
  more: readonly string[] = [],
  prefix = 'bench',
): string {
  const manifests = join(folder, 'manifests');
  mkdirSync(manifests, { recursive: true });
  const text = `rules: |\n${rules.replace(/^(?=.)/gm, '  ')}`;
  for (let i = 0; i < count; i += PAIRS) {
    const documents: string[] = [];
    for (let j = i; j < Math.min(count, i + PAIRS); j++) {
      const name = `${prefix}-${String(j)}`;
      documents.push(
        manifest('AclPolicy', name, `description: number ${String(j)}\n${text}`),
        manifest('AclToken', name, `policies: [${[name, ...more].join(', ')}]\nwriteSecretTo: { none: {} }`),
      );
    }
    writeFileSync(join(manifests, `${String(i)}.yaml`), documents.join('---\n'));
  }
  return manifests;
}
