import type { FieldRule } from '../../plan/diff.ts';
import { stringIn, type Fields, type Value } from '../../plan/value.ts';
import { seconds, signedDuration } from '../schema.ts';
import { secretRule, UNTOLD } from '../secret-source.ts';
import type { AclAuthMethodSpec } from './schema.ts';

/**
 * The fields of an auth method: each with its path in the spec and in Nomad's `Config`. A field that Nomad has not, or has
 * empty or null, and one that is not declared, hold the same value.
 */

type Form = 'text' | 'flag' | 'duration' | 'list' | 'map' | 'secret';

interface ConfigField {
  /** Within `spec.config`. */
  readonly path: string;
  /** Within `Config`. */
  readonly at: readonly string[];
  readonly form: Form;
}

const field = (form: Form, path: string, ...at: string[]): ConfigField => ({ form, path, at });
const ASSERTION = 'OIDCClientAssertion';
const inAssertion = (form: Form, path: string, ...at: string[]): ConfigField =>
  field(form, `oidcClientAssertion.${path}`, ASSERTION, ...at);

const CONFIG: readonly ConfigField[] = [
  field('list', 'jwtValidationPubKeys', 'JWTValidationPubKeys'),
  field('text', 'jwksUrl', 'JWKSURL'),
  field('text', 'jwksCaCert', 'JWKSCACert'),
  field('text', 'oidcDiscoveryUrl', 'OIDCDiscoveryURL'),
  field('list', 'discoveryCaPem', 'DiscoveryCaPem'),
  field('text', 'oidcClientId', 'OIDCClientID'),
  field('secret', 'oidcClientSecret', 'OIDCClientSecret'),
  inAssertion('text', 'keySource', 'KeySource'),
  inAssertion('list', 'audience', 'Audience'),
  inAssertion('text', 'keyAlgorithm', 'KeyAlgorithm'),
  inAssertion('map', 'extraHeaders', 'ExtraHeaders'),
  inAssertion('secret', 'privateKey.pemKey', 'PrivateKey', 'PemKey'),
  inAssertion('text', 'privateKey.pemKeyFile', 'PrivateKey', 'PemKeyFile'),
  inAssertion('text', 'privateKey.keyId', 'PrivateKey', 'KeyID'),
  inAssertion('text', 'privateKey.pemCert', 'PrivateKey', 'PemCert'),
  inAssertion('text', 'privateKey.pemCertFile', 'PrivateKey', 'PemCertFile'),
  inAssertion('text', 'privateKey.keyIdHeader', 'PrivateKey', 'KeyIDHeader'),
  field('flag', 'oidcEnablePkce', 'OIDCEnablePKCE'),
  field('flag', 'oidcDisableUserInfo', 'OIDCDisableUserInfo'),
  field('list', 'oidcScopes', 'OIDCScopes'),
  field('list', 'boundAudiences', 'BoundAudiences'),
  field('list', 'boundIssuer', 'BoundIssuer'),
  field('list', 'allowedRedirectUris', 'AllowedRedirectURIs'),
  field('list', 'signingAlgs', 'SigningAlgs'),
  field('duration', 'expirationLeeway', 'ExpirationLeeway'),
  field('duration', 'notBeforeLeeway', 'NotBeforeLeeway'),
  field('duration', 'clockSkewLeeway', 'ClockSkewLeeway'),
  field('map', 'claimMappings', 'ClaimMappings'),
  field('map', 'listClaimMappings', 'ListClaimMappings'),
  field('flag', 'verboseLogging', 'VerboseLogging'),
];

const RULES: Readonly<Record<Form, FieldRule>> = {
  text: { compare: 'text' },
  flag: { compare: 'exact' },
  duration: { compare: 'exact' },
  list: { compare: 'set' },
  map: { compare: 'map' },
  secret: secretRule,
};

/** How the fields of an auth method are compared. */
export const methodFieldRules: Readonly<Record<string, FieldRule>> = {
  type: { compare: 'exact' },
  tokenLocality: { compare: 'exact' },
  tokenNameFormat: { compare: 'exact' },
  maxTokenTtl: { compare: 'exact' },
  default: { compare: 'exact' },
  ...Object.fromEntries(CONFIG.map(({ path, form }) => [`config.${path}`, RULES[form]])),
};

type Json = Readonly<Record<string, unknown>>;

/** An auth method as Nomad tells it, but for its indexes. */
export interface MethodBody {
  readonly Name: string;
  readonly Type: string;
  readonly TokenLocality: string;
  readonly TokenNameFormat: string;
  readonly MaxTokenTTL: string;
  readonly Default: boolean;
  readonly Config: Json | null;
}

