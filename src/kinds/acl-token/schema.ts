import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { connectionName, duration, exactlyOne, immutable, managed, nomadName, seconds, text } from '../schema.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** The sinks that exist; each is a field of `writeSecretTo`. */
export const SINKS = ['file', 'none'] as const;

export const aclTokenSpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that issues the token.'),
  name: text(200)
    .min(1)
    .optional()
    .describe(
      'Name on Nomad, at most 200 bytes; metadata.name where omitted. A short marker of the owner follows it there.',
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
      'How long the token lives: at least 1m, at most what the servers allow (24h unless set otherwise). A change replaces the token.',
    ),
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
  exactlyOne('writeSecretTo', SINKS),
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
];
