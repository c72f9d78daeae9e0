import { compactVerify, createRemoteJWKSet, decodeProtectedHeader, importSPKI, type JWTPayload } from 'jose';
import type { Acl, Token } from './acl.ts';
import type { AuthMethod, MethodConfig } from './auth-methods.ts';
import { durationOf } from './duration.ts';
import { invalidObject, NomadError } from './errors.ts';
import { interpolate } from './interpolate.ts';
import { selects, type Claims } from './selector.ts';
import { NAME } from './store.ts';

/** cap's jwt.DefaultLeeway of all times, and what an absent `exp` or `nbf` is reckoned by; seconds. */
const CLOCK_SKEW = 60;
const LEEWAY = 150;

/** Trades a JWT for a token, by a method of type JWT and its binding rules. */
export async function login(acl: Acl, body: { AuthMethodName?: string; LoginToken?: string }): Promise<Token> {
  const { AuthMethodName: name = '', LoginToken: jwt = '' } = body;
  invalidObject('invalid login request:', [
    name === '' && 'missing auth method name',
    jwt === '' && 'missing login token',
  ]);
  const method = acl.authMethods.rows.get(name);
  if (method === undefined) throw new NomadError(400, `auth-method "${name}" not found`);
  if (method.Type !== 'JWT') throw new NomadError(400, `unsupported auth-method type: ${method.Type}`);
  const claims = claimsOf(method.Config, await verified(jwt, method.Config, acl.now()));
  const bound = bindings(acl, method, claims);
  const variables = prefixed(claims.value);
  return acl.putToken({
    Name: interpolate(
      method.TokenNameFormat,
      { ...variables, auth_method_type: 'JWT', auth_method_name: name },
      'failed to generate ACL token name',
    ),
    Global: method.TokenLocality === 'global',
    ExpirationTTL: method.MaxTokenTTL,
    ...bound,
  });
}

async function verified(jwt: string, config: MethodConfig, now: number): Promise<JWTPayload> {
  try {
    const claims = await signed(jwt, config);
    checkTimes(claims, config, now / 1000);
    const audiences = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
    if (config.BoundAudiences?.length && !config.BoundAudiences.some((a) => audiences.includes(a)))
      throw new Error('invalid audience (aud) claim: audience claim does not match any expected audience');
    if (config.BoundIssuer?.length && !config.BoundIssuer.includes(claims.iss ?? ''))
      throw new Error(`invalid JWT issuer: ${claims.iss ?? ''}`);
    return claims;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NomadError(401, `unable to validate provided token: unable to verify signature of JWT token: ${reason}`);
  }
}

/** What a JWT says that is signed by one of the method's keys, with one of its algorithms (RS256 where it names none). */
async function signed(jwt: string, config: MethodConfig): Promise<JWTPayload> {
  const algorithms = config.SigningAlgs?.length ? [...config.SigningAlgs] : ['RS256'];
  const { alg = '' } = decodeProtectedHeader(jwt);
  if (!algorithms.includes(alg))
    throw new Error('invalid algorithm (alg) header parameter: token signed with unexpected algorithm');
  const read = ({ payload }: { payload: Uint8Array }): JWTPayload =>
    JSON.parse(new TextDecoder().decode(payload)) as JWTPayload;
  for (const pem of config.JWTValidationPubKeys ?? []) {
    const checked = await importSPKI(pem, alg)
      .then((key) => compactVerify(jwt, key))
      .catch(() => undefined);
    if (checked !== undefined) return read(checked);
  }
  if (config.JWTValidationPubKeys?.length || config.JWKSURL === '')
    throw new Error('error verifying token signature: no known key successfully validated the token signature');
  return read(await compactVerify(jwt, createRemoteJWKSet(new URL(config.JWKSURL))));
}

