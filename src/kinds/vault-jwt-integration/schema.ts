import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import {
  admission,
  connectionName,
  document,
  duration,
  httpUrl,
  immutable,
  managed,
  mountPath,
  oneOrMany,
  pem,
  signedDuration,
} from '../schema.ts';

/** Vault lower-cases the names of roles and policies: a name that it would change is refused. */
const VAULT_NAME = '[a-z0-9_.-]*[a-z0-9_-][a-z0-9_.-]*';
const nameLike = (pattern: string): z.ZodString =>
  z
    .string()
    .max(128)
    .regex(new RegExp(`^${pattern}$`), {
      error: 'must be lower-case letters, digits, dots, dashes and underscores (Vault lower-cases names)',
    });
const vaultName = nameLike(VAULT_NAME);

export const BUILT_IN_POLICIES: readonly string[] = ['root', 'default', 'default-ceiling'];
const BUILT_IN = 'is one of Vault’s built-in policies, which are never changed';

const policy = z.strictObject({
  name: vaultName
    .refine((name) => !BUILT_IN_POLICIES.includes(name), { error: BUILT_IN })
    .meta(admission(`!(self in ${JSON.stringify(BUILT_IN_POLICIES)})`, BUILT_IN))
    .describe('Name on Vault.'),
  rules: document
    .min(1)
    .describe(
      'The policy, as HCL or JSON. `{{accessor}}` stands for the accessor of the auth mount, read anew on every pass.',
    ),
});

const claims = z.record(z.string().max(512), z.string().max(512));
const ttl = duration.optional();
const leeway = signedDuration.optional();

/** What Vault compares a claim with; numbers are whole ones, since it cuts those of a JWT down to them. */
const claimValue = z.union([z.string().max(1024), z.int(), z.boolean()], {
  error: 'must be a string, a whole number, true or false',
});
const claimValues = z.union([z.string().max(1024), z.int(), z.boolean(), z.array(claimValue).max(256)], {
  error: 'must be a string, a whole number, true or false, or a list of these',
});

export const roleSpec = z.strictObject({
  name: vaultName.describe('Name of the role.'),
  roleType: z.enum(['jwt', 'oidc']).default('jwt').describe('Kind of login.'),
  boundAudiences: oneOrMany.default([]).describe('Audiences of which the JWT must carry one.'),
  boundSubject: z.string().max(1024).default('').describe('Subject that the JWT must have.'),
  boundClaims: z
    .record(z.string().max(512), claimValues)
    .default({})
    .describe(
      'Claims that the JWT must carry, with one value or a list of which one must match: strings, whole numbers, true, false.',
    ),
  boundClaimsType: z
    .enum(['string', 'glob'])
    .default('string')
    .describe('How boundClaims are compared: as they are, or as patterns with `*` (then all must be strings).'),
  userClaim: z.string().min(1).max(1024).default('/nomad_job_id').describe('Claim that names the entity alias.'),
  userClaimJsonPointer: z.boolean().default(true).describe('Whether userClaim is a JSON pointer.'),
  groupsClaim: z.string().max(1024).default('').describe('Claim that names the groups.'),
  claimMappings: claims.default({}).describe('Claims that become metadata of the alias: claim → metadata key.'),
  clockSkewLeeway: leeway.describe(
    'Leeway for clock skew in all time claims; 0 for Vault’s default (1m), -1 for none.',
  ),
  expirationLeeway: leeway.describe(
    'Leeway for the expiration of JWTs without one; 0 for Vault’s default (150s), -1 for none.',
  ),
  notBeforeLeeway: leeway.describe('Leeway for the not-before claim; 0 for Vault’s default (150s), -1 for none.'),
  maxAge: ttl.describe('How long ago the user may have authenticated (OIDC).'),
  oidcScopes: oneOrMany.default([]).describe('Scopes to ask for (OIDC).'),
  allowedRedirectUris: oneOrMany.default([]).describe('Redirect URIs (OIDC).'),
  verboseOidcLogging: z.boolean().default(false).describe('Log received tokens at debug level.'),
  tokenPolicies: oneOrMany.default([]).describe('Policies of the Vault tokens.'),
  tokenTtl: ttl.describe('First TTL of the tokens.'),
  tokenMaxTtl: ttl.describe('Longest TTL of the tokens.'),
  tokenExplicitMaxTtl: ttl.describe('Hard limit of the TTL.'),
  tokenPeriod: ttl.describe('Period of periodic tokens.'),
  tokenNoDefaultPolicy: z.boolean().default(false).describe('Do not add the policy `default`.'),
  tokenNumUses: z.int().min(0).max(1_000_000).default(0).describe('How often a token can be used; 0 for any number.'),
  tokenType: z.enum(['default', 'service', 'batch']).default('service').describe('Type of the tokens.'),
  tokenBoundCidrs: oneOrMany
    .default([])
    .describe('Addresses and ranges that tokens can be used from: `10.0.0.0/8`, `2001:db8::1`.'),
});
export type RoleSpec = z.infer<typeof roleSpec>;

/** The ways in which Vault can learn Nomad's keys: at most one is set; none means `jwksUrl` of the connection. */
export const KEY_SOURCES = ['jwksUrl', 'jwksPairs', 'oidcDiscoveryUrl', 'syncKeys'] as const;

