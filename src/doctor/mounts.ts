import type { Resource } from '../contract/resource.ts';
import type { VaultApi } from '../contract/target.ts';
import type { NomadPatient, Setting, VaultPatient } from './check.ts';

/** A mount, of auth or of secrets. */
export interface Mount {
  /** Without a slash at its end. */
  readonly path: string;
  readonly type: string;
  readonly accessor: string;
}

/** @throws TargetError */
export async function mountsIn(api: VaultApi, area: 'sys/auth' | 'sys/mounts', signal: AbortSignal): Promise<Mount[]> {
  const all = (await api.read<Record<string, Omit<Mount, 'path'>>>(area, signal)) ?? {};
  return Object.entries(all).map(([path, { type, accessor }]) => ({ path: path.replace(/\/$/, ''), type, accessor }));
}

/** Where workloads log in: the mounts that are declared, where any is, else all of type jwt. @throws TargetError */
export async function jwtMounts(setting: Setting, vault: VaultPatient): Promise<Mount[]> {
  const mounts = await mountsIn(vault.api, 'sys/auth', setting.signal);
  return meant(mounts, 'jwt', declaredFor<Referring>(setting, vault, 'VaultJwtIntegration'));
}

/** Paths of Nomad secrets engines, as above. @throws TargetError */
export async function nomadEngines(setting: Setting, vault: VaultPatient): Promise<string[]> {
  const mounts = await mountsIn(vault.api, 'sys/mounts', setting.signal);
  const engines = declaredFor<Referring>(setting, vault, 'VaultNomadSecretsEngine');
  return meant(mounts, 'nomad', engines).map(({ path }) => path);
}

/** A token that is just good enough for what is declared may not look at what is not. */
function meant(mounts: readonly Mount[], type: string, declared: readonly Resource<Referring>[]): Mount[] {
  const isMeant = ({ path }: Mount): boolean => declared.length === 0 || declared.some((r) => r.spec.path === path);
  return mounts.filter((mount) => mount.type === type && isMeant(mount));
}

export interface JwtConfig {
  readonly default_role: string;
  readonly jwks_url: string;
  readonly jwks_pairs: readonly { readonly jwks_url: string }[] | null;
  readonly oidc_discovery_url: string;
  readonly jwt_supported_algs: readonly string[] | null;
  readonly jwt_validation_pubkeys: readonly string[] | null;
}

/** @returns undefined where the mount has none. @throws TargetError */
export function jwtConfig(api: VaultApi, path: string, signal: AbortSignal): Promise<JwtConfig | undefined> {
  return api.read<JwtConfig>(`auth/${path}/config`, signal);
}

/** Where it gets its keys. */
export function urlsOf({ jwks_url, jwks_pairs }: JwtConfig): string[] {
  return [jwks_url, ...(jwks_pairs ?? []).map((pair) => pair.jwks_url)].filter((url) => url !== '');
}

export interface JwtRole {
  readonly bound_audiences: readonly string[] | null;
  readonly token_policies: readonly string[] | null;
}

/** Every role of a mount with its name. @throws TargetError */
export async function jwtRoles(
  api: VaultApi,
  path: string,
  signal: AbortSignal,
): Promise<readonly { readonly name: string; readonly role: JwtRole }[]> {
  const roles: { name: string; role: JwtRole }[] = [];
  for (const name of await api.list(`auth/${path}/role`, signal)) {
    const role = await api.read<JwtRole>(`auth/${path}/role/${encodeURIComponent(name)}`, signal);
    if (role !== undefined) roles.push({ name, role });
  }
  return roles;
}

interface Referring {
  readonly vaultRef: string;
  readonly nomadRef: string;
  readonly path: string;
}

/** What is declared for a Vault, of one kind. */
export function declaredFor<Spec extends Pick<Referring, 'vaultRef'>>(
  { resources }: Setting,
  { name }: VaultPatient,
  kind: string,
): readonly Resource<Spec>[] {
  return (resources as readonly Resource<Spec>[]).filter((r) => r.kind === kind && r.spec.vaultRef === name);
}

/**
 * The Nomad that a mount is for: the declared one, else the one that it names by address, else the only one.
 * @param addresses what its configuration names.
 */
export function nomadOf(
  setting: Setting,
  vault: VaultPatient,
  mount: { readonly kind: string; readonly path: string; readonly addresses: readonly string[] },
): NomadPatient | undefined {
  const { nomads } = setting;
  const declared = declaredFor<Referring>(setting, vault, mount.kind).find((r) => r.spec.path === mount.path);
  if (declared !== undefined) return nomads.find(({ name }) => name === declared.spec.nomadRef);
  const isNamed = ({ api }: NomadPatient): boolean =>
    mount.addresses.some((address) => address.replace(/\/$/, '').startsWith(api.address));
  const isNomads = mount.path.includes('nomad');
  return nomads.find(isNamed) ?? (isNomads && nomads.length === 1 ? nomads[0] : undefined);
}
