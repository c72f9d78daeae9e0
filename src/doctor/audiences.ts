import { TargetError } from '../contract/errors.ts';
import { problem, warning, type Found, type NomadPatient, type VaultCheck } from './check.ts';
import { jwtConfig, jwtMounts, jwtRoles } from './mounts.ts';

interface AgentVault {
  readonly Enabled?: boolean | null;
  readonly JWTAuthBackendPath?: string;
  readonly Role?: string;
  readonly DefaultIdentity?: { readonly Audience?: readonly string[] | null } | null;
}
interface Agent {
  readonly config?: { readonly Vaults?: readonly AgentVault[] | null };
}

/**
 * The `vault` blocks of the agent that answers, which need not be those of the others.
 * @returns undefined where the token, if there is one, may not read them. @throws TargetError
 */
async function vaultBlocks(
  { api, trouble }: NomadPatient,
  signal: AbortSignal,
): Promise<readonly AgentVault[] | undefined> {
  if (trouble !== undefined) return undefined;
  try {
    const agent = (await api.get<Agent>('/v1/agent/self', {}, signal))?.body;
    return (agent?.config?.Vaults ?? []).filter(({ Enabled }) => Enabled === true);
  } catch (error) {
    if (error instanceof TargetError && error.class === 'denied') return undefined;
    throw error;
  }
}

export const audiences: VaultCheck = {
  name: 'vault-audiences',
  fine: 'roles accept the audience of Nomad’s default identity, as far as the agent that answers tells it',
  concerns: ['VaultJwtIntegration'],
  async look(vault, setting) {
    const found: Found[] = [];
    const { api } = vault;
    const { nomads, signal } = setting;
    const mounts = new Set((await jwtMounts(setting, vault)).map(({ path }) => path));
    if (mounts.size === 0) return [];
    for (const nomad of nomads) {
      const who = `NomadCluster/${nomad.name}`;
      const blocks = await vaultBlocks(nomad, signal);
      if (blocks === undefined) {
        found.push(unasked(who));
        continue;
      }
      for (const { JWTAuthBackendPath = '', Role, DefaultIdentity } of blocks) {
        const path = JWTAuthBackendPath.replace(/\/$/, '');
        const given = DefaultIdentity?.Audience ?? [];
        if (given.length === 0 || !mounts.has(path)) continue;
        const wanted = (Role ?? '') || ((await jwtConfig(api, path, signal))?.default_role ?? '');
        const role = (await jwtRoles(api, path, signal)).find(({ name }) => name === wanted)?.role;
        if (role === undefined) found.push(absent(path, wanted, who));
        else if (!given.some((aud) => role.bound_audiences?.includes(aud) === true))
          found.push(other(path, wanted, given, role.bound_audiences ?? [], who));
      }
    }
    return found;
  },
};

function unasked(who: string): Found {
  return warning(
    '',
    `could not be found out: the agents of ${who} don’t tell us their vault blocks`,
    `Give a token for ${who} that may read agents: agent { policy = "read" }.`,
  );
}

function absent(path: string, role: string, who: string): Found {
  return problem(
    `auth/${path}/role/${role}`,
    `workloads of ${who} log in by it, and it does not exist`,
    'Make the role, or name another one: create_from_role in the vault block of the agents, default_role of the mount.',
  );
}

function other(path: string, role: string, given: readonly string[], bound: readonly string[], who: string): Found {
  return problem(
    `auth/${path}/role/${role}`,
    `its bound audiences are ${bound.join(', ') || 'none'}, and the default identity of ${who} has ${given.join(', ')}: logins fail with "invalid audience (aud) claim"`,
    'Make them equal: boundAudiences of the role, or aud in default_identity of the agents.',
  );
}
