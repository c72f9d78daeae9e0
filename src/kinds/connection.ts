import { z } from 'zod';
import { connectionName, mountPath, nomadName, pem, unrepeated } from './schema.ts';

/** What NomadCluster and VaultServer have in common. */

const path = z.string().min(1).max(4096);

export const tls = z
  .strictObject({
    caCert: pem.optional().describe('CA certificates that sign the server certificate, as PEM.'),
    caFile: path.optional().describe('File with these CA certificates.'),
    caPath: path.optional().describe('Folder of files with these CA certificates.'),
    clientCertFile: path.optional().describe('File with the client certificate, for servers that ask for one.'),
    clientKeyFile: path.optional().describe('File with the key of the client certificate.'),
    serverName: z
      .string()
      .max(253)
      .optional()
      .describe('Name that the server certificate must carry, if not the address.'),
    insecureSkipVerify: z.boolean().optional().describe('Accept any server certificate. For experiments only.'),
  })
  .describe('How the server is verified, and how we present ourselves to it.');
export type Tls = z.infer<typeof tls>;

/** Key of a Kubernetes Secret. */
function secretKey(key: string): z.ZodType<SecretKey> {
  return z.strictObject({
    namespace: z.string().min(1).max(63).describe('Namespace of the Secret.'),
    name: z.string().min(1).max(253).describe('Name of the Secret.'),
    key: z.string().min(1).max(253).default(key).describe('Key in its data.'),
  });
}
export interface SecretKey {
  namespace: string;
  name: string;
  key: string;
}

const VARIABLE_NAME = 'must be the name of an environment variable';
const variable = z
  .string()
  .max(256)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: VARIABLE_NAME })
  .meta(unrepeated(VARIABLE_NAME));

const FROM_FILE = 'relative to the manifest. Read again when it changes';
const FROM_SECRET = '(Kubernetes source only). A change of it counts from the next request on';

/** Ways to a token that somebody made. */
export const TOKEN_METHODS = ['tokenSecretRef', 'tokenFile', 'tokenEnv'] as const;

const tokens = {
  tokenSecretRef: secretKey('token')
    .optional()
    .describe(`Key of a Kubernetes Secret that holds the token ${FROM_SECRET}.`),
  tokenFile: path.optional().describe(`File that holds the token; ${FROM_FILE}.`),
  tokenEnv: variable.optional().describe('Environment variable that holds the token.'),
};
const CHOICE = 'Where the credential comes from: exactly one of these.';

/** Where the installed operator finds the tokens of its ServiceAccount: each is made for one receiver. */
export const PROJECTED_TOKENS = {
  vault: '/var/run/secrets/nomad-access.io/vault/token',
  nomad: '/var/run/secrets/nomad-access.io/nomad/token',
} as const;

export const NOMAD_METHODS = [...TOKEN_METHODS, 'jwt', 'vault'] as const;

export const nomadAuth = z
  .strictObject({
    ...tokens,
    jwt: z
      .strictObject({
        method: nomadName.describe('Name of an ACL auth method of type JWT; its binding rules must give management.'),
        tokenFile: path
          .default(PROJECTED_TOKENS.nomad)
          .describe(
            'File with the JWT, relative to the manifest, read at each login: a projected ServiceAccount token whose audience the method takes, or the identity of a Nomad task.',
          ),
      })
      .optional()
      .describe(
        'Log in by a JWT auth method of Nomad. The token that Nomad gives is replaced before it ends or when it was revoked, and deleted at the end.',
      ),
    vault: z
      .strictObject({
        vaultRef: connectionName.default('default').describe('VaultServer that gives the token.'),
        mount: mountPath.default('nomad').describe('Path of Vault’s secrets engine for Nomad.'),
        role: z
          .string()
          .min(1)
          .max(512)
          .regex(/^[\w.-]+$/, { error: 'must be letters, digits, dashes, dots and underscores' })
          .describe('Role of that engine; its type must be management.'),
      })
      .optional()
      .describe(
        'A token that Vault’s secrets engine for Nomad makes. Its lease is renewed, replaced before it ends or when the token was revoked, and revoked at the end.',
      ),
  })
  .describe(CHOICE);
export type NomadAuth = z.infer<typeof nomadAuth>;

function tokenLogin(mount: string, method: string): z.ZodType<TokenLogin> {
  return z.strictObject({
    mount: mountPath.default(mount).describe(`Path of the ${method} auth method.`),
    role: z.string().min(1).max(512).describe('Role to log in as.'),
    tokenFile: path
      .default(PROJECTED_TOKENS.vault)
      .describe('File with the JWT, read at each login: a projected ServiceAccount token whose audience is Vault.'),
  });
}
export interface TokenLogin {
  mount: string;
  role: string;
  tokenFile: string;
}

export const VAULT_METHODS = [...TOKEN_METHODS, 'kubernetes', 'jwt', 'approle'] as const;
export const SECRET_ID_METHODS = ['secretIdSecretRef', 'secretIdFile', 'secretIdEnv'] as const;

export const vaultAuth = z
  .strictObject({
    ...tokens,
    kubernetes: tokenLogin('kubernetes', 'Kubernetes')
      .optional()
      .describe(
        'Log in by Vault’s Kubernetes auth method, with a ServiceAccount’s token. As with every login, the token that Vault gives is renewed, replaced before it ends or when it was revoked, and revoked at the end.',
      ),
    jwt: tokenLogin('jwt', 'JWT')
      .optional()
      .describe('Log in by Vault’s JWT auth method, with a token of any issuer that Vault trusts.'),
    approle: z
      .strictObject({
        mount: mountPath.default('approle').describe('Path of the AppRole auth method.'),
        roleId: z.string().min(1).max(512).describe('RoleID of the role. It is no secret.'),
        secretIdSecretRef: secretKey('secret-id')
          .optional()
          .describe(`Key of a Kubernetes Secret that holds the SecretID ${FROM_SECRET}.`),
        secretIdFile: path.optional().describe(`File that holds the SecretID; ${FROM_FILE}.`),
        secretIdEnv: variable.optional().describe('Environment variable that holds the SecretID.'),
      })
      .optional()
      .describe(
        'Log in by Vault’s AppRole auth method. Without a SecretID only where the role has bind_secret_id=false.',
      ),
  })
  .describe(CHOICE);
export type VaultAuth = z.infer<typeof vaultAuth>;

const patterns = z.array(z.string().min(1).max(256)).max(256);

export const grants = z
  .strictObject({
    namespaces: patterns
      .optional()
      .describe('Namespaces whose resources may use the connection; `*` matches any text. Absent: all.'),
    names: patterns
      .optional()
      .describe(
        'Live names that resources may make and refer to (policies, roles, tokens, mount paths, sink paths); `*` matches any text. Absent: all.',
      ),
    managementTokens: z.boolean().default(false).describe('Whether resources may make management tokens.'),
    globalTokens: z.boolean().default(false).describe('Whether resources may make global tokens.'),
    anonymousPolicy: z
      .boolean()
      .default(false)
      .describe('Whether a resource may manage the policy `anonymous`, which governs every request without a token.'),
  })
  .describe(
    'What may be done through the connection. Absent: everything in a directory (but not the anonymous policy); in Kubernetes every namespace may use it, but not for management tokens, global tokens and the anonymous policy.',
  );
export type Grants = z.infer<typeof grants>;
