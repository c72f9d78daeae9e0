import { z } from 'zod';
import { pem } from './schema.ts';

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

export const AUTH_METHODS = ['tokenSecretRef', 'tokenFile', 'tokenEnv'] as const;

export const auth = z
  .strictObject({
    tokenSecretRef: z
      .strictObject({
        namespace: z.string().min(1).max(63).describe('Namespace of the Secret.'),
        name: z.string().min(1).max(253).describe('Name of the Secret.'),
        key: z.string().min(1).max(253).default('token').describe('Key in its data.'),
      })
      .optional()
      .describe('Key of a Kubernetes Secret that holds the token (Kubernetes source only).'),
    tokenFile: path.optional().describe('File that holds the token; relative to the manifest. Read at each start.'),
    tokenEnv: z
      .string()
      .max(256)
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'must be the name of an environment variable' })
      .optional()
      .describe('Environment variable that holds the token.'),
  })
  .describe('Where the credential comes from: exactly one of these.');
export type Auth = z.infer<typeof auth>;

const patterns = z.array(z.string().min(1).max(256)).max(256);

export const grants = z
  .strictObject({
    namespaces: patterns
      .optional()
      .describe('Namespaces whose resources may use the connection; `*` matches any text. Absent: all.'),
    names: patterns
      .optional()
      .describe(
        'Live names that resources may make and refer to (policies, roles, sink paths); `*` matches any text. Absent: all.',
      ),
    managementTokens: z.boolean().default(false).describe('Whether resources may make management tokens.'),
    globalTokens: z.boolean().default(false).describe('Whether resources may make global tokens.'),
    anonymousPolicy: z
      .boolean()
      .default(false)
      .describe('Whether a resource may manage the policy `anonymous`, which governs every request without a token.'),
  })
  .describe(
    'What may be done through the connection. Absent: everything in a directory (but not the anonymous policy).',
  );
export type Grants = z.infer<typeof grants>;
