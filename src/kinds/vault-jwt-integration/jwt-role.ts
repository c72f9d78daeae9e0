import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { Live } from '../../plan/step.ts';
import { canonical, type Fields, type Value } from '../../plan/value.ts';
import { many, seconds, type Duration } from '../schema.ts';
import { canonicalCidr } from './cidr.ts';
import {
  boolean,
  fromVault,
  integer,
  map,
  rulesOf,
  set,
  string,
  toVault,
  withoutEmpty,
  type Mappings,
} from '../vault-object/mapping.ts';
import { splitRole } from '../vault-object/mount.ts';
import { readEach } from '../vault-object/read-each.ts';
import type { RoleSpec } from './schema.ts';

/** Every field of Vault's JWT roles; the names are those of the spec. */
const roleFields = {
  roleType: string('role_type'),
  boundAudiences: set('bound_audiences'),
  boundSubject: string('bound_subject'),
  boundClaims: { ...map('bound_claims'), decode: claimsOf },
  boundClaimsType: string('bound_claims_type'),
  userClaim: string('user_claim'),
  userClaimJsonPointer: boolean('user_claim_json_pointer'),
  groupsClaim: string('groups_claim'),
  claimMappings: map('claim_mappings'),
  clockSkewLeeway: integer('clock_skew_leeway'),
  expirationLeeway: integer('expiration_leeway'),
  notBeforeLeeway: integer('not_before_leeway'),
  maxAge: integer('max_age'),
  oidcScopes: set('oidc_scopes'),
  allowedRedirectUris: set('allowed_redirect_uris'),
  verboseOidcLogging: boolean('verbose_oidc_logging'),
  tokenPolicies: set('token_policies'),
  tokenTtl: integer('token_ttl'),
  tokenMaxTtl: integer('token_max_ttl'),
  tokenExplicitMaxTtl: integer('token_explicit_max_ttl'),
  tokenPeriod: integer('token_period'),
  tokenNoDefaultPolicy: boolean('token_no_default_policy'),
  tokenNumUses: integer('token_num_uses'),
  tokenType: string('token_type'),
  tokenBoundCidrs: { ...set('token_bound_cidrs'), decode: cidrsOf },
} satisfies Mappings & { [field in keyof Omit<RoleSpec, 'name'>]: unknown };
export const jwtRoleRules = rulesOf(roleFields);

const DURATIONS = [
  'clockSkewLeeway',
  'expirationLeeway',
  'notBeforeLeeway',
  'maxAge',
  'tokenTtl',
  'tokenMaxTtl',
  'tokenExplicitMaxTtl',
  'tokenPeriod',
] as const;
/** The fields that Vault keeps as lists of texts. */
export const LISTS = [
  'boundAudiences',
  'oidcScopes',
  'allowedRedirectUris',
  'tokenPolicies',
  'tokenBoundCidrs',
] as const;

/** The fields of a role in the form in which Vault answers them: seconds, and lists. */
export function fieldsOfRole(role: RoleSpec): Fields {
  const { name: _, ...rest } = role;
  const fields: Record<string, Value> = { ...(rest as Fields) };
  for (const field of DURATIONS) fields[field] = seconds(role[field] ?? (0 satisfies Duration));
  for (const field of LISTS) fields[field] = many(role[field]);
  fields['boundClaims'] = claimsOf(role.boundClaims);
  fields['tokenBoundCidrs'] = cidrsOf(many(role.tokenBoundCidrs));
  return fields;
}

function claimsOf(claims: Value): Value {
  return Object.fromEntries(Object.entries(claims ?? {}).map(([claim, v]) => [claim, claimValues(v as Value)]));
}

/** Vault keeps one value as it was given, a string or a list of one; both mean the same, and so do all orders. */
function claimValues(value: Value): Value {
  if (!Array.isArray(value)) return value;
  const different = new Map((value as readonly Value[]).map((v) => [canonical(v), v]));
  const values = [...different].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, v]) => v);
  return values.length === 1 ? (values[0] ?? null) : values;
}

function cidrsOf(ranges: Value): Value {
  if (!Array.isArray(ranges)) return ranges;
  return (ranges as readonly Value[]).map((range) => (typeof range === 'string' && canonicalCidr(range)) || range);
}

/** A role of a JWT auth mount; its key's name is `mount/role`. */
export const jwtRoleObject: ObjectType = {
  name: 'jwt-role',
  connection: 'VaultServer',
  after: ['auth-mount', 'jwt-config', 'policy'],
  within: ({ connection, name }) => ({ connection, type: 'auth-mount', name: splitRole(name).mount }),
  rules: jwtRoleRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    return readEach(request, (name) => readRole(api, name, signal));
  },

  /** Empty fields are left out of a new role: sent, they would read back as [] where `nomad setup vault` leaves null. */
  create: (io, desired) => write(io, desired, withoutEmpty(toVault(roleFields, desired.fields))),
  /** Vault merges an update into what is there: every managed field is sent, the empty ones too. */
  update: (io, desired) => write(io, desired, toVault(roleFields, desired.fields)),

  async remove(io, { key }) {
    await io.vault(key.connection).delete(path(key.name));
    return undefined;
  },
};

/** @param name `mount/role` @returns undefined where there is none. @throws TargetError */
export async function readRole(api: VaultApi, name: string, signal: AbortSignal): Promise<Live | undefined> {
  const data = await api.read<Record<string, Value>>(path(name), signal);
  return data && { fields: fromVault(roleFields, data) };
}

async function write(io: Io, { key, fields }: SettledDesired, data: Readonly<Record<string, Value>>): Promise<Live> {
  await io.vault(key.connection).write(path(key.name), data);
  return { fields };
}

/** `auth/<mount>/role/<role>` */
function path(name: string): string {
  const { mount, role } = splitRole(name);
  return `auth/${mount}/role/${encodeURIComponent(role)}`;
}
