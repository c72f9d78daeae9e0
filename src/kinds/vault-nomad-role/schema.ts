import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { connectionName, immutable, managed, nomadName } from '../schema.ts';

/** What Vault takes in the path of a role (framework.GenericNameRegex): other than policies of Vault it keeps upper case. */
export const NOMAD_ROLE_NAME = /^\w(([\w.-]+)?\w)?$/;

export const vaultNomadRoleSpec = z.strictObject({
  vaultRef: connectionName
    .default('default')
    .describe('VaultServer that the engine is on: the same as the engine’s. Immutable.'),
  engine: z
    .string()
    .min(1)
    .max(253)
    .describe('metadata.name of the VaultNomadSecretsEngine, in the same namespace. Immutable.'),
  name: z
    .string()
    .max(128)
    .regex(NOMAD_ROLE_NAME, {
      error: 'must be letters, digits, "_", "-" and ".", the first and the last one a letter, a digit or "_"',
    })
    .optional()
    .describe('Name on Vault: tokens are read at PATH/creds/NAME; metadata.name where omitted. Immutable.'),
  policies: z.array(nomadName).max(256).default([]).describe('Names of Nomad policies that its tokens have.'),
  type: z
    .enum(['client', 'management'])
    .default('client')
    .describe('Type of its tokens. Client tokens have policies; management tokens may do everything and have none.'),
  global: z.boolean().default(false).describe('Whether its tokens are valid in every region.'),
  ...managed,
});
export type VaultNomadRoleSpec = z.infer<typeof vaultNomadRoleSpec>;

export const vaultNomadRoleRules: readonly SpecRule[] = [
  immutable('vaultRef'),
  immutable('engine'),
  immutable('name'),
  {
    cel: "self.type != 'management' || !has(self.policies) || self.policies.size() == 0",
    holds: (s: VaultNomadRoleSpec) => s.type !== 'management' || s.policies.length === 0,
    path: 'policies',
    message: 'management tokens must have no policies',
  },
  {
    cel: "self.type != 'client' || (has(self.policies) && self.policies.size() > 0)",
    holds: (s: VaultNomadRoleSpec) => s.type !== 'client' || s.policies.length > 0,
    path: 'policies',
    message: 'client tokens need at least one policy',
  },
];
