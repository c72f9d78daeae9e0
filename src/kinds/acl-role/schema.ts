import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { connectionName, immutable, managed, nomadName, text } from '../schema.ts';

export const aclRoleSpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that holds the role.'),
  name: nomadName.optional().describe('Name on Nomad; metadata.name where omitted. Immutable.'),
  description: text(256).default('').describe('Description, at most 256 bytes.'),
  policies: z
    .array(nomadName)
    .min(1, { error: 'must name at least one policy (Nomad accepts no role without one)' })
    .max(256)
    .describe('Names of policies. The role is made once all of them exist on Nomad, whoever made them.'),
  ...managed,
});
export type AclRoleSpec = z.infer<typeof aclRoleSpec>;

export const aclRoleRules: readonly SpecRule[] = [immutable('name'), immutable('nomadRef')];
