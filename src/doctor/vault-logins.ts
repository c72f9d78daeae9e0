import { problem, type Found, type VaultCheck } from './check.ts';
import { jwtConfig, jwtMounts, jwtRoles, mountsIn } from './mounts.ts';

const KIND = 'VaultJwtIntegration';

export const leftovers: VaultCheck = {
  name: 'vault-auth-mounts',
  fine: 'every JWT auth mount is configured',
  concerns: [KIND],
  async look({ api }, { signal }) {
    const found: Found[] = [];
    for (const { path } of await jwtMounts(api, signal)) {
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
  async look({ api }, { signal }) {
    const found: Found[] = [];
    const known = new Set(await api.list('sys/policies/acl', signal));
    for (const { path } of await jwtMounts(api, signal))
      for (const { name, role } of await jwtRoles(api, path, signal))
        for (const policy of (role.token_policies ?? []).filter((p) => !known.has(p)))
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

const TEMPLATE = /identity\.entity\.aliases\.([A-Za-z0-9_-]+)\./g;

export const accessors: VaultCheck = {
  name: 'vault-accessors',
  fine: 'templated policies name the accessors of the mounts of now',
  concerns: [KIND],
  async look({ api }, { signal }) {
    const mounts = await mountsIn(api, 'sys/auth', signal);
    const found = new Map<string, Found>();
    for (const { path, accessor } of mounts.filter(({ type }) => type === 'jwt'))
      for (const { role } of await jwtRoles(api, path, signal))
        for (const name of role.token_policies ?? []) {
          const policy = await api.read<{ policy: string }>(`sys/policies/acl/${encodeURIComponent(name)}`, signal);
          const named = new Set([...(policy?.policy ?? '').matchAll(TEMPLATE)].map(([, of = '']) => of));
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
