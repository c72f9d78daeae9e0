import { z } from 'zod';
import type { Kind } from '../../contract/kind.ts';
import { grants, NOMAD_METHODS, nomadAuth, tls } from '../connection.ts';
import { duration, exactlyOne, unrepeated, isUrl, NO_URL, urlError } from '../schema.ts';

const ADDRESS = 'must be http://HOST:PORT, https://HOST:PORT or unix:///PATH, without a path behind the port';

const spec = z.strictObject({
  address: z
    .string()
    .max(2048)
    .regex(/^(https?:\/\/[^\s/@]+|unix:\/\/\/\S+)\/?$/, {
      error: urlError(ADDRESS),
    })
    .refine(isUrl, { error: NO_URL })
    .meta(unrepeated(`${ADDRESS}, and without a user name or a password`))
    .describe('Address of the HTTP API of a server or agent of the region: `https://nomad.example.com:4646`.'),
  region: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .describe(
      'Region that requests are for. Policies and roles are always written in the authoritative region. Default: the agent’s own.',
    ),
  tls: tls.optional(),
  auth: nomadAuth,
  bootstrap: z
    .strictObject({})
    .optional()
    .describe(
      'Present: where Nomad’s ACLs were never bootstrapped, that is done, with a management token that is first written to where `auth` reads its own: `tokenFile` or `tokenSecretRef`. What is there already is never written over; a cluster that was made anew is bootstrapped with it again.',
    ),
  maxConnections: z
    .int()
    .min(1)
    .max(90)
    .default(64)
    .describe('Connections at most; Nomad refuses more than 100 from one client.'),
  resyncInterval: duration
    .default('5m')
    .describe('How often everything is listed anew, whatever the event stream said.'),
  grants: grants.optional(),
});
export type NomadClusterSpec = z.infer<typeof spec>;

export const nomadCluster: Kind<NomadClusterSpec> = {
  kind: 'NomadCluster',
  plural: 'nomadclusters',
  shortNames: ['nomad'],
  scope: 'Cluster',
  description: 'A connection to a region of a Nomad cluster, and what may be done through it.',
  spec,
  rules: [
    exactlyOne('auth', NOMAD_METHODS),
    {
      cel: '!has(self.bootstrap) || has(self.auth.tokenFile) || has(self.auth.tokenSecretRef)',
      holds: ({ bootstrap, auth }: NomadClusterSpec) =>
        bootstrap === undefined || auth.tokenFile !== undefined || auth.tokenSecretRef !== undefined,
      path: 'bootstrap',
      message: 'bootstrap needs a place to write the token to: auth.tokenFile or auth.tokenSecretRef',
    },
  ],
  printerColumns: [{ name: 'Address', type: 'string', jsonPath: '.spec.address' }],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: NomadCluster
metadata:
  name: default
spec:
  address: http://127.0.0.1:4646
  auth:
    tokenEnv: NOMAD_TOKEN
`,
  types: [],
  references: ({ auth: { vault } }) =>
    vault === undefined ? [] : [{ kind: 'VaultServer', name: vault.vaultRef, path: 'spec.auth.vault.vaultRef' }],
  objects: () => [],
};
