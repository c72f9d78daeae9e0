import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import {
  connectionName,
  duration,
  httpUrl,
  immutable,
  managed,
  nomadName,
  pem,
  signedDuration,
  text,
} from '../schema.ts';
import { secretSource, type SecretSources } from '../secret-source.ts';

/** Name of a token that a login gives, as Nomad has it where none is declared. */
export const TOKEN_NAME_FORMAT = '${auth_method_type}-${auth_method_name}';

const word = z.string().min(1).max(512);
const words = z.array(word).max(256).default([]);
const claims = z.record(z.string().min(1).max(512), word).default({}).meta({ maxProperties: 256 });
const leeway = signedDuration.default(0);
const serverFile = z.string().min(1).max(4096).optional();

const privateKey = z
  .strictObject({
    pemKey: secretSource.optional().describe('Where the private RSA key stands, as PEM. It is never shown.'),
    pemKeyFile: serverFile.describe('File on the Nomad servers with the private key, in place of pemKey.'),
    keyId: word.optional().describe('ID under which the provider knows the key: the header `kid`.'),
    pemCert: pem
      .optional()
      .describe('Certificate of the key, as PEM, from which the header is derived; in place of keyId.'),
    pemCertFile: serverFile.describe('File on the Nomad servers with the certificate, in place of pemCert.'),
    keyIdHeader: z
      .enum(['kid', 'x5t', 'x5t#S256'])
      .optional()
      .describe('Header that tells the key. Default: `kid` with keyId, `x5t#S256` with a certificate.'),
  })
  .describe('The key that the assertion is signed with where keySource is private_key.');

const assertion = z
  .strictObject({
    keySource: z
      .enum(['nomad', 'client_secret', 'private_key'])
      .describe('What it is signed with: a key of Nomad’s own keyring, oidcClientSecret, or privateKey.'),
    audience: words.describe('Audience of the assertion. Default: oidcDiscoveryUrl.'),
    keyAlgorithm: z
      .string()
      .max(16)
      .regex(/^[A-Za-z0-9]+$/, { error: 'must be the name of an algorithm, such as RS256' })
      .optional()
      .describe('Signature algorithm. Default: HS256 with client_secret, else RS256.'),
    extraHeaders: claims.describe('Further headers of the assertion.'),
    privateKey: privateKey.optional(),
  })
  .describe('Has Nomad present itself to the provider by a signed JWT, in place of the client secret.');

const config = z
  .strictObject({
    jwtValidationPubKeys: z.array(pem).max(64).default([]).describe('Public keys that sign the JWTs, as PEM.'),
    jwksUrl: httpUrl
      .optional()
      .describe('URL of the JWKS of the keys that sign the JWTs, as the Nomad servers reach it.'),
    jwksCaCert: pem.optional().describe('CA certificate of the server of the JWKS, as PEM.'),
    oidcDiscoveryUrl: httpUrl
      .optional()
      .describe(
        'URL of the OIDC provider, without /.well-known/openid-configuration. Nothing is asked of it before the first login.',
      ),
    discoveryCaPem: z.array(pem).max(64).default([]).describe('CA certificates of the OIDC provider, as PEM.'),
    oidcClientId: word.optional().describe('Client ID at the OIDC provider.'),
    oidcClientSecret: secretSource
      .optional()
      .describe('Where the client secret for the OIDC provider stands. It is never shown.'),
    oidcClientAssertion: assertion.optional(),
    oidcEnablePkce: z.boolean().default(false).describe('Whether logins use PKCE.'),
    oidcDisableUserInfo: z.boolean().default(false).describe('Whether the provider’s user info is left alone.'),
    oidcScopes: words.describe('Scopes that are asked for beside `openid`.'),
    boundAudiences: words.describe('Audiences of which the token must have one.'),
    boundIssuer: words.describe('Issuers of which the token must have one.'),
    allowedRedirectUris: words.describe('URLs that logins may come back to.'),
    signingAlgs: words.describe('Signature algorithms that are accepted. Default of the servers: RS256.'),
    expirationLeeway: leeway.describe('How long after its end a token is accepted.'),
    notBeforeLeeway: leeway.describe('How long before its beginning a token is accepted.'),
    clockSkewLeeway: leeway.describe('Difference of the clocks that is forgiven.'),
    claimMappings: claims.describe(
      'Claims, and the names under which selectors and bind names of binding rules know them.',
    ),
    listClaimMappings: claims.describe('The same for claims that are lists.'),
    verboseLogging: z
      .boolean()
      .default(false)
      .describe('Whether the servers log what is in the tokens of logins. For experiments only.'),
  })
  .describe('How logins are verified.');

