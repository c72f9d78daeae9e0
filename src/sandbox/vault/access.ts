/** A simplified form of Vault's ACLs: paths with globs, capabilities, and templates of one identity. */

export interface Identity {
  /** Accessor of the mount that the alias belongs to. */
  readonly accessor: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export type Capability = 'create' | 'read' | 'update' | 'delete' | 'list' | 'sudo';

interface Rule {
  readonly path: string;
  readonly capabilities: readonly string[];
}

/** Whether the policies allow it. The longest path that matches decides. */
export function allows(
  policies: readonly string[],
  path: string,
  capability: Capability,
  identity: Identity | undefined,
): boolean {
  const rules = policies.flatMap((policy) => rulesOf(render(policy, identity)));
  const matching = rules.filter((rule) => matches(rule.path, path)).sort((a, b) => b.path.length - a.path.length);
  const decisive = matching.filter((rule) => rule.path === matching[0]?.path);
  if (decisive.some((rule) => rule.capabilities.includes('deny'))) return false;
  return decisive.some((rule) => rule.capabilities.includes(capability));
}

const CAPABILITIES = [
  'create',
  'read',
  'update',
  'patch',
  'delete',
  'list',
  'sudo',
  'deny',
  'root',
  'subscribe',
  'recover',
];

/** @returns what is wrong with the first rule that names a capability which there is not. */
export function wrongCapability(policy: string): string | undefined {
  for (const { path, capabilities } of rulesOf(policy)) {
    const wrong = capabilities.find((capability) => !CAPABILITIES.includes(capability));
    if (wrong !== undefined) return `path "${path}": invalid capability "${wrong}"`;
  }
  return undefined;
}

/** What a template names and the identity does not have becomes nothing that matches. */
function render(policy: string, identity: Identity | undefined): string {
  return policy.replace(
    /\{\{identity\.entity\.aliases\.([^.]+)\.metadata\.([^}]+)\}\}/g,
    (_all, accessor: string, key: string) =>
      accessor === identity?.accessor ? (identity.metadata[key] ?? '\0') : '\0',
  );
}

function rulesOf(policy: string): Rule[] {
  return [...policy.matchAll(/path\s+"([^"]*)"\s*\{([^}]*)\}/g)].map(([, path = '', body = '']) => ({
    path,
    capabilities: [...(/capabilities\s*=\s*\[([^\]]*)\]/.exec(body)?.[1] ?? '').matchAll(/"([^"]+)"/g)].map(
      (m) => m[1] ?? '',
    ),
  }));
}

function matches(pattern: string, path: string): boolean {
  const isPrefix = pattern.endsWith('*');
  const parts = (isPrefix ? pattern.slice(0, -1) : pattern)
    .split('+')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^/]+')}${isPrefix ? '.*' : '/?'}$`).test(path);
}
