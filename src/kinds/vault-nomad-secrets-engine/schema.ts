import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { overlapRules } from '../acl-token/rotation.ts';
import {
  celSeconds,
  connectionName,
  duration,
  httpUrl,
  immutable,
  managed,
  mountPath,
  pem,
  seconds,
} from '../schema.ts';
import { secretSource } from '../secret-source.ts';

export const vaultNomadSecretsEngineSpec = z.strictObject({
  vaultRef: connectionName.default('default').describe('VaultServer that gives out the tokens. Immutable.'),
  nomadRef: connectionName
    .default('default')
    .describe('NomadCluster whose tokens are given out, and that issues the management token for it. Immutable.'),
  path: mountPath
    .max(200)
    .default('nomad')
    .describe('Path of the mount; the management token has it for a name. Immutable.'),
  access: z
    .strictObject({
      address: httpUrl
        .optional()
        .describe('Address of Nomad as Vault reaches it. Default: the address of the NomadCluster.'),
      caCert: pem.optional().describe('CA certificate that signs Nomad’s server certificate, as PEM.'),
      clientCert: pem.optional().describe('Client certificate that Vault presents to Nomad, as PEM.'),
      clientKey: secretSource
        .optional()
        .describe('Key of the client certificate, as PEM: exactly one of these. Vault never tells it again.'),
      maxTokenNameLength: z
        .int()
        .min(0)
        .max(256)
        .default(0)
        .describe('Longest name that a token gets on Nomad; what is longer is cut off. 0 for what Nomad allows (256).'),
      global: z
        .boolean()
        .default(false)
        .describe('Whether the management token is valid in every region. A change replaces the token.'),
    })
    .default({ maxTokenNameLength: 0, global: false })
    .describe('How Vault reaches Nomad. Its management token is made here, handed over and never shown.'),
  lease: z
    .strictObject({
      ttl: duration
        .default(0)
        .describe('How long a lease lives unless it is renewed; 0 for what Vault has as its default.'),
      maxTtl: duration.default(0).describe('How long a lease can live at most; 0 for what Vault has as its default.'),
    })
    .default({ ttl: 0, maxTtl: 0 })
    .describe('How long the tokens live that are given out: Nomad does not know it, Vault deletes them.'),
  rotation: z
    .strictObject({
      interval: duration.describe('Age at which the token gets a successor; longer than the overlap.'),
      overlap: duration
        .default('5m')
        .describe('How long the former token lives on once Vault has its successor: what it has under way ends well.'),
    })
    .optional()
    .describe(
      'The management token is replaced again and again: a new one is made and handed over, then the former one is deleted.',
    ),
  ...managed,
});
export type VaultNomadSecretsEngineSpec = z.infer<typeof vaultNomadSecretsEngineSpec>;

type Spec = VaultNomadSecretsEngineSpec;
const TTL = celSeconds('lease.ttl');
const MAX_TTL = celSeconds('lease.maxTtl');

export const vaultNomadSecretsEngineRules: readonly SpecRule[] = [
  immutable('vaultRef'),
  immutable('nomadRef'),
  immutable('path'),
  {
    cel: '!has(self.access) || has(self.access.clientCert) == has(self.access.clientKey)',
    holds: ({ access }: Spec) => (access.clientCert === undefined) === (access.clientKey === undefined),
    path: 'access.clientCert',
    message: 'clientCert and clientKey belong together: set both or none',
  },
  {
    cel: `!has(self.lease) || !has(self.lease.ttl) || !has(self.lease.maxTtl) || ${MAX_TTL} == 0 || ${TTL} <= ${MAX_TTL}`,
    holds: ({ lease }: Spec) => seconds(lease.maxTtl) === 0 || seconds(lease.ttl) <= seconds(lease.maxTtl),
    path: 'lease.ttl',
    message: 'must not be longer than maxTtl',
  },
  ...overlapRules,
];
