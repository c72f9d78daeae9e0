import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { readable, type Desired, type Live, type ObjectKey } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { declaredBy, nomadReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { misnamed } from '../schema.ts';
import { aclRoleImporter } from './import.ts';
import { aclRoleObject, roleFieldRules, roleKey, roleNamed } from './role.ts';
import { aclRoleRules, aclRoleSpec, type AclRoleSpec } from './schema.ts';

export const aclRole: Kind<AclRoleSpec> = {
  kind: 'AclRole',
  plural: 'aclroles',
  shortNames: ['aclrole'],
  scope: 'Namespaced',
  description: 'One Nomad ACL role: policies under one name, which tokens and binding rules then refer to.',
  spec: aclRoleSpec,
  rules: aclRoleRules,
  printerColumns: [
    { name: 'Role', type: 'string', jsonPath: '.status.live.name', description: 'Name on Nomad' },
    { name: 'ID', type: 'string', jsonPath: '.status.live.id', priority: 1, description: 'ID on Nomad' },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: AclRole
metadata:
  name: viewers
spec:
  description: Those who may look
  policies: [readonly]
`,
  types: [aclRoleObject],
  references: (spec) => [nomadReference(spec)],
  check: (resource) => misnamed(liveName(resource), 'a Nomad role'),
  objects: (resource, context) => [desiredRole(resource, context)],
  observes: ({ spec }) => policiesOf(spec),
  importer: aclRoleImporter,
  status: (resource, steps) => {
    const live = steps.find((s) => s.key.type === aclRoleObject.name)?.live;
    return { name: liveName(resource), ...(live?.id !== undefined && { id: live.id }) };
  },
};

function liveName(resource: Resource<AclRoleSpec>): string {
  return resource.spec.name ?? resource.metadata.name;
}

function policiesOf(spec: AclRoleSpec): ObjectKey[] {
  return spec.policies.map((name) => ({ connection: spec.nomadRef, type: 'acl-policy', name }));
}

function desiredRole(resource: Resource<AclRoleSpec>, context: PlanContext): Desired {
  const { spec } = resource;
  const key = roleKey(spec.nomadRef, liveName(resource));
  const policies = policiesOf(spec);
  // Found by its ID or its name, it is looked at by its key, too: that is how resources that stand for one object are told of each other.
  context.live(key);
  const named = roleNamed(context, key);
  const ours = oursIn(resource, context, key);
  const refusal =
    renamed(resource, context, key, 'spec.name', (made) => made.name === key.name) ?? taken(ours, readable(named));
  return {
    key,
    fields: { name: key.name, description: spec.description, policies: spec.policies },
    rules: roleFieldRules,
    live: ours ?? named,
    dependsOn: policies,
    lacking: policies.filter((policy) => context.live(policy) === undefined),
    ...declaredBy(resource),
    ...refusal,
  };
}

/** The role that is ours, whatever others call it now. */
function oursIn(resource: Resource<AclRoleSpec>, context: PlanContext, key: ObjectKey): Live | undefined {
  const id = context.ownedBy(resource).find((o) => o.key.type === key.type && o.key.name === key.name)?.id;
  return id === undefined ? undefined : readable(context.live({ ...key, name: id }));
}

/** Somebody gave ours another name, and its name to another one: Nomad has each name once. */
function taken(ours: Live | undefined, named: Live | undefined): Pick<Desired, 'verdict'> | undefined {
  if (ours === undefined || named === undefined || ours.id === named.id) return undefined;
  const message =
    `role ${ours.id ?? ''} is ours and was renamed to "${stringIn(ours.fields, 'name')}"; role ${named.id ?? ''}, which is not ours, ` +
    'has its name now: rename or delete that one';
  return { verdict: { action: 'refuse', reason: 'Conflict', message } };
}
