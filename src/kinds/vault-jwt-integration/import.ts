import type { Importable, Importer, ImportRequest, Skipped } from '../../contract/import.ts';
import type { VaultApi } from '../../contract/target.ts';
import { normaliseText } from '../../plan/diff.ts';
import { canonical, stringIn, type Fields } from '../../plan/value.ts';
import { byLiveName } from '../imported.ts';
import { readMounts } from '../vault-object/mount.ts';
import { AUTH_MOUNT } from './auth-mount.ts';
import { defaultPolicy, defaultRole } from './defaults.ts';
import { JWKS_PATH } from './jwks.ts';
import { readConfig, SYNCED_KEYS } from './jwt-config.ts';
import { fieldsOfRole, readRole } from './jwt-role.ts';
import { readPolicy } from './policy.ts';
import { BUILT_IN_POLICIES, roleSpec } from './schema.ts';

interface Role {
  readonly name: string;
  readonly fields: Fields;
}
interface Policy {
  readonly name: string;
  readonly rules: string;
}

/** Auth mounts of type jwt whose roles are for Nomad's workloads, each with its configuration, roles and policies. */
export const vaultJwtIntegrationImporter: Importer = {
  from: 'VaultServer',

  async find(io, request, signal) {
    const api = io.vault(request.connection);
    const mounts = Object.entries(await readMounts(api, AUTH_MOUNT.table, signal))
      .filter(([, { type }]) => type === 'jwt')
      .map(([path, { accessor }]) => ({ path: path.replace(/\/$/, ''), accessor }))
      .filter(({ path }) => request.isMeant(path));
    const found: Importable[] = [];
    const skipped: Skipped[] = [];
    for (const { path, accessor } of mounts) {
      const importable = await integration(api, path, accessor, request, signal);
      if (typeof importable === 'string') skipped.push({ liveName: path, why: importable });
      else found.push(importable);
    }
    return { found: byLiveName(found), skipped };
  },
};

/** @returns why there is no manifest for the mount, where there is none. */
async function integration(
  api: VaultApi,
  path: string,
  accessor: string,
  request: ImportRequest,
  signal: AbortSignal,
): Promise<Importable | string> {
  const config = (await readConfig(api, path, signal))?.fields;
  if (config === undefined) return 'it has no configuration: an empty VaultJwtIntegration of this path takes it over';
  const names = await api.list(`auth/${path}/role`, signal);
  const read = names.map(async (name) => ({ name, fields: (await readRole(api, `${path}/${name}`, signal))?.fields }));
  const roles = (await Promise.all(read)).filter((role): role is Role => role.fields !== undefined);
  if (!roles.some(isForNomad)) return 'none of its roles looks for a claim of Nomad’s (nomad_job_id, ...)';
  const { policies, notes } = await policiesOf(api, roles, accessor, signal);
  if (policies.length === 0) return 'its roles name no policy that could go with it';
  const first = stringIn(config, 'defaultRole');
  const inOrder = [...roles.filter(({ name }) => name === first), ...roles.filter(({ name }) => name !== first)];
  return {
    liveName: path,
    nameField: 'path',
    spec: {
      vaultRef: request.connection,
      path,
      ...keysFrom(config, request),
      supportedAlgs: config['supportedAlgs'],
      boundIssuer: config['boundIssuer'],
      ...(first !== inOrder[0]?.name && { defaultRole: first }),
      ...pairFrom(policies, inOrder),
    },
    notes: [...notes, ...configNotes(config)],
  };
}

function isForNomad({ fields }: Role): boolean {
  return /nomad_/.test(JSON.stringify([fields['userClaim'], fields['claimMappings'], fields['boundClaims']]));
}

