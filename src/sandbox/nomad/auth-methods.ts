import { assertionOf, assertionProblem, type ClientAssertion } from './client-assertion.ts';
import { durationOf, goDuration, isDuration } from './duration.ts';
import { invalidObject, NomadError } from './errors.ts';
import { hashOf } from './hash.ts';
import { NAME, type Indexed, type Table } from './store.ts';

const LISTS = [
  'JWTValidationPubKeys',
  'OIDCScopes',
  'BoundAudiences',
  'BoundIssuer',
  'AllowedRedirectURIs',
  'DiscoveryCaPem',
  'SigningAlgs',
] as const;
const TEXTS = ['JWKSURL', 'OIDCDiscoveryURL', 'OIDCClientID', 'OIDCClientSecret', 'JWKSCACert'] as const;
const FLAGS = ['OIDCEnablePKCE', 'OIDCDisableUserInfo', 'VerboseLogging'] as const;
const DURATIONS = ['ExpirationLeeway', 'NotBeforeLeeway', 'ClockSkewLeeway'] as const;
const MAPS = ['ClaimMappings', 'ListClaimMappings'] as const;

export type MethodConfig = { readonly [K in (typeof LISTS)[number]]: readonly string[] | null } & {
  readonly [K in (typeof TEXTS)[number] | (typeof DURATIONS)[number]]: string;
} & { readonly [K in (typeof FLAGS)[number]]: boolean } & {
  readonly [K in (typeof MAPS)[number]]: Readonly<Record<string, string>> | null;
} & { readonly OIDCClientAssertion: ClientAssertion | null };

export interface AuthMethod extends Indexed {
  readonly Name: string;
  /** `OIDC` or `JWT`. */
  readonly Type: string;
  /** `local` or `global`. */
  readonly TokenLocality: string;
  readonly TokenNameFormat: string;
  readonly MaxTokenTTL: string;
  readonly Default: boolean;
  readonly Config: MethodConfig;
  readonly Hash: string;
  readonly CreateTime: string;
  readonly ModifyTime: string;
}

/** What somebody writes: any part of it may be missing. */
export type MethodBody = Partial<Omit<AuthMethod, 'Config' | 'MaxTokenTTL'>> & {
  readonly MaxTokenTTL?: string | number | null;
  readonly Config?: Readonly<Record<string, unknown>> | null;
};

const FORMAT = '${auth_method_type}-${auth_method_name}';
/** token_min_expiration_ttl and token_max_expiration_ttl; milliseconds. */
const TTL = { min: 60_000, max: 24 * 3_600_000 };

/**
 * Creates a method, or changes the one of that name: what is empty then keeps what was, except `Default`; `Config` is
 * replaced as a whole. An equal write changes nothing.
 */
export function putAuthMethod(methods: Table<AuthMethod>, body: MethodBody, now: string): AuthMethod {
  if (typeof body.MaxTokenTTL === 'string') goDurationIn(body.MaxTokenTTL);
  const Name = body.Name ?? '';
  const old = methods.rows.get(Name);
  const ttl = durationOf(body.MaxTokenTTL ?? undefined) || durationOf(old?.MaxTokenTTL);
  const Config = body.Config ? configOf(body.Config) : old?.Config;
  const fields = {
    Name,
    Type: body.Type || (old?.Type ?? ''),
    TokenLocality: body.TokenLocality || (old?.TokenLocality ?? ''),
    TokenNameFormat: body.TokenNameFormat || (old?.TokenNameFormat ?? FORMAT),
    MaxTokenTTL: ttl === 0 ? '' : goDuration(ttl),
    Default: body.Default ?? false,
  };
  invalidObject('auth method 0 invalid:', [
    !NAME.test(Name) && `invalid name '${Name}'`,
    !['local', 'global'].includes(fields.TokenLocality) && `invalid token locality '${fields.TokenLocality}'`,
    !['OIDC', 'JWT'].includes(fields.Type) && `invalid token type '${fields.Type}'`,
    configProblem(Config, fields.Type),
    (ttl < TTL.min || ttl > TTL.max) &&
      `invalid MaxTokenTTL value '${ttl === 0 ? '0s' : goDuration(ttl)}' (should be between 1m0s and 24h0m0s)`,
  ]);
  const other = [...methods.rows.values()].find((m) => m.Default && m.Name !== Name);
  if (fields.Default && other) throw new NomadError(400, `default method already exists: ${other.Name}`);
  const config = Config as MethodConfig;
  return methods.putChanged(Name, {
    ...fields,
    Config: config,
    Hash: hashOf([JSON.stringify(fields), JSON.stringify(config)]),
    CreateTime: old?.CreateTime ?? body.CreateTime ?? now,
    ModifyTime: now,
  });
}

