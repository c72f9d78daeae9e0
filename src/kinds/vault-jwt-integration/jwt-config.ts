import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { Live } from '../../plan/step.ts';
import type { Value } from '../../plan/value.ts';
import { readEach } from '../vault-object/read-each.ts';
import { jwksPairFromVault, jwksPairToVault } from './jwks-pair.ts';
import { fromVault, map, rulesOf, set, string, text, toVault, withoutEmpty } from '../vault-object/mapping.ts';

/** The field that holds the keys which `syncKeys` keeps in step, as PEM. */
export const SYNCED_KEYS = 'syncKeys';

/** Every field of the mount's configuration, those that Nomad never needs included: their drift is drift too. */
const configFields = {
  jwksUrl: string('jwks_url'),
  jwksCaPem: text('jwks_ca_pem'),
  jwksPairs: { ...set('jwks_pairs'), decode: each(jwksPairFromVault), encode: each(jwksPairToVault) },
  [SYNCED_KEYS]: set('jwt_validation_pubkeys'),
  oidcDiscoveryUrl: string('oidc_discovery_url'),
  oidcDiscoveryCaPem: text('oidc_discovery_ca_pem'),
  supportedAlgs: set('jwt_supported_algs'),
  boundIssuer: string('bound_issuer'),
  defaultRole: string('default_role'),
  'oidc.clientId': string('oidc_client_id'),
  'oidc.responseMode': string('oidc_response_mode'),
  'oidc.responseTypes': set('oidc_response_types'),
  'oidc.providerConfig': map('provider_config'),
  'oidc.unsupportedCriticalCertExtensions': set('unsupported_critical_cert_extensions'),
};
export const jwtConfigRules = rulesOf(configFields);

/** The configuration of a JWT auth mount; its key's name is the mount's path. A write replaces all of it. */
export const jwtConfigObject: ObjectType = {
  name: 'jwt-config',
  connection: 'VaultServer',
  after: ['auth-mount', 'jwks'],
  rules: jwtConfigRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    return readEach(request, (path) => readConfig(api, path, signal));
  },

  create: write,
  update: write,

  partOf: ({ connection, name }) => ({ connection, type: 'auth-mount', name }),
};

/** @returns undefined where the mount has none. @throws TargetError */
export async function readConfig(api: VaultApi, path: string, signal: AbortSignal): Promise<Live | undefined> {
  const data = await api.read<Record<string, Value>>(`auth/${path}/config`, signal);
  return data && { fields: fromVault(configFields, data) };
}

function each(convert: (item: Value) => Value): (value: Value) => Value {
  return (value) => (Array.isArray(value) ? (value as readonly Value[]).map(convert) : []);
}

/** A write of the configuration replaces all of it, so what is empty is left out: Vault refuses some empty fields. */
async function write(io: Io, { key, fields }: SettledDesired): Promise<Live> {
  const data = withoutEmpty(toVault(configFields, fields));
  await io.vault(key.connection).write(`auth/${key.name}/config`, data);
  return { fields };
}
