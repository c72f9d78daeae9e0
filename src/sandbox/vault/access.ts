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
  return capabilitiesOn(policies, path, identity).includes(capability);
}

/** @returns in the order of the alphabet; `deny` alone where there is none. */
export function capabilitiesOn(
  policies: readonly string[],
  path: string,
  identity: Identity | undefined,
): readonly string[] {
  const rules = policies.flatMap((policy) => rulesOf(render(policy, identity)));
  const matching = rules.filter((rule) => matches(rule.path, path)).sort((a, b) => b.path.length - a.path.length);
  const decisive = matching.filter((rule) => rule.path === matching[0]?.path);
  const capabilities = new Set(decisive.flatMap((rule) => rule.capabilities));
  return capabilities.size === 0 || capabilities.has('deny') ? ['deny'] : [...capabilities].sort();
}

/** Whether the policies allow anything below a mount. @param mount with the slash at its end. */
export function reachesInto(policies: readonly string[], mount: string): boolean {
  const within = ({ path, capabilities }: Rule): boolean =>
    !capabilities.includes('deny') &&
    (path.startsWith(mount) || (path.endsWith('*') && mount.startsWith(path.slice(0, -1))));
  return policies.flatMap((policy) => rulesOf(policy)).some(within);
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
