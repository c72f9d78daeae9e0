import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { DEFAULT_KEYS } from './token-keys.ts';
import { rotationField, rotationRules } from './rotation.ts';
import {
  connectionName,
  duration,
  exactlyOne,
  immutable,
  managed,
  MOUNT_PATH,
  mountPath,
  nomadName,
  seconds,
  text,
  UUID,
} from '../schema.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** Neither "." nor what begins with "..". */
const SECRET_KEY = /^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$/;
/** The sinks that exist; each is a field of `writeSecretTo`. */
const SINKS = ['file', 'kubernetesSecret', 'vaultKv', 'nomadVariable', 'none'] as const;
/** Those that hold a token under two keys. */
const KEYED = ['kubernetesSecret', 'vaultKv', 'nomadVariable'] as const;
export const KUBERNETES_ONLY = 'needs the Kubernetes source; use file';
export const DIRECTORY_ONLY = 'writeSecretTo.file needs the directory source; use kubernetesSecret';

const secretKey = z.string().max(253).regex(SECRET_KEY, { error: 'must be a key: letters, digits, "-", "_" and "."' });

const keys = z
  .strictObject({
    accessorId: secretKey.default(DEFAULT_KEYS.accessorId).describe('Key that gets the accessor ID.'),
    secretId: secretKey.default(DEFAULT_KEYS.secretId).describe('Key that gets the SecretID.'),
  })
  .default(DEFAULT_KEYS);

const vaultKvSink = z.strictObject({
  vaultRef: connectionName.default('default').describe('VaultServer that the secret is written to.'),
  mount: mountPath.default('secret').describe('Where the KV engine is mounted; which version it is, Vault tells.'),
  path: z
    .string()
    .max(512)
    .regex(MOUNT_PATH, {
      error:
        'must be a path below the mount: letters, digits, "_", "." and "-", with single slashes between its parts, none at either end, and no part "." or ".."',
    })
    .describe('Path of the secret below the mount, without the `data/` of version 2: `ci/nomad`.'),
  keys: keys.describe('The keys of the secret that hold the two.'),
});

const nomadVariableSink = z.strictObject({
  namespace: nomadName.default('default').describe('Nomad namespace of the variable. It must exist.'),
  path: z
    .string()
    .max(128)
    .regex(/^[a-zA-Z0-9_~-]+(\/[a-zA-Z0-9_~-]+)*$/, {
      error: 'must be a path of a variable: letters, digits, "-", "_" and "~", with single slashes between its parts',
    })
    .describe(
      'Path of the variable: `ci/nomad-token`. What lies at `nomad/jobs/JOB[/GROUP[/TASK]]` the tasks of that job may read without any policy.',
    ),
  keys: keys.describe('The keys of the variable that hold the two.'),
});

export const aclTokenSpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that issues the token.'),
  name: text(200)
    .optional()
    .describe(
      'Name on Nomad, at most 200 bytes; metadata.name where omitted. A short marker of the owner follows it there, but not where accessorId names the token: then it is the whole name, and may be empty.',
    ),
  accessorId: z
    .string()
    .max(36)
    .regex(UUID, { error: 'must be the accessor ID of an existing token: a UUID in lower case' })
    .optional()
    .describe('Names a token that exists already; it is never created. Immutable.'),
  type: z
    .enum(['client', 'management'])
    .default('client')
    .describe('A client token has policies or roles; a management token may do everything and has none.'),
  policies: z.array(nomadName).max(256).default([]).describe('Names of policies.'),
  roles: z.array(nomadName).max(256).default([]).describe('Names of roles.'),
  global: z.boolean().default(false).describe('Valid in every region. A change replaces the token.'),
  expirationTtl: duration
    .optional()
    .describe(
      'How long the token lives: at least 1m, at most what the servers allow (24h unless set otherwise). A change replaces the token. When it is over the token stays expired, unless there is a rotation.',
    ),
  rotation: rotationField,
  writeSecretTo: z
    .strictObject({
      file: z
        .strictObject({
          path: z
            .string()
            .min(1)
            .max(4096)
            .describe('File that gets the SecretID and a newline, mode 0600; relative to the manifest.'),
        })
        .optional()
        .describe('A file on the machine that runs nomad-access (directory source only).'),
      kubernetesSecret: z
        .strictObject({
          name: z
            .string()
            .max(253)
            .regex(SUBDOMAIN, { error: 'must be a name of a Secret: lower-case letters, digits, "-" and "."' })
            .describe(
              'Secret that gets the token, in the namespace of the AclToken. It is made, and must not be there before.',
            ),
          keys: keys.describe('The keys of the Secret that hold the two.'),
        })
        .optional()
        .describe('A Secret of the Kubernetes API server (Kubernetes source only).'),
      vaultKv: vaultKvSink
        .optional()
        .describe(
          'A secret of a KV engine of Vault, version 1 or 2: for readers that log in to Vault, Nomad jobs with a `vault` block among them. It is made, and must not be there before. With version 2 it is marked in custom_metadata, former SecretIDs stay in its older versions, and it is deleted with all of them.',
        ),
      nomadVariable: nomadVariableSink
        .optional()
        .describe(
          'A Nomad Variable of the cluster that issues the token: for Nomad jobs without Vault. It is made, and must not be there before.',
        ),
      none: z
        .strictObject({})
        .optional()
        .describe('The secret is kept nowhere; whoever may read tokens can read it from Nomad.'),
    })
    .describe('Where the secret goes: exactly one of these.'),
  ...managed,
});
export type AclTokenSpec = z.infer<typeof aclTokenSpec>;

