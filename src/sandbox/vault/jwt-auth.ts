import { X509Certificate } from 'node:crypto';
import { createRemoteJWKSet, decodeProtectedHeader, importSPKI, jwtVerify, type JWTPayload } from 'jose';
import { invalid, missing } from './errors.ts';
import { list, map, networks, seconds, text, type Fields } from './values.ts';

/** How a field of a role is read, and what it is where nothing was ever set. */
const ROLE_FIELDS: Readonly<
  Record<string, { readonly read: (value: unknown, field: string) => unknown; readonly unset: unknown }>
> = {
  allowed_redirect_uris: { read: list, unset: null },
  bound_audiences: { read: list, unset: null },
  bound_claims: { read: map, unset: null },
  bound_claims_type: { read: text, unset: 'string' },
  bound_subject: { read: text, unset: '' },
  claim_mappings: { read: map, unset: null },
  clock_skew_leeway: { read: seconds, unset: 0 },
  expiration_leeway: { read: seconds, unset: 0 },
  groups_claim: { read: text, unset: '' },
  max_age: { read: seconds, unset: 0 },
  not_before_leeway: { read: seconds, unset: 0 },
  oidc_scopes: { read: list, unset: null },
  role_type: { read: text, unset: 'oidc' },
  token_bound_cidrs: { read: networks, unset: [] },
  token_explicit_max_ttl: { read: seconds, unset: 0 },
  token_max_ttl: { read: seconds, unset: 0 },
  token_no_default_policy: { read: Boolean, unset: false },
  token_num_uses: { read: Number, unset: 0 },
  token_period: { read: seconds, unset: 0 },
  token_policies: { read: list, unset: [] },
  token_ttl: { read: seconds, unset: 0 },
  token_type: { read: (value) => text(value) || 'default', unset: 'default' },
  user_claim: { read: text, unset: '' },
  user_claim_json_pointer: { read: Boolean, unset: false },
  verbose_oidc_logging: { read: Boolean, unset: false },
};
/** Fields that a write resets when it omits them; all others are merged. */
const RESET = { role_type: 'oidc', bound_claims_type: 'string' };

const CONFIG_LISTS = [
  'jwt_supported_algs',
  'jwt_validation_pubkeys',
  'oidc_response_types',
  'unsupported_critical_cert_extensions',
];
const CONFIG_TEXTS = [
  'bound_issuer',
  'default_role',
  'jwks_ca_pem',
  'jwks_url',
  'oidc_client_id',
  'oidc_discovery_ca_pem',
  'oidc_discovery_url',
  'oidc_response_mode',
];

export interface Login {
  readonly alias: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly role: Fields;
}

/** A mount of Vault's JWT auth plugin. */
export class JwtAuth {
  readonly roles = new Map<string, Record<string, unknown>>();
  config: Record<string, unknown> | undefined;

