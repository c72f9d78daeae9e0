import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import type { Desired } from '../../plan/step.ts';
import { declaredBy, nomadReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { misnamed } from '../schema.ts';
import { aclPolicyImporter } from './import.ts';
import { aclPolicyObject, policyFieldRules } from './policy.ts';
import { aclPolicyRules, aclPolicySpec, type AclPolicySpec } from './schema.ts';

export const aclPolicy: Kind<AclPolicySpec> = {
  kind: 'AclPolicy',
  plural: 'aclpolicies',
  shortNames: ['aclpol'],
  scope: 'Namespaced',
  description: 'One Nomad ACL policy; with `jobAcl` one that is associated with workloads.',
  spec: aclPolicySpec,
  rules: aclPolicyRules,
  printerColumns: [
    { name: 'Policy', type: 'string', jsonPath: '.status.live.name', description: 'Name on Nomad' },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: AclPolicy
metadata:
  name: readonly
spec:
  description: May look at everything in the default namespace
  rules: |
    namespace "default" {
      policy = "read"
    }
`,
  types: [aclPolicyObject],
  references: (spec) => [nomadReference(spec)],
  check: (resource) => misnamed(liveName(resource), 'a Nomad policy'),
  objects: (resource, context) => [desiredPolicy(resource, context)],
  importer: aclPolicyImporter,
  status: (resource) => ({ name: liveName(resource) }),
};

function liveName(resource: Resource<AclPolicySpec>): string {
  return resource.spec.name ?? resource.metadata.name;
}

function desiredPolicy(resource: Resource<AclPolicySpec>, context: PlanContext): Desired {
  const { spec } = resource;
  const key = { connection: spec.nomadRef, type: aclPolicyObject.name, name: liveName(resource) };
  return {
    key,
    fields: {
      description: spec.description,
      rules: spec.rules,
      'jobAcl.namespace': spec.jobAcl?.namespace ?? '',
      'jobAcl.jobId': spec.jobAcl?.jobId ?? '',
      'jobAcl.group': spec.jobAcl?.group ?? '',
      'jobAcl.task': spec.jobAcl?.task ?? '',
    },
    rules: policyFieldRules,
    live: context.live(key),
    dependsOn: [],
    ...declaredBy(resource),
    ...renamed(resource, context, key, 'spec.name', (made) => made.name === key.name),
  };
}