function checkTimes({ iat = 0, exp = 0, nbf = 0 }: JWTPayload, config: MethodConfig, now: number): void {
  if (iat === 0 && exp === 0 && nbf === 0)
    throw new Error('no issued at (iat), not before (nbf), or expiration time (exp) claims in token');
  const until = exp || Math.max(iat, nbf) + leewayOf(config.ExpirationLeeway, LEEWAY);
  const from = nbf || iat || until - leewayOf(config.NotBeforeLeeway, LEEWAY);
  const skew = leewayOf(config.ClockSkewLeeway, CLOCK_SKEW);
  if (now + skew < from) throw new Error('invalid not before (nbf) claim: token not yet valid');
  if (now - skew > until) throw new Error('invalid expiration time (exp) claim: token is expired');
  if (now + skew < iat) throw new Error('invalid issued at (iat) claim: token issued in the future');
}

/** Seconds; none where it is negative. */
function leewayOf(value: string, otherwise: number): number {
  return value === '' ? otherwise : Math.max(0, durationOf(value) / 1000);
}

function claimsOf(config: MethodConfig, payload: JWTPayload): Claims {
  const mapped = <T>(
    mappings: Readonly<Record<string, string>> | null,
    read: (claim: unknown) => T,
  ): Record<string, T> =>
    Object.fromEntries(
      Object.entries(mappings ?? {}).flatMap(([source, target]) => {
        const claim = claimAt(payload, source);
        return claim === undefined || claim === null ? [] : [[target, read(claim)] as const];
      }),
    );
  return {
    value: mapped(config.ClaimMappings, textOf),
    list: mapped(config.ListClaimMappings, (claim) =>
      (Array.isArray(claim) ? claim : [claim]).map(textOf).filter((text) => text !== ''),
    ),
  };
}

/** By name, or by JSON pointer. */
function claimAt(payload: JWTPayload, source: string): unknown {
  if (!source.startsWith('/')) return payload[source];
  return source
    .slice(1)
    .split('/')
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], payload);
}

function textOf(claim: unknown): string {
  if (typeof claim === 'string') return claim;
  if (typeof claim === 'number') return String(Math.trunc(claim));
  if (typeof claim === 'boolean' || Array.isArray(claim)) return JSON.stringify(claim);
  throw new NomadError(500, 'error converting claim to string from unknown type map[string]interface {}');
}

const prefixed = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`value.${name}`, value]));

/** What the matching rules give; roles and policies that there are not are passed over. */
function bindings(acl: Acl, method: AuthMethod, claims: Claims): Parameters<Acl['putToken']>[0] {
  const empty = Object.fromEntries(Object.values(method.Config.ClaimMappings ?? {}).map((name) => [name, '']));
  const lowered = Object.fromEntries(Object.entries(claims.value).map(([name, value]) => [name, value.toLowerCase()]));
  const variables = prefixed({ ...empty, ...lowered });
  const rules = acl.bindingRules
    .sorted()
    .filter((rule) => rule.AuthMethod === method.Name && selects(rule.Selector, claims));
  const targets = rules.map(({ BindType, BindName }) => {
    const name = interpolate(BindName, variables, `cannot compute "${BindType}" bind name for bind target`);
    if (BindType !== 'management' && !NAME.test(name))
      throw new NomadError(500, `computed "${BindType}" bind name for bind target is invalid: "${name}"`);
    return { type: BindType, name };
  });
  if (targets.some(({ type }) => type === 'management')) return { Type: 'management' };
  const named = (type: string): string[] => targets.filter((t) => t.type === type).map((t) => t.name);
  const Policies = named('policy').filter((name) => acl.policies.rows.has(name));
  const Roles = [...acl.roles.rows.values()].filter(({ Name }) => named('role').includes(Name));
  if (Policies.length === 0 && Roles.length === 0) throw new NomadError(400, 'no role or policy bindings matched');
  return { Type: 'client', Policies, Roles: Roles.map(({ ID }) => ({ ID })) };
}