  /** Replaces the whole configuration, and fetches every URL that it names before it is taken. */
  async writeConfig(body: Fields): Promise<void> {
    const pairs = Array.isArray(body['jwks_pairs']) ? (body['jwks_pairs'] as Fields[]) : [];
    const sources = [
      list(body['jwt_validation_pubkeys']).length > 0,
      text(body['jwks_url']) !== '',
      pairs.length > 0,
      text(body['oidc_discovery_url']) !== '',
    ];
    if (sources.filter(Boolean).length !== 1)
      throw invalid(
        "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
      );
    const client = [text(body['oidc_client_id']) !== '', text(body['oidc_client_secret']) !== ''];
    if (client[0] !== client[1]) throw invalid("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC");
    if (client[0] === true && text(body['oidc_discovery_url']) === '')
      throw invalid("'oidc_discovery_url' must be set for OIDC");
    if (pairs.length > 0 && text(body['bound_issuer']) !== '')
      throw invalid("Bound issuer is not supported for use with 'jwks_pairs'");
    if (pairs.length > 0 && text(body['jwks_ca_pem']) !== '')
      throw invalid("CA PEMs must be provided as part of the 'jwks_pairs' when using multiple JWKS URLs");
    for (const pem of [body, ...pairs].map((source) => text(source['jwks_ca_pem']))) checkCertificate(pem);
    checkAlgorithms(list(body['jwt_supported_algs']));
    for (const pem of list(body['jwt_validation_pubkeys']))
      await importSPKI(pem, 'RS256').catch(() => {
        throw invalid('error parsing public key: data does not contain any valid public keys');
      });
    for (const url of [text(body['jwks_url']), ...pairs.map((pair) => text(pair['jwks_url']))].filter((u) => u !== ''))
      await fetched(url, `error checking jwks URL ${url}`);
    const discovery = text(body['oidc_discovery_url']);
    if (discovery !== '')
      await fetched(`${discovery}/.well-known/openid-configuration`, 'error checking oidc discovery URL');
    this.config = {
      ...Object.fromEntries(CONFIG_TEXTS.map((field) => [field, text(body[field])])),
      ...Object.fromEntries(CONFIG_LISTS.map((field) => [field, list(body[field])])),
      default_role: text(body['default_role']).toLowerCase(),
      jwks_pairs: pairs.map((pair) => ({ jwks_url: text(pair['jwks_url']), jwks_ca_pem: text(pair['jwks_ca_pem']) })),
      namespace_in_state: body['namespace_in_state'] ?? this.config?.['namespace_in_state'] ?? true,
      provider_config: map(body['provider_config']),
    };
  }

  writeRole(name: string, body: Fields): void {
    const before =
      this.roles.get(name) ??
      Object.fromEntries(Object.entries(ROLE_FIELDS).map(([field, { unset }]) => [field, unset]));
    const role: Record<string, unknown> = { ...before, ...RESET };
    for (const [field, { read }] of Object.entries(ROLE_FIELDS)) {
      if (body[field] !== undefined) role[field] = read(body[field], field);
    }
    if (role['role_type'] !== 'jwt' && role['role_type'] !== 'oidc')
      throw invalid(`invalid 'role_type': ${String(role['role_type'])}`);
    if (role['user_claim'] === '') throw invalid('a user claim must be defined on the role');
    if (role['role_type'] === 'oidc' && list(role['allowed_redirect_uris']).length === 0)
      throw invalid("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.");
    const isBound =
      list(role['bound_audiences']).length > 0 ||
      role['bound_subject'] !== '' ||
      Object.keys(map(role['bound_claims'])).length > 0 ||
      list(role['token_bound_cidrs']).length > 0;
    if (role['role_type'] === 'jwt' && !isBound)
      throw invalid('must have at least one bound constraint when creating/updating a role');
    const targets = Object.values(map(role['claim_mappings'])).map(String);
    if (targets.includes('role')) throw invalid('metadata key "role" is reserved and may not be a mapping destination');
    const twice = targets.find((target, i) => targets.indexOf(target) !== i);
    if (twice !== undefined) throw invalid(`multiple keys are mapped to metadata key "${twice}"`);
    checkTokens(role);
    this.roles.set(name, role);
  }

