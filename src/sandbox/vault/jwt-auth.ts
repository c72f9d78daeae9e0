import { createRemoteJWKSet, decodeProtectedHeader, importSPKI, jwtVerify, type JWTPayload } from 'jose';
import { invalid, missing } from './errors.ts';
import { list, map, seconds, text, type Fields } from './values.ts';

/** How a field of a role is read, and what it is where nothing was ever set. */
const ROLE_FIELDS: Readonly<Record<string, { readonly read: (value: unknown) => unknown; readonly unset: unknown }>> = {
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
  token_bound_cidrs: { read: list, unset: [] },
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
    if (pairs.length > 0 && text(body['bound_issuer']) !== '')
      throw invalid("'bound_issuer' cannot be set when multiple JWKS URLs are specified");
    if (pairs.length > 0 && text(body['jwks_ca_pem']) !== '')
      throw invalid("'jwks_ca_pem' cannot be set when 'jwks_pairs' is");
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
      if (body[field] !== undefined) role[field] = read(body[field]);
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
    const targets = Object.values(map(role['claim_mappings']));
    if (new Set(targets).size !== targets.length || targets.includes('role'))
      throw invalid('multiple keys are mapped to metadata key, or metadata key "role" is reserved');
    this.roles.set(name, role);
  }

  /** Verifies a JWT and what the role binds. */
  async login(body: Fields): Promise<Login> {
    const name = (text(body['role']) || text(this.config?.['default_role'])).toLowerCase();
    const role = this.roles.get(name);
    if (this.config === undefined) throw invalid('could not load configuration');
    if (role === undefined) throw invalid(`role "${name}" could not be found`);
    const claims = await this.#verified(text(body['jwt']));
    const audiences = list(role['bound_audiences']);
    const presented = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
    if (presented.length > 0 && audiences.length === 0)
      throw invalid('error validating token: audience claim found in JWT but no audiences bound to the role');
    if (audiences.length > 0 && !presented.some((aud) => audiences.includes(aud)))
      throw invalid('error validating claims: aud claim does not match any bound audience');
    const issuer = text(this.config['bound_issuer']);
    if (issuer !== '' && claims.iss !== issuer) throw invalid('error validating claims: invalid issuer');
    for (const [claim, wanted] of Object.entries(map(role['bound_claims']))) {
      if (!list(wanted).includes(String(claims[claim])))
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
      return (await jwtVerify(jwt, createRemoteJWKSet(new URL(url)), options)).payload;
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

async function fetched(url: string, failure: string): Promise<void> {
  const reply = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  const body: unknown = reply?.ok === true ? await reply.json().catch(() => undefined) : undefined;
  if (body === undefined) throw invalid(failure);
}