export const aclAuthMethodSpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that holds the auth method.'),
  name: nomadName.optional().describe('Name on Nomad; metadata.name where omitted. Immutable.'),
  type: z.enum(['JWT', 'OIDC']).describe('Whether logins bring a JWT, or go by way of an OIDC provider.'),
  tokenLocality: z
    .enum(['local', 'global'])
    .describe(
      'Whether the tokens of logins are valid in the region of the login, or in all; that needs grants.globalTokens.',
    ),
  tokenNameFormat: text(512)
    .min(1)
    .default(TOKEN_NAME_FORMAT)
    .describe(
      'Names of the tokens of logins; may use `${auth_method_type}`, `${auth_method_name}` and `${value.NAME}`.',
    ),
  maxTokenTtl: duration.describe('How long the tokens of logins live; 1m to 24h, unless the servers say otherwise.'),
  default: z
    .boolean()
    .default(false)
    .describe('Whether it is the method of a login that names none. A cluster has one such method at most.'),
  config,
  ...managed,
});
export type AclAuthMethodSpec = z.infer<typeof aclAuthMethodSpec>;

/** Fields that hold secrets, and where these stand. */
export function secretsOf({ config }: AclAuthMethodSpec): SecretSources {
  return {
    'config.oidcClientSecret': config.oidcClientSecret,
    'config.oidcClientAssertion.privateKey.pemKey': config.oidcClientAssertion?.privateKey?.pemKey,
  };
}

const ASSERTION = 'config.oidcClientAssertion';
const IN_CEL = `has(self.${ASSERTION})`;
const KEY = `${ASSERTION}.privateKey`;

/** Of some fields of the private key, exactly one is set where there is such a key. */
function oneOf(fields: readonly ('pemKey' | 'pemKeyFile' | 'keyId' | 'pemCert' | 'pemCertFile')[]): SpecRule {
  const count = fields.map((field) => `(has(self.${KEY}.${field}) ? 1 : 0)`).join(' + ');
  return {
    cel: `!${IN_CEL} || !has(self.${KEY}) || ${count} == 1`,
    holds: ({ config }: AclAuthMethodSpec) => {
      const key = config.oidcClientAssertion?.privateKey;
      return key === undefined || fields.filter((field) => key[field] !== undefined).length === 1;
    },
    path: KEY,
    message: `exactly one of ${fields.join(', ')} must be set in privateKey`,
  };
}

export const aclAuthMethodRules: readonly SpecRule[] = [
  immutable('name'),
  immutable('nomadRef'),
  {
    cel: "self.type != 'JWT' || has(self.config.jwksUrl) || has(self.config.oidcDiscoveryUrl) || size(self.config.jwtValidationPubKeys) > 0",
    holds: ({ type, config }: AclAuthMethodSpec) =>
      type !== 'JWT' ||
      config.jwksUrl !== undefined ||
      config.oidcDiscoveryUrl !== undefined ||
      config.jwtValidationPubKeys.length > 0,
    path: 'config',
    message: 'a JWT method needs one of jwksUrl, oidcDiscoveryUrl, jwtValidationPubKeys',
  },
  {
    cel: "self.type != 'OIDC' || (has(self.config.oidcDiscoveryUrl) && has(self.config.oidcClientId))",
    holds: ({ type, config }: AclAuthMethodSpec) =>
      type !== 'OIDC' || (config.oidcDiscoveryUrl !== undefined && config.oidcClientId !== undefined),
    path: 'config',
    message: 'an OIDC method needs oidcDiscoveryUrl and oidcClientId',
  },
  {
    cel: `!${IN_CEL} || self.${ASSERTION}.keySource != 'client_secret' || has(self.config.oidcClientSecret)`,
    holds: ({ config }: AclAuthMethodSpec) =>
      config.oidcClientAssertion?.keySource !== 'client_secret' || config.oidcClientSecret !== undefined,
    path: ASSERTION,
    message: 'keySource client_secret needs oidcClientSecret',
  },
  {
    cel: `!${IN_CEL} || (self.${ASSERTION}.keySource == 'private_key') == has(self.${KEY})`,
    holds: ({ config: { oidcClientAssertion } }: AclAuthMethodSpec) =>
      oidcClientAssertion === undefined ||
      (oidcClientAssertion.keySource === 'private_key') === (oidcClientAssertion.privateKey !== undefined),
    path: ASSERTION,
    message: 'privateKey belongs to keySource private_key',
  },
  oneOf(['pemKey', 'pemKeyFile']),
  oneOf(['keyId', 'pemCert', 'pemCertFile']),
  {
    cel: `!${IN_CEL} || !has(self.${KEY}) || !has(self.${KEY}.keyIdHeader) || (self.${KEY}.keyIdHeader == 'kid') == has(self.${KEY}.keyId)`,
    holds: ({ config }: AclAuthMethodSpec) => {
      const key = config.oidcClientAssertion?.privateKey;
      return key?.keyIdHeader === undefined || (key.keyIdHeader === 'kid') === (key.keyId !== undefined);
    },
    path: `${KEY}.keyIdHeader`,
    message: 'keyIdHeader must be kid with keyId, and x5t or x5t#S256 with a certificate',
  },
];
