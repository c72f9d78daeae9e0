import { policiesOf, rolesOf } from '../kinds/vault-jwt-integration/roles.ts';
import type { VaultJwtIntegrationSpec } from '../kinds/vault-jwt-integration/schema.ts';
import { problem, type Found, type VaultCheck, type VaultPatient } from './check.ts';
import { kvRights } from './kv-rights.ts';
import { declaredFor } from './mounts.ts';

/** `write` stands for create or update: which one Vault asks for depends on the engine and on what is there. */
type Needed = 'read' | 'write' | 'create' | 'update' | 'delete' | 'list' | 'sudo';

/** What the token must be able to do at a path. */
export interface Right {
  readonly path: string;
  readonly needed: readonly Needed[];
  /** The policy of ours that has it. */
  readonly example: string;
}

const right = (path: string, ...needed: Needed[]): Right => ({
  path,
  needed,
  example: 'manifests/vault/nomad-access.hcl',
});

/** As in manifests/vault/nomad-access.hcl, without what only makes plans more telling. */
function ofIntegration(spec: VaultJwtIntegrationSpec): Right[] {
  const { path } = spec;
  return [
    right('sys/auth', 'read'),
    right(`sys/auth/${path}`, 'write', 'delete', 'sudo'),
    right(`auth/${path}/config`, 'read', 'write'),
    right(`auth/${path}/role`, 'list'),
    ...rolesOf(spec).map(({ name }) => right(`auth/${path}/role/${name}`, 'read', 'write', 'delete')),
    ...policiesOf(spec).map(({ name }) => right(`sys/policies/acl/${name}`, 'read', 'write', 'delete')),
  ];
}

function ofEngine({ path }: { readonly path: string }): Right[] {
  return [
    right('sys/mounts', 'read'),
    right(`sys/mounts/${path}`, 'write', 'delete'),
    right(`${path}/config/access`, 'read', 'write'),
    right(`${path}/config/lease`, 'read', 'write'),
    right(`${path}/role`, 'list'),
    right(`${path}/role/any`, 'read', 'write', 'delete'),
  ];
}

export const vaultRights: VaultCheck = {
  name: 'vault-rights',
  fine: 'our token may do what the declared resources need',
  async look(vault, setting) {
    const kv = await kvRights(vault, setting);
    const rights = [
      ...declaredFor<VaultJwtIntegrationSpec>(setting, vault, 'VaultJwtIntegration').flatMap((r) =>
        ofIntegration(r.spec),
      ),
      ...declaredFor<{ vaultRef: string; path: string }>(setting, vault, 'VaultNomadSecretsEngine').flatMap((r) =>
        ofEngine(r.spec),
      ),
      ...kv.rights,
    ];
    return [...kv.found, ...(await lacking(vault, rights, setting.signal))];
  },
};

async function lacking(vault: VaultPatient, rights: readonly Right[], signal: AbortSignal): Promise<Found[]> {
  // Several resources may need the same at one path.
  const byPath = new Map(rights.map((one) => [one.path, one]));
  if (byPath.size === 0) return [];
  const paths = [...byPath.keys()];
  const { data } = await vault.api.leased<{ data: Readonly<Record<string, readonly string[]>> }>(
    'PUT',
    'sys/capabilities-self',
    { paths },
    signal,
  );
  return [...byPath.values()].flatMap(({ path, needed, example }) => {
    const wanting = missing(needed, data[path] ?? []);
    if (wanting.length === 0) return [];
    const advice = `Add it to the policy of the token; ${example} is an example of one that suffices.`;
    return [problem(path, `our token lacks ${wanting.join(', ')} there`, advice)];
  });
}

function missing(needed: readonly Needed[], given: readonly string[]): Needed[] {
  if (given.includes('root')) return [];
  const has = (one: Needed): boolean =>
    one === 'write' ? given.includes('create') || given.includes('update') : given.includes(one);
  return needed.filter((one) => !has(one));
}
