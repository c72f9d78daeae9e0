import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { byteLength, connectionName, immutable, managed, nomadName, text, UUID } from '../schema.ts';

/** Nomad takes any text, and at login it does without the rule where the text is broken. */
const BIND_NAME = /^(?:[a-zA-Z0-9-]|\$\{value\.[A-Za-z0-9_]+\})+$/;

export const aclBindingRuleSpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that holds the rule.'),
  id: z
    .string()
    .max(36)
    .regex(UUID, { error: 'must be the ID of an existing binding rule: a UUID in lower case' })
    .optional()
    .describe('Names a rule that exists already; it is never created. Immutable.'),
  description: text(256)
    .default('')
    .describe(
      'Description, at most 200 bytes. A short marker of the owner follows it on Nomad, where rules have no name, but not where id names the rule: then it may have 256 bytes.',
    ),
  authMethod: nomadName.describe('Name of the auth method whose logins the rule is for. A change replaces the rule.'),
  selector: z
    .string()
    .max(4096)
    .default('')
    .describe(
      'Which logins, as an expression over the mapped claims: "platform" in list.groups, or value.email matches ".*@example.com". Without it every one.',
    ),
  bindType: z
    .enum(['role', 'policy', 'management'])
    .describe('What the token gets: a role, a policy, or everything (which needs grants.managementTokens).'),
  bindName: z
    .string()
    .max(512)
    .regex(BIND_NAME, {
      error: 'must be a name of letters, digits and dashes, in which ${value.NAME} stands for a mapped claim',
    })
    .optional()
    .describe(
      'Name of the role or policy, in which ${value.NAME} stands for a mapped claim: team-${value.team}. One that does not exist at login gives nothing. Not with bindType management.',
    ),
  ...managed,
});
export type AclBindingRuleSpec = z.infer<typeof aclBindingRuleSpec>;

export const aclBindingRuleRules: readonly SpecRule[] = [
  immutable('nomadRef'),
  immutable('id'),
  {
    cel: 'has(self.id) || size(bytes(self.description)) <= 200',
    holds: ({ description, id }: AclBindingRuleSpec) => id !== undefined || byteLength(description) <= 200,
    path: 'description',
    message: 'must be at most 200 bytes where id does not name a rule: a marker follows it',
  },
  {
    cel: "self.bindType == 'management' || has(self.bindName)",
    holds: ({ bindType, bindName }: AclBindingRuleSpec) => bindType === 'management' || bindName !== undefined,
    path: 'bindName',
    message: 'must name the role or policy that is bound',
  },
  {
    cel: "self.bindType != 'management' || !has(self.bindName)",
    holds: ({ bindType, bindName }: AclBindingRuleSpec) => bindType !== 'management' || bindName === undefined,
    path: 'bindName',
    message: 'must not be set with bindType management, which binds everything',
  },
];
