import { randomUUID } from 'node:crypto';
import { messageOf, TargetError } from '../contract/errors.ts';
import {
  problem,
  some,
  warning,
  type Found,
  type NomadPatient,
  type Setting,
  type VaultCheck,
  type VaultPatient,
} from './check.ts';
import { declaredFor, nomadEngines, nomadOf } from './mounts.ts';

const KIND = 'VaultNomadSecretsEngine';
const CONCERNS = [KIND, 'VaultNomadRole'];

interface Access {
  readonly address: string;
}
interface Role {
  readonly policies: readonly string[] | null;
}

export const secretsEngines: VaultCheck = {
  name: 'vault-nomad-engines',
  fine: 'every Nomad secrets engine has its access to Nomad',
  concerns: CONCERNS,
  async look(vault, setting) {
    const { signal } = setting;
    const found: Found[] = [];
    for (const path of await nomadEngines(setting, vault)) {
      const access = await vault.api.read<Access>(`${path}/config/access`, signal);
      if (access === undefined) {
        found.push(await unconfigured(vault, path, signal));
        continue;
      }
      const nomad = nomadOf(setting, vault, { kind: KIND, path, addresses: [access.address] });
      if (nomad === undefined) continue;
      found.push(...(await ownToken(setting, vault, path, nomad)), ...(await roles(vault, path, nomad, signal)));
    }
    return found;
  },
};

/** No configuration and a disabling that failed read alike; a role that there can't be tells them apart. */
async function unconfigured({ api }: VaultPatient, path: string, signal: AbortSignal): Promise<Found> {
  const isRouted = await api.read(`${path}/creds/${randomUUID()}`, signal).then(
    () => false,
    () => true,
  );
  if (isRouted)
    return problem(
      `${path}/config/access`,
      'the engine does not know where Nomad is, nor by what token: it can make no token',
      'Apply the VaultNomadSecretsEngine, or write config/access with address and token. Never without a token: Vault then bootstraps Nomad’s ACLs itself and keeps the only management token.',
    );
  return problem(
    path,
    'somebody tried to disable the engine, and Vault could not revoke its leases, probably because Nomad no longer knows a token: it is listed, and unreachable',
    `Forget the leases and disable it again: vault lease revoke -force -prefix ${path}; vault secrets disable ${path}`,
  );
}

interface Token {
  readonly Name: string;
  readonly Type: string;
  readonly ExpirationTime: string | null;
}

/** Which token the engine has Vault does not tell. One that was made for it carries its path and our marker. */
async function ownToken(setting: Setting, vault: VaultPatient, path: string, { api }: NomadPatient): Promise<Found[]> {
  const isDeclared = declaredFor<{ vaultRef: string; path: string }>(setting, vault, KIND).some(
    (r) => r.spec.path === path,
  );
  if (!isDeclared) return [];
  const { items } = await api.list<Token>('/v1/acl/tokens', {}, setting.signal);
  const isAlive = ({ ExpirationTime: end }: Token): boolean => end === null || Date.parse(end) > setting.now();
  if (items.some((t) => t.Type === 'management' && t.Name.startsWith(`${path} [na:`) && isAlive(t))) return [];
  return [
    problem(
      `${path}/config/access`,
      'the management token that was made for the engine is no longer on Nomad: no token can be made, and none revoked',
      'Apply the VaultNomadSecretsEngine again: it gets a new one.',
    ),
  ];
}

/** Nomad takes tokens whose policies are not there, and gives them nothing. */
async function roles({ api }: VaultPatient, path: string, nomad: NomadPatient, signal: AbortSignal): Promise<Found[]> {
  const { items } = await nomad.api.list<{ Name: string }>('/v1/acl/policies', {}, signal);
  const known = new Set(items.map(({ Name }) => Name));
  const found: Found[] = [];
  for (const name of await api.list(`${path}/role`, signal)) {
    const role = await api.read<Role>(`${path}/role/${encodeURIComponent(name)}`, signal);
    const missing = (role?.policies ?? []).filter((policy) => !known.has(policy));
    if (missing.length > 0)
      found.push(
        warning(
          `${path}/role/${name}`,
          `it gives policies that are not on NomadCluster/${nomad.name}: ${some(missing)}`,
          'Make them, or take their names out of the role.',
        ),
      );
  }
  return found;
}

interface Leased {
  readonly lease_id: string;
}

export const madeTokens: VaultCheck = {
  name: 'vault-made-tokens',
  fine: 'every role of a Nomad secrets engine gives a token, which can be revoked',
  concerns: CONCERNS,
  makesTokens: true,
  async look(vault, setting) {
    const { signal } = setting;
    const found: Found[] = [];
    for (const path of await nomadEngines(setting, vault))
      for (const role of await vault.api.list(`${path}/role`, signal))
        found.push(...(await tried(vault, `${path}/creds/${encodeURIComponent(role)}`, signal)));
    return found;
  },
};

async function tried({ api }: VaultPatient, path: string, signal: AbortSignal): Promise<Found[]> {
  const made = await api.leased<Leased>('GET', path, undefined, signal).catch(failureOf);
  if (made instanceof TargetError)
    return [
      problem(
        path,
        `Vault makes no token: ${messageOf(made)}`,
        /Permission denied/.test(made.message)
          ? 'Nomad does not accept the engine’s management token: write a valid one to config/access, or apply the VaultNomadSecretsEngine again.'
          : 'Is the address in config/access right, and can Vault reach Nomad there?',
      ),
    ];
  const { lease_id } = made;
  const failed = await api.write('sys/leases/revoke', { lease_id, sync: true }, signal).catch(failureOf);
  if (!(failed instanceof TargetError)) return [];
  return [
    problem(
      path,
      `a token was made and could not be revoked: ${messageOf(failed)}`,
      `Revoke it: vault lease revoke ${lease_id}`,
    ),
  ];
}

function failureOf(error: unknown): TargetError {
  if (error instanceof TargetError) return error;
  throw error;
}