/** What a declared method shall hold, but for its secrets. */
export function declaredFields(spec: AclAuthMethodSpec): Fields {
  const declared = withDefaults(spec);
  const config = CONFIG.filter(({ form }) => form !== 'secret').map(({ path, form }): [string, Value] => [
    `config.${path}`,
    normal(form, at(declared, path.split('.'))),
  ]);
  return {
    type: spec.type,
    tokenLocality: spec.tokenLocality,
    tokenNameFormat: spec.tokenNameFormat,
    maxTokenTtl: seconds(spec.maxTokenTtl),
    default: spec.default,
    ...Object.fromEntries(config),
  };
}

/** What Nomad makes of an assertion whose fields are omitted (OIDCClientAssertion.Canonicalize in nomad/structs/acl.go). */
function withDefaults({ config }: AclAuthMethodSpec): Json {
  const { oidcClientAssertion: assertion, oidcDiscoveryUrl } = config;
  if (assertion === undefined) return config;
  const { keySource, audience, keyAlgorithm, privateKey } = assertion;
  return {
    ...config,
    oidcClientAssertion: {
      ...assertion,
      audience: audience.length > 0 ? audience : [oidcDiscoveryUrl],
      keyAlgorithm: keyAlgorithm ?? (keySource === 'client_secret' ? 'HS256' : 'RS256'),
      ...(privateKey && {
        privateKey: {
          ...privateKey,
          keyIdHeader: privateKey.keyIdHeader ?? (privateKey.keyId === undefined ? 'x5t#S256' : 'kid'),
        },
      }),
    },
  };
}

/** What a live method holds. Of a secret, only whether there is one is told ("redacted"). */
export function liveFields(method: MethodBody): Fields {
  const config = CONFIG.map(({ path, at: keys, form }): [string, Value] => {
    const value = normal(form, at(method.Config, keys));
    return [`config.${path}`, form === 'secret' && value !== '' ? UNTOLD : value];
  });
  return {
    type: method.Type,
    tokenLocality: method.TokenLocality,
    tokenNameFormat: method.TokenNameFormat,
    maxTokenTtl: secondsIn(method.MaxTokenTTL),
    default: method.Default,
    ...Object.fromEntries(config),
  };
}

/** Paths of the secrets that a live method has. */
export function secretFieldsOf(fields: Fields): string[] {
  return CONFIG.filter(({ form, path }) => form === 'secret' && fields[`config.${path}`] === UNTOLD).map(
    ({ path }) => `config.${path}`,
  );
}

/** What declares a live method. @param secretAt the value of a field, by its path, that Nomad does not tell. */
export function declaration(fields: Fields, secretAt: (path: string) => unknown): Record<string, unknown> {
  const spec: Record<string, unknown> = { config: {} };
  const secrets = new Set(secretFieldsOf(fields));
  for (const [path, value] of Object.entries(fields)) {
    const told = secrets.has(path) ? secretAt(path) : value;
    if (told !== undefined && !isNothing(value)) put(spec, path.split('.'), told);
  }
  return spec;
}

/**
 * The method to send: whole, since an omitted field would keep what stands there, but for `Config`, which is replaced.
 * @param secrets by path of the field.
 */
export function methodBody(name: string, fields: Fields, secrets: Readonly<Record<string, string>>): MethodBody {
  const config: Record<string, unknown> = {};
  for (const { path, at: keys, form } of CONFIG) {
    const value = form === 'secret' ? (secrets[`config.${path}`] ?? '') : fields[`config.${path}`];
    if (value !== undefined && !isNothing(value)) put(config, keys, form === 'duration' ? duration(value) : value);
  }
  return {
    Name: name,
    Type: stringIn(fields, 'type'),
    TokenLocality: stringIn(fields, 'tokenLocality'),
    TokenNameFormat: stringIn(fields, 'tokenNameFormat'),
    MaxTokenTTL: duration(fields['maxTokenTtl']),
    Default: fields['default'] === true,
    Config: config,
  };
}

function normal(form: Form, value: unknown): Value {
  if (form === 'flag') return value === true;
  if (form === 'duration') return secondsIn(value);
  if (form === 'list') return Array.isArray(value) ? value.map(String) : [];
  if (form === 'map') return { ...(value as Fields | null | undefined) };
  return typeof value === 'string' ? value : '';
}

/** Go durations, or seconds; a duration that Nomad does not have is empty. */
function secondsIn(value: unknown): number {
  const parsed = signedDuration.safeParse(value);
  return parsed.success ? seconds(parsed.data) : 0;
}

function duration(value: Value | undefined): string {
  return `${String(secondsIn(value))}s`;
}

function at(value: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined) return value;
  return typeof value === 'object' && value !== null ? at((value as Json)[key], rest) : undefined;
}

function put(target: Record<string, unknown>, [key = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) target[key] = value;
  else put((target[key] ??= {}) as Record<string, unknown>, rest, value);
}

function isNothing(value: Value): boolean {
  if (value === null || typeof value !== 'object')
    return value === '' || value === false || value === 0 || value === null;
  return Object.keys(value).length === 0;
}
