import { z } from 'zod';
import type { Kind } from '../../contract/kind.ts';
import { grants, SECRET_ID_METHODS, tls, VAULT_METHODS, vaultAuth } from '../connection.ts';
import { atMostOne, duration, exactlyOne, httpUrl } from '../schema.ts';

const spec = z.strictObject({
  address: httpUrl.describe('Address of Vault: `https://vault.example.com:8200`.'),
  namespace: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('Enterprise namespace that everything happens in; sent as X-Vault-Namespace.'),
  tls: tls.optional(),
  auth: vaultAuth,
  maxConnections: z.int().min(1).max(256).default(32).describe('Connections at most.'),
  sweepInterval: duration
    .default('15s')
    .describe('How often the objects that are ours are read again (Vault has no events).'),
  requestBudget: z
    .int()
    .min(1)
    .max(10_000)
    .default(50)
    .describe('Requests a second at most for these reads; the interval stretches where they need more.'),
  grants: grants.optional(),
});
export type VaultServerSpec = z.infer<typeof spec>;

export const vaultServer: Kind<VaultServerSpec> = {
  kind: 'VaultServer',
  plural: 'vaultservers',
  shortNames: ['vault'],
  scope: 'Cluster',
  description: 'A connection to a Vault server (and Enterprise namespace), and what may be done through it.',
  spec,
  rules: [exactlyOne('auth', VAULT_METHODS), atMostOne('auth.approle', SECRET_ID_METHODS)],
  printerColumns: [{ name: 'Address', type: 'string', jsonPath: '.spec.address' }],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: VaultServer
metadata:
  name: default
spec:
  address: http://127.0.0.1:8200
  auth:
    tokenEnv: VAULT_TOKEN
`,
  types: [],
  references: () => [],
  objects: () => [],
};