/** Those that name the mount's accessor are the integration's; where there are none, those that its roles name. */
async function policiesOf(
  api: VaultApi,
  roles: readonly Role[],
  accessor: string,
  signal: AbortSignal,
): Promise<{ policies: Policy[]; notes: string[] }> {
  const names = new Set(roles.flatMap(({ fields }) => fields['tokenPolicies'] as readonly string[]));
  const read = [...names]
    .filter((name) => !BUILT_IN_POLICIES.includes(name))
    .map(async (name) => ({ name, rules: (await readPolicy(api, name, signal))?.fields['rules'] }));
  const all = (await Promise.all(read)).filter((policy): policy is Policy => typeof policy.rules === 'string');
  const own = all.filter(({ rules }) => rules.includes(accessor));
  const taken = own.length > 0 ? own : all;
  const left = all.filter((policy) => !taken.includes(policy)).map(({ name }) => name);
  const missing = [...names].filter((name) => !all.some((p) => p.name === name) && !BUILT_IN_POLICIES.includes(name));
  return {
    policies: taken.map(({ name, rules }) => ({ name, rules: rules.replaceAll(accessor, '{{accessor}}') })),
    notes: [
      ...(left.length > 0
        ? [`Its roles also name ${left.join(', ')}, which may be others’: they are not in this manifest.`]
        : []),
      ...(missing.length > 0 ? [`Its roles name ${missing.join(', ')}, which Vault does not have.`] : []),
      ...(own.length === 0 ? ['No policy names the mount: those that its roles name were taken.'] : []),
    ],
  };
}

/** The cluster by whose keys the logins are verified, and how they come to Vault. */
function keysFrom(config: Fields, { clusters }: ImportRequest): Record<string, unknown> {
  const url = stringIn(config, 'jwksUrl');
  const cluster = clusters.find(({ address }) => `${address.replace(/\/$/, '')}${JWKS_PATH}` === url);
  const nomadRef = (cluster ?? clusters.find(({ name }) => name === 'default') ?? clusters[0])?.name ?? 'default';
  const pairs = config['jwksPairs'] as readonly { jwksUrl: string; jwksCaPem: string }[];
  return {
    nomadRef,
    ...(url !== '' && cluster === undefined && { jwksUrl: url }),
    ...text(config, 'jwksCaPem'),
    ...(pairs.length > 0 && {
      jwksPairs: pairs.map(({ jwksUrl, jwksCaPem }) => ({ jwksUrl, ...(jwksCaPem !== '' && { jwksCaPem }) })),
    }),
    ...text(config, 'oidcDiscoveryUrl'),
    ...text(config, 'oidcDiscoveryCaPem'),
    ...((config[SYNCED_KEYS] as readonly string[]).length > 0 && { syncKeys: {} }),
  };
}

function text(config: Fields, field: string): Record<string, unknown> {
  return config[field] === '' ? {} : { [field]: config[field] };
}

/** An integration that declares neither has the pair that `nomad setup vault` makes. */
function pairFrom(policies: readonly Policy[], roles: readonly Role[]): Record<string, unknown> {
  const declared = isUsualRole(roles) ? {} : { roles: roles.map(({ name, fields }) => ({ name, ...fields })) };
  const [policy, ...others] = policies;
  const kvPath = /^path "(.+?)\/data\/\{\{/.exec(policy?.rules.trim() ?? '')?.[1];
  if (policy === undefined || others.length > 0 || kvPath === undefined) return { policies, ...declared };
  const usual = defaultPolicy(kvPath);
  const isUsual = policy.name === usual.name && normaliseText(policy.rules) === normaliseText(usual.rules);
  return isUsual ? { kvPath, ...declared } : { policies, ...declared };
}

function isUsualRole([role, ...others]: readonly Role[]): boolean {
  const usual = roleSpec.parse(defaultRole);
  return others.length === 0 && role?.name === usual.name && canonical(role.fields) === canonical(fieldsOfRole(usual));
}

function configNotes(config: Fields): string[] {
  const foreign = Object.entries(config).filter(([field, value]) => field.startsWith('oidc.') && !isNothing(value));
  return [
    ...(foreign.length > 0
      ? [`Its configuration has ${foreign.map(([field]) => field).join(', ')}, which apply takes away.`]
      : []),
    ...((config[SYNCED_KEYS] as readonly string[]).length > 0
      ? ['Vault has the keys themselves: from now on they follow Nomad’s JWKS (syncKeys).']
      : []),
  ];
}

function isNothing(value: unknown): boolean {
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}