export const aclTokenRules: readonly SpecRule[] = [
  immutable('name'),
  immutable('nomadRef'),
  immutable('accessorId'),
  {
    cel: "has(self.accessorId) || !has(self.name) || self.name != ''",
    holds: ({ name, accessorId }: AclTokenSpec) => accessorId !== undefined || name !== '',
    path: 'name',
    message: 'must not be empty where accessorId does not name a token',
  },
  exactlyOne('writeSecretTo', SINKS),
  {
    cel: "!has(self.writeSecretTo.nomadVariable) || !self.writeSecretTo.nomadVariable.path.matches('^nomad(/|$)') || self.writeSecretTo.nomadVariable.path.matches('^nomad/jobs(/|$)')",
    holds: ({ writeSecretTo: { nomadVariable } }: AclTokenSpec) =>
      nomadVariable === undefined ||
      !/^nomad(\/|$)/.test(nomadVariable.path) ||
      /^nomad\/jobs(\/|$)/.test(nomadVariable.path),
    path: 'writeSecretTo.nomadVariable.path',
    message: 'must be nomad/jobs or below where it begins with nomad/, which is reserved',
  },
  // API servers alone read it.
  { cel: '!has(self.writeSecretTo.file)', path: 'writeSecretTo.file', message: DIRECTORY_ONLY },
  ...KEYED.map((sink): SpecRule => ({
    cel: `!has(self.writeSecretTo.${sink}) || self.writeSecretTo.${sink}.keys.accessorId != self.writeSecretTo.${sink}.keys.secretId`,
    holds: ({ writeSecretTo: { [sink]: declared } }: AclTokenSpec) =>
      declared === undefined || declared.keys.accessorId !== declared.keys.secretId,
    path: `writeSecretTo.${sink}.keys`,
    message: 'accessorId and secretId must be different keys',
  })),
  {
    cel: "self.type != 'management' || ((!has(self.policies) || self.policies.size() == 0) && (!has(self.roles) || self.roles.size() == 0))",
    holds: (s: AclTokenSpec) => s.type !== 'management' || (s.policies.length === 0 && s.roles.length === 0),
    path: 'policies',
    message: 'a management token must have no policies and no roles',
  },
  {
    cel: "self.type != 'client' || (has(self.policies) && self.policies.size() > 0) || (has(self.roles) && self.roles.size() > 0)",
    holds: (s: AclTokenSpec) => s.type !== 'client' || s.policies.length + s.roles.length > 0,
    path: 'policies',
    message: 'a client token needs at least one policy or role',
  },
  {
    cel: "!has(self.expirationTtl) || (type(self.expirationTtl) == int ? self.expirationTtl >= 60 : duration(self.expirationTtl) >= duration('1m'))",
    holds: (s: AclTokenSpec) => s.expirationTtl === undefined || seconds(s.expirationTtl) >= 60,
    path: 'expirationTtl',
    message: 'must be at least 1m (Nomad accepts no less)',
  },
  ...rotationRules,
];
