import { problem, type Found, type Setting, type VaultCheck, type VaultPatient } from './check.ts';
import { jwtConfig, jwtMounts, jwtRoles } from './mounts.ts';

const KIND = 'VaultJwtIntegration';

export const leftovers: VaultCheck = {
  name: 'vault-auth-mounts',
  fine: 'every JWT auth mount is configured',
  concerns: [KIND],
  async look(vault, setting) {
    const found: Found[] = [];
    const { signal } = setting;
    const { api } = vault;
    for (const { path } of await jwtMounts(setting, vault)) {
      if ((await jwtConfig(api, path, signal)) !== undefined) continue;
      found.push(
        problem(
          `auth/${path}`,
          'it has no configuration, so that nobody can log in there: `nomad setup vault` leaves that when Vault cannot reach the JWKS URL, and cannot be run again over it',
          `Declare a VaultJwtIntegration with path ${path}: it takes over the empty mount. Or remove it: vault auth disable ${path}`,
        ),
      );
    }
    return found;
  },
};

export const rolePolicies: VaultCheck = {
  name: 'vault-role-policies',
  fine: 'every policy that a role of a JWT mount names is there',
  concerns: [KIND],
  async look(vault, setting) {
    const found: Found[] = [];
    const textOf = policyReader(vault, setting);
    for (const { path } of await jwtMounts(setting, vault))
      for (const { name, role } of await jwtRoles(vault.api, path, setting.signal))
        for (const policy of role.token_policies ?? [])
          if ((await textOf(policy)) === undefined)
            found.push(
              problem(
                `auth/${path}/role/${name}`,
                `it gives the policy ${policy}, which does not exist: who logs in by it may do nothing by that policy`,
                `Make the policy ${policy}, or take its name out of the role.`,
              ),
            );
    return found;
  },
};

/** Reads each policy once. */
function policyReader({ api }: VaultPatient, { signal }: Setting): (name: string) => Promise<string | undefined> {
  const read = new Map<string, Promise<string | undefined>>();
  return (name) => {
    const known = read.get(name);
    if (known !== undefined) return known;
    const path = `sys/policies/acl/${encodeURIComponent(name)}`;
    const text = api.read<{ policy: string }>(path, signal).then((data) => data?.policy);
    read.set(name, text);
    return text;
  };
}

const TEMPLATE = /identity\.entity\.aliases\.([A-Za-z0-9_-]+)\./g;

export const accessors: VaultCheck = {
  name: 'vault-accessors',
  fine: 'templated policies name the accessors of the mounts of now',
  concerns: [KIND],
  async look(vault, setting) {
    const found = new Map<string, Found>();
    const textOf = policyReader(vault, setting);
    for (const { path, accessor } of await jwtMounts(setting, vault))
      for (const { role } of await jwtRoles(vault.api, path, setting.signal))
        for (const name of role.token_policies ?? []) {
          const named = new Set([...((await textOf(name)) ?? '').matchAll(TEMPLATE)].map(([, of = '']) => of));
          if (named.size > 0 && !named.has(accessor)) found.set(name, stale(name, [...named], path, accessor));
        }
    return [...found.values()];
  },
};

function stale(policy: string, named: readonly string[], path: string, accessor: string): Found {
  return problem(
    `policy/${policy}`,
    `it names the accessor ${named.join(', ')}, and that of auth/${path}, whose roles give it, is ${accessor}: it matches nothing, and workloads are denied their secrets`,
    `The mount was disabled and enabled again. Apply the integration again, or put ${accessor} into the policy.`,
  );
}