  /** Verifies a JWT and what the role binds. */
  async login(body: Fields): Promise<Login> {
    if (this.config === undefined) throw invalid('could not load configuration');
    const name = (text(body['role']) || text(this.config['default_role'])).toLowerCase();
    if (name === '') throw invalid('missing role');
    const role = this.roles.get(name);
    if (role === undefined) throw invalid(`role "${name}" could not be found`);
    if (text(body['jwt']) === '') throw invalid('missing token');
    const claims = await this.#verified(text(body['jwt']));
    const audiences = list(role['bound_audiences']);
    const presented = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
    if (presented.length > 0 && audiences.length === 0)
      throw invalid('error validating token: audience claim found in JWT but no audiences bound to the role');
    if (audiences.length > 0 && !presented.some((aud) => audiences.includes(aud)))
      throw invalid(
        'error validating token: invalid audience (aud) claim: audience claim does not match any expected audience',
      );
    const issuer = text(this.config['bound_issuer']);
    if (issuer !== '' && claims.iss !== issuer) throw invalid('error validating token: invalid issuer (iss) claim');
    for (const [claim, wanted] of Object.entries(map(role['bound_claims']))) {
      const presentedClaim = claims[claim];
      if (presentedClaim === undefined) throw invalid(`error validating claims: claim "${claim}" is missing`);
      if (!list(wanted).includes(worded(presentedClaim)))
        throw invalid(`error validating claims: claim "${claim}" does not match any associated bound claim values`);
    }
    const mappings = Object.entries(map(role['claim_mappings'])).filter(([claim]) => claims[claim] !== undefined);
    const metadata = Object.fromEntries(mappings.map(([claim, key]) => [String(key), String(claims[claim])]));
    return { alias: text(claims[text(role['user_claim']).replace(/^\//, '')]), metadata, role };
  }

  async #verified(jwt: string): Promise<JWTPayload> {
    const algorithms = list(this.config?.['jwt_supported_algs']);
    const options = { algorithms: algorithms.length > 0 ? algorithms : ['RS256'] };
    try {
      for (const pem of list(this.config?.['jwt_validation_pubkeys'])) {
        const key = await importSPKI(pem, decodeProtectedHeader(jwt).alg ?? 'RS256');
        const verified = await jwtVerify(jwt, key, options).catch(() => undefined);
        if (verified !== undefined) return verified.payload;
      }
      const url = text(this.config?.['jwks_url']);
      if (url === '') throw new Error('no known key successfully validated the token signature');
      return (await jwtVerify(jwt, createRemoteJWKSet(new URL(url)), options).catch(inVaultsWords)).payload;
    } catch (error) {
      throw invalid(
        `error validating token: error verifying token signature: ${error instanceof Error ? error.message : ''}`,
      );
    }
  }

  role(name: string): Record<string, unknown> {
    const role = this.roles.get(name);
    if (role === undefined) throw missing();
    return role;
  }
}

/** Of its OIDC library (coreos/go-oidc, RemoteKeySet). */
function inVaultsWords(error: unknown): never {
  const { code, message } = error as Error & { readonly code?: string };
  if (code === 'ERR_JWKS_NO_MATCHING_KEY') throw new Error('failed to verify id token signature');
  const isUnfetched = code === 'ERR_JOSE_GENERIC' || code === 'ERR_JWKS_TIMEOUT' || error instanceof TypeError;
  throw isUnfetched ? new Error(`fetching keys oidc: get keys failed ${message}`) : error;
}

function worded(claim: unknown): string {
  return typeof claim === 'string' ? claim : JSON.stringify(claim);
}

function checkCertificate(pem: string): void {
  if (pem === '') return;
  try {
    new X509Certificate(pem);
  } catch {
    throw invalid('error checking jwks_ca_pem');
  }
}

const ALGORITHMS = /^((RS|ES|PS)(256|384|512)|EdDSA)$/;

function checkAlgorithms(names: readonly string[]): void {
  const unknown = names.find((name) => !ALGORITHMS.test(name));
  if (unknown !== undefined) throw invalid(`invalid jwt_supported_algs: unsupported signing algorithm "${unknown}"`);
}

/** What the fields that begin with `token_` must be to each other. */
function checkTokens(role: Fields): void {
  const type = text(role['token_type']);
  if (!TOKEN_TYPES.includes(type)) throw invalid(`invalid 'token_type' value "${type}"`);
  const [ttl, max, period] = [role['token_ttl'], role['token_max_ttl'], role['token_period']].map(Number);
  if (type.endsWith('batch') && period !== 0)
    throw invalid("'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens");
  if (max !== 0 && Number(ttl) > Number(max)) throw invalid("'token_ttl' cannot be greater than 'token_max_ttl'");
}

const TOKEN_TYPES = ['default', 'service', 'batch', 'default-service', 'default-batch'];

async function fetched(url: string, failure: string): Promise<void> {
  const reply = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  const body: unknown = reply?.ok === true ? await reply.json().catch(() => undefined) : undefined;
  if (body === undefined) throw invalid(failure);
}
