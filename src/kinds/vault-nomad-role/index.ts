import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import type { Desired } from '../../plan/step.ts';
import { declaredBy, vaultReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { roleKey, splitRole } from '../vault-object/mount.ts';
import { accessKey, vaultNomadSecretsEngine } from '../vault-nomad-secrets-engine/index.ts';
import type { VaultNomadSecretsEngineSpec } from '../vault-nomad-secrets-engine/schema.ts';
import { SECRETS_MOUNT } from '../vault-nomad-secrets-engine/secrets-mount.ts';
import { vaultNomadRoleImporter } from './import.ts';
import { nomadRoleObject, nomadRoleRules } from './nomad-role.ts';
import { NOMAD_ROLE_NAME, vaultNomadRoleRules, vaultNomadRoleSpec, type VaultNomadRoleSpec } from './schema.ts';

type Role = Resource<VaultNomadRoleSpec>;

export const vaultNomadRole: Kind<VaultNomadRoleSpec> = {
  kind: 'VaultNomadRole',
  plural: 'vaultnomadroles',
  shortNames: ['vaultnomadrole'],
  scope: 'Namespaced',
  description:
    'A role of Vault’s Nomad secrets engine: which tokens `vault read PATH/creds/NAME` gives out. A change counts for tokens that are given out from then on.',
  spec: vaultNomadRoleSpec,
  rules: vaultNomadRoleRules,
  printerColumns: [
    { name: 'Creds', type: 'string', jsonPath: '.status.live.creds', description: 'Where tokens are read on Vault' },
    { name: 'Engine', type: 'string', jsonPath: '.spec.engine', priority: 1 },
    { name: 'Vault', type: 'string', jsonPath: '.spec.vaultRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: VaultNomadRole
metadata:
  name: deploy
spec:
  engine: nomad
  policies: [deploy]
`,
  types: [nomadRoleObject],
  references: (spec) => [vaultReference(spec)],
  check: (resource) =>
    NOMAD_ROLE_NAME.test(liveName(resource))
      ? []
      : [{ path: 'metadata.name', message: `"${liveName(resource)}" is no name for a role of Vault’s: set spec.name` }],
  objects: (resource, context) => [desiredRole(resource, context)],
  importer: vaultNomadRoleImporter,
  status: (_resource, steps) => {
    const key = steps.find((s) => s.desired !== undefined)?.key;
    if (key === undefined) return {};
    const { mount, role } = splitRole(key.name);
    return { path: mount, name: role, creds: `${mount}/creds/${role}` };
  },
};

function liveName({ spec, metadata }: Role): string {
  return spec.name ?? metadata.name;
}

function desiredRole(resource: Role, context: PlanContext): Desired {
  const { spec, metadata } = resource;
  const id = { kind: vaultNomadSecretsEngine.kind, namespace: metadata.namespace, name: spec.engine };
  const engine = context.resource(id)?.spec as VaultNomadSecretsEngineSpec | undefined;
  const isThere = engine?.vaultRef === spec.vaultRef;
  // No mount has a path with parentheses: where there is no engine it stands for nothing that there can be.
  const path = isThere ? engine.path : `(${spec.engine})`;
  const key = roleKey(SECRETS_MOUNT, spec.vaultRef, path, liveName(resource));
  return {
    key,
    fields: { policies: spec.policies, type: spec.type, global: spec.global },
    rules: nomadRoleRules,
    live: context.live(key),
    dependsOn: isThere ? [accessKey(engine), ...policiesOf(spec, engine)] : [],
    ...declaredBy(resource),
    ...(isThere ? { detail: { nomadRef: engine.nomadRef } } : without(engine, resource, context)),
    ...(isThere && renamed(resource, context, key, 'spec.engine, spec.name', (made) => made.name === key.name)),
  };
}

function policiesOf({ policies }: VaultNomadRoleSpec, { nomadRef }: VaultNomadSecretsEngineSpec): Desired['dependsOn'] {
  return policies.map((name) => ({ connection: nomadRef, type: 'acl-policy', name }));
}

/** What was made on an engine that nobody declares any more goes with it, or when the role is declared no more. */
function without(
  engine: VaultNomadSecretsEngineSpec | undefined,
  resource: Role,
  context: PlanContext,
): Pick<Desired, 'verdict' | 'keeps'> {
  const { spec, metadata } = resource;
  const message =
    engine === undefined
      ? `there is no VaultNomadSecretsEngine ${metadata.namespace}/${spec.engine}: declare it, or name another one in spec.engine`
      : `spec.vaultRef is ${spec.vaultRef}, but VaultNomadSecretsEngine ${metadata.namespace}/${spec.engine} is on ${engine.vaultRef}: make the two equal`;
  return {
    verdict: { action: 'refuse', reason: 'Waiting', message },
    keeps: context.ownedBy(resource).map((o) => o.key),
  };
}
