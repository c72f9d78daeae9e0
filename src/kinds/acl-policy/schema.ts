import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import { admission, connectionName, document, immutable, managed, nomadName, text } from '../schema.ts';

const identifier = z.string().min(1).max(256);

const SELF = 'a policy named "self" can never be read back: Nomad’s API takes that path for itself';

export const aclPolicySpec = z.strictObject({
  nomadRef: connectionName.default('default').describe('NomadCluster that holds the policy.'),
  name: nomadName
    .refine((name) => name !== 'self', { error: SELF })
    .meta(admission("self != 'self'", SELF))
    .optional()
    .describe('Name on Nomad; metadata.name where omitted. Immutable.'),
  description: text(256).default('').describe('Description, at most 256 bytes.'),
  rules: document.describe('The rules, as HCL or JSON text. Line ends and outer white space make no difference.'),
  jobAcl: z
    .strictObject({
      namespace: identifier.describe('Namespace of the workloads.'),
      jobId: identifier.optional().describe('Job; all jobs of the namespace where omitted.'),
      group: identifier.optional().describe('Task group; needs jobId.'),
      task: identifier.optional().describe('Task; needs group.'),
    })
    .optional()
    .describe('Associates the policy with workloads, which then hold it through their workload identity.'),
  ...managed,
});
export type AclPolicySpec = z.infer<typeof aclPolicySpec>;

export const aclPolicyRules: readonly SpecRule[] = [
  immutable('name'),
  immutable('nomadRef'),
  {
    cel: '!has(self.jobAcl) || !has(self.jobAcl.group) || has(self.jobAcl.jobId)',
    holds: (s: AclPolicySpec) => s.jobAcl?.group === undefined || s.jobAcl.jobId !== undefined,
    path: 'jobAcl.group',
    message: 'jobAcl.group needs jobAcl.jobId',
  },
  {
    cel: '!has(self.jobAcl) || !has(self.jobAcl.task) || has(self.jobAcl.group)',
    holds: (s: AclPolicySpec) => s.jobAcl?.task === undefined || s.jobAcl.group !== undefined,
    path: 'jobAcl.task',
    message: 'jobAcl.task needs jobAcl.group',
  },
];