export const vaultJwtIntegrationSpec = z.strictObject({
  vaultRef: connectionName.default('default').describe('VaultServer that workloads log in to.'),
  nomadRef: connectionName.default('default').describe('NomadCluster whose workloads log in.'),
  path: mountPath.default('jwt-nomad').describe('Path of the JWT auth mount. Immutable.'),
  jwksUrl: httpUrl
    .optional()
    .describe(
      'URL of Nomad’s JWKS, as Vault reaches it. Default: the address of the NomadCluster + /.well-known/jwks.json.',
    ),
  jwksCaPem: pem.optional().describe('CA certificate for jwksUrl, as PEM.'),
  jwksPairs: z
    .array(
      z.strictObject({
        jwksUrl: httpUrl.describe('URL of a JWKS, as Vault reaches it.'),
        jwksCaPem: pem.optional().describe('CA certificate for it, as PEM.'),
      }),
    )
    .min(1)
    .max(32)
    .optional()
    .describe('Several JWKS URLs, each with its CA: for several Nomad clusters. Not together with boundIssuer.'),
  oidcDiscoveryUrl: httpUrl
    .optional()
    .describe('OIDC discovery URL (Nomad serves one where `oidc_issuer` is set), without /.well-known.'),
  oidcDiscoveryCaPem: pem.optional().describe('CA certificate for oidcDiscoveryUrl, as PEM.'),
  syncKeys: z
    .strictObject({
      keepFor: duration
        .default('1h')
        .describe('How long a key that Nomad no longer publishes is kept: the longest life of a token signed by it.'),
    })
    .optional()
    .describe(
      'nomad-access reads Nomad’s JWKS itself and writes the keys to Vault: for a JWKS that Vault can’t reach, as behind mTLS.',
    ),
  supportedAlgs: oneOrMany.default(['EdDSA', 'RS256']).describe('Signature algorithms that Vault accepts.'),
  boundIssuer: z.string().max(1024).default('').describe('Issuer that the JWTs must carry.'),
  defaultRole: nameLike(`(${VAULT_NAME})?`)
    .optional()
    .describe('Role of logins that name none; empty where each must name one. Default: the first role.'),
  kvPath: mountPath.default('secret').describe('Mount of the KV engine in the default policy.'),
  policies: z.array(policy).min(1).max(64).optional().describe('Vault policies in place of the default one.'),
  roles: z.array(roleSpec).min(1).max(64).optional().describe('Roles of the mount in place of the default one.'),
  ...managed,
});
export type VaultJwtIntegrationSpec = z.infer<typeof vaultJwtIntegrationSpec>;

const set = (field: string): string => `(has(self.${field}) ? 1 : 0)`;
type Spec = VaultJwtIntegrationSpec;

export const vaultJwtIntegrationRules: readonly SpecRule[] = [
  immutable('vaultRef'),
  immutable('path'),
  {
    cel: `${KEY_SOURCES.map(set).join(' + ')} <= 1`,
    holds: (s: Spec) => KEY_SOURCES.filter((source) => s[source] !== undefined).length <= 1,
    path: 'jwksUrl',
    message: `at most one of ${KEY_SOURCES.join(', ')} can be set`,
  },
  {
    cel: '!has(self.jwksCaPem) || !(has(self.jwksPairs) || has(self.oidcDiscoveryUrl) || has(self.syncKeys))',
    holds: (s: Spec) => s.jwksCaPem === undefined || !(s.jwksPairs ?? s.oidcDiscoveryUrl ?? s.syncKeys),
    path: 'jwksCaPem',
    message: 'jwksCaPem belongs to jwksUrl; jwksPairs carry their own, and syncKeys uses the connection’s',
  },
  {
    cel: '!has(self.oidcDiscoveryCaPem) || has(self.oidcDiscoveryUrl)',
    holds: (s: Spec) => s.oidcDiscoveryCaPem === undefined || s.oidcDiscoveryUrl !== undefined,
    path: 'oidcDiscoveryCaPem',
    message: 'oidcDiscoveryCaPem belongs to oidcDiscoveryUrl',
  },
  {
    cel: "!has(self.jwksPairs) || !has(self.boundIssuer) || self.boundIssuer == ''",
    holds: (s: Spec) => s.jwksPairs === undefined || s.boundIssuer === '',
    path: 'boundIssuer',
    message: 'Vault accepts no boundIssuer together with jwksPairs',
  },
  {
    cel: '!has(self.policies) || self.policies.all(p, self.policies.exists_one(q, q.name == p.name))',
    holds: (s: Spec) => unique(s.policies),
    path: 'policies',
    message: 'two policies have the same name',
  },
  {
    cel: '!has(self.roles) || self.roles.all(r, self.roles.exists_one(q, q.name == r.name))',
    holds: (s: Spec) => unique(s.roles),
    path: 'roles',
    message: 'two roles have the same name',
  },
  {
    // In a directory the kind's own check says which roles there are.
    cel: "!has(self.defaultRole) || self.defaultRole == '' || !has(self.roles) || self.roles.exists(r, r.name == self.defaultRole)",
    path: 'defaultRole',
    message: 'defaultRole names one of the roles',
  },
];

function unique(named: readonly { name: string }[] | undefined): boolean {
  return named === undefined || new Set(named.map((n) => n.name)).size === named.length;
}
