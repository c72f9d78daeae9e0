import { policiesOf, rolesOf } from '../kinds/vault-jwt-integration/roles.ts';
import type { VaultJwtIntegrationSpec } from '../kinds/vault-jwt-integration/schema.ts';
import { problem, type VaultCheck } from './check.ts';
import { declaredFor } from './mounts.ts';

/** `write` stands for create or update: which one Vault asks for depends on the engine and on what is there. */
type Needed = 'read' | 'write' | 'delete' | 'list' | 'sudo';
type Rights = readonly (readonly [path: string, needed: readonly Needed[]])[];

/** As in manifests/vault/nomad-access.hcl, without what only makes plans more telling. */
function ofIntegration(spec: VaultJwtIntegrationSpec): Rights {
  const { path } = spec;
  return [
    ['sys/auth', ['read']],
    [`sys/auth/${path}`, ['write', 'delete', 'sudo']],
    [`auth/${path}/config`, ['read', 'write']],
    [`auth/${path}/role`, ['list']],
    ...rolesOf(spec).map(({ name }) => [`auth/${path}/role/${name}`, ['read', 'write', 'delete']] as const),
    ...policiesOf(spec).map(({ name }) => [`sys/policies/acl/${name}`, ['read', 'write', 'delete']] as const),
  ];
}

function ofEngine({ path }: { readonly path: string }): Rights {
  return [
    ['sys/mounts', ['read']],
    [`sys/mounts/${path}`, ['write', 'delete']],
    [`${path}/config/access`, ['read', 'write']],
    [`${path}/config/lease`, ['read', 'write']],
    [`${path}/role`, ['list']],
    [`${path}/role/any`, ['read', 'write', 'delete']],
  ];
}

export const vaultRights: VaultCheck = {
  name: 'vault-rights',
  fine: 'our token may do what the declared resources need',
  async look(vault, setting) {
    const rights: Rights = [
      ...declaredFor<VaultJwtIntegrationSpec>(setting, vault, 'VaultJwtIntegration').flatMap((r) =>
        ofIntegration(r.spec),
      ),
      ...declaredFor<{ vaultRef: string; path: string }>(setting, vault, 'VaultNomadSecretsEngine').flatMap((r) =>
        ofEngine(r.spec),
      ),
    ];
    if (rights.length === 0) return [];
    const paths = [...new Set(rights.map(([path]) => path))];
    const body = { paths };
    const { data } = await vault.api.leased<{ data: Readonly<Record<string, readonly string[]>> }>(
      'PUT',
      'sys/capabilities-self',
      body,
      setting.signal,
    );
    const wanting = new Map(rights.map(([path, needed]) => [path, missing(needed, data[path] ?? [])]));
    return [...wanting].flatMap(([path, lacking]) =>
      lacking.length === 0
        ? []
        : [
            problem(
              path,
              `our token lacks ${lacking.join(', ')} there`,
              'Add it to the policy of the token; manifests/vault/nomad-access.hcl is an example of one that suffices.',
            ),
          ],
    );
  },
};

function missing(needed: readonly Needed[], given: readonly string[]): Needed[] {
  if (given.includes('root')) return [];
  const has = (one: Needed): boolean =>
    one === 'write' ? given.includes('create') || given.includes('update') : given.includes(one);
  return needed.filter((one) => !has(one));
}
