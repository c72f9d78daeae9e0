import { equal } from './equal.ts';
import { declare, isRecorded, withdraw, type Happenings } from './happening.ts';
import { onVault } from './others.ts';
import type { Simulation } from './simulation.ts';

const INTEGRATION = 'VaultJwtIntegration workloads';

interface IntegrationSpec {
  readonly jwksUrl: string;
  readonly supportedAlgs: readonly string[];
  readonly policies: readonly { readonly name: string; readonly rules: string }[];
  readonly roles: readonly {
    readonly name: string;
    readonly boundAudiences: string;
    readonly tokenPolicies: readonly string[];
    readonly tokenTtl?: number;
  }[];
}

export function integrationSpec(choice: number): IntegrationSpec {
  return {
    jwksUrl: 'http://nomad/.well-known/jwks.json',
    supportedAlgs: choice % 2 === 0 ? ['RS256'] : ['EdDSA', 'RS256'],
    policies: [
      { name: 'tasks', rules: `path "secret/{{accessor}}/${String(choice % 3)}" { capabilities = ["read"] }` },
    ],
    roles: [
      { name: 'tasks', boundAudiences: 'vault.io', tokenPolicies: ['tasks'], tokenTtl: 60 * (1 + (choice % 3)) },
      ...(choice % 4 === 0 ? [{ name: 'extra', boundAudiences: 'vault.io', tokenPolicies: ['tasks'] }] : []),
    ],
  };
}

export const integrationHappenings: Happenings = {
  editIntegration: (s, c) => {
    declare(s, { [INTEGRATION]: integrationSpec(c) });
  },
  removeIntegration: (s) => {
    withdraw(s, INTEGRATION);
  },
  foreignRoleEdit: (s) =>
    change(s, 'POST', 'auth/jwt-nomad/role/tasks', { role_type: 'jwt', user_claim: 'x', token_policies: ['root'] }),
  foreignRoleDelete: (s) => change(s, 'DELETE', 'auth/jwt-nomad/role/tasks'),
  foreignVaultPolicyEdit: (s) =>
    change(s, 'POST', 'sys/policies/acl/tasks', { policy: 'path "*" { capabilities = ["sudo"] }' }),
  foreignMountDelete: (s) => change(s, 'DELETE', 'sys/auth/jwt-nomad'),
};

/** Somebody changes what is there, and makes nothing new of that name: that would be theirs. */
async function change(s: Simulation, method: string, path: string, body?: unknown): Promise<void> {
  const { mounts, policies } = s.vault.snapshot() as VaultSnapshot;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const isThere = path.includes('/role/')
    ? mounts['jwt-nomad']?.roles[name]
    : path.includes('/auth/')
      ? mounts[name]
      : policies[name];
  if (isThere !== undefined && isRecorded(s, name)) await onVault(s, method, path, body);
}

interface VaultSnapshot {
  readonly mounts: Readonly<
    Record<string, { accessor: string; config: unknown; roles: Record<string, Record<string, unknown>> }>
  >;
  readonly policies: Readonly<Record<string, string>>;
}

/** The policies of Vault, by name. */
export function vaultPolicies(s: Simulation): VaultSnapshot['policies'] {
  return (s.vault.snapshot() as VaultSnapshot).policies;
}

/** The declared integration, or nothing of it. */
export function checkIntegration(s: Simulation): void {
  const { mounts, policies } = s.vault.snapshot() as VaultSnapshot;
  const spec = s.declaration[INTEGRATION] as IntegrationSpec | undefined;
  const mount = mounts['jwt-nomad'];
  equal('whether there is a mount', mount !== undefined, spec !== undefined);
  if (spec === undefined || mount === undefined) {
    equal('policies on Vault', Object.keys(policies).sort(), ['default', 'foreign']);
    return;
  }
  equal('the algorithms', (mount.config as { jwt_supported_algs: string[] }).jwt_supported_algs, spec.supportedAlgs);
  equal('the policy', policies['tasks']?.trim(), spec.policies[0]?.rules.replace('{{accessor}}', mount.accessor));
  const roles = Object.entries(mount.roles).map(([name, role]) => [
    name,
    role['token_ttl'],
    role['user_claim'],
    role['token_policies'],
  ]);
  equal(
    'the roles',
    sorted(roles),
    sorted(spec.roles.map((role) => [role.name, role.tokenTtl ?? 0, '/nomad_job_id', ['tasks']])),
  );
}

function sorted<T>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