function goDurationIn(text: string): void {
  if (!isDuration(text)) throw new NomadError(400, `time: invalid duration ${JSON.stringify(text)}`);
}

function configOf(body: Readonly<Record<string, unknown>>): MethodConfig {
  const each = <K extends string, T>(names: readonly K[], read: (value: unknown) => T): Record<K, T> =>
    Object.fromEntries(names.map((name) => [name, read(body[name])])) as Record<K, T>;
  const texts = each(TEXTS, (value) => (value ?? '') as string);
  return {
    ...each(LISTS, (value) => (value ?? null) as string[] | null),
    ...texts,
    ...each(FLAGS, (value) => value === true),
    ...each(MAPS, (value) => (value ?? null) as Record<string, string> | null),
    ...each(DURATIONS, leeway),
    OIDCClientAssertion: assertionOf(body['OIDCClientAssertion'], texts),
  };
}

function leeway(value: unknown): string {
  if (value === undefined || value === null || value === '') return '';
  if (typeof value === 'string') goDurationIn(value);
  const milliseconds = durationOf(value as string | number);
  return milliseconds === 0 ? '' : goDuration(milliseconds);
}

function configProblem(config: MethodConfig | undefined, type: string): string | false {
  if (config === undefined) return 'invalid config: missing auth method Config';
  const problems: (string | false)[] =
    type === 'OIDC'
      ? [
          config.OIDCDiscoveryURL === '' && 'missing OIDCDiscoveryURL',
          config.OIDCClientID === '' && 'missing OIDCClientID',
          assertionProblem(config.OIDCClientAssertion),
        ]
      : type === 'JWT'
        ? [
            config.OIDCDiscoveryURL === '' &&
              config.JWKSURL === '' &&
              !config.JWTValidationPubKeys?.length &&
              'JWT auth method requires either OIDCDiscoveryURL, or JWKS URL, or JWTValidationPubKeys set',
          ]
        : [];
  const found = problems.filter((problem) => problem !== false);
  return found.length > 0 && `invalid config: ${found.join(',')}`;
}

/** As every read, event and reply to a write has it: without its secrets. */
export function shownMethod(method: AuthMethod): AuthMethod {
  const { Config } = method;
  const { OIDCClientAssertion: assertion } = Config;
  const redacted = (secret: string): string => (secret === '' ? '' : 'redacted');
  return {
    ...method,
    Config: {
      ...Config,
      OIDCClientSecret: redacted(Config.OIDCClientSecret),
      OIDCClientAssertion: assertion && {
        ...assertion,
        ClientSecret: redacted(assertion.ClientSecret),
        PrivateKey: assertion.PrivateKey && {
          ...assertion.PrivateKey,
          PemKey: redacted(assertion.PrivateKey.PemKey),
        },
      },
    },
  };
}

/** As the list has it, which everybody may read. */
export function authMethodStub({ Name, Type, Default, Hash, CreateIndex, ModifyIndex }: AuthMethod): unknown {
  return { Name, Type, Default, Hash, CreateIndex, ModifyIndex };
}
