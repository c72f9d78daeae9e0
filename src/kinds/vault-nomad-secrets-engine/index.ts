import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import {
  isUnreadable,
  keyText,
  readable,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type Unreadable,
} from '../../plan/step.ts';
import { Deferred, type DesiredFields } from '../../plan/value.ts';
import { rotationOf } from '../acl-token/rotation.ts';
import { handover, heldSince } from '../nomad-token/handover.ts';
import { ownedTokens } from '../nomad-token/owned-tokens.ts';
import { aclTokenObject } from '../nomad-token/token.ts';
import { declaredBy, nomadReference, vaultReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { seconds } from '../schema.ts';
import {
  misplacedSecrets,
  secretFields,
  secretKeys,
  secretSourceObject,
  withSent,
  type SecretSources,
} from '../secret-source.ts';
import { vaultNomadSecretsEngineImporter } from './import.ts';
import { mountOf, mountRules } from '../vault-object/mount.ts';
import { CLIENT_KEY, nomadAccessObject, nomadAccessRules, TOKEN } from './nomad-access.ts';
import { nomadLeaseObject, nomadLeaseRules } from './nomad-lease.ts';
import {
  vaultNomadSecretsEngineRules,
  vaultNomadSecretsEngineSpec,
  type VaultNomadSecretsEngineSpec,
} from './schema.ts';
import { SECRETS_MOUNT, secretsMountObject } from './secrets-mount.ts';

type Engine = Resource<VaultNomadSecretsEngineSpec>;

export const vaultNomadSecretsEngine: Kind<VaultNomadSecretsEngineSpec> = {
  kind: 'VaultNomadSecretsEngine',
  plural: 'vaultnomadsecretsengines',
  shortNames: ['vaultnomad'],
  scope: 'Namespaced',
  description:
    'Vault’s Nomad secrets engine: the mount, its access to Nomad by a management token that is made for it, handed over and never shown, and how long leases live. VaultNomadRoles say what tokens it gives out. An engine that exists already is taken over where all that Vault tells of it is equal; it then gets a management token of its own, and the one that it had stays on Nomad. Deletion revokes the leases first.',
  spec: vaultNomadSecretsEngineSpec,
  rules: vaultNomadSecretsEngineRules,
  printerColumns: [
    { name: 'Path', type: 'string', jsonPath: '.status.live.path', description: 'Path of the mount on Vault' },
    { name: 'Token', type: 'string', jsonPath: '.status.live.managementAccessorId', priority: 1 },
    { name: 'Vault', type: 'string', jsonPath: '.spec.vaultRef', priority: 1 },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: VaultNomadSecretsEngine
metadata:
  name: nomad
spec:
  lease:
    ttl: 1h
    maxTtl: 8h
`,
  planPaths: {
    'spec.path': 'What stands at the path. Another type of secrets engine there is refused.',
    'spec.access.token':
      'Accessor ID of the management token that Vault holds, by what the inventory remembers of the last write: Vault never tells it. Null where that is not known; then it is written once more.',
    'spec.FIELD':
      'A field of the management token: name (the path with a marker), type, policies, roles, global, expirationTtl.',
  },
  types: [aclTokenObject, secretsMountObject, nomadAccessObject, nomadLeaseObject, secretSourceObject],
  references: (spec) => [vaultReference(spec), nomadReference(spec)],
  check: (resource) => misplacedSecrets(resource, secretsOf(resource)),
  objects,
  observes: (resource) => secretKeys(resource, secretsOf(resource)),
  importer: vaultNomadSecretsEngineImporter,
  status: ({ spec }, steps) => {
    const live = (type: string): Live | undefined =>
      steps.find((s) => s.desired !== undefined && s.key.type === type)?.live;
    return {
      path: spec.path,
      accessor: live(secretsMountObject.name)?.id ?? null,
      managementAccessorId: live(nomadAccessObject.name)?.fields[TOKEN] ?? null,
    };
  },
};

/** The access that roles need before tokens can be given out. */
export function accessKey({ vaultRef, path }: VaultNomadSecretsEngineSpec): ObjectKey {
  return { connection: vaultRef, type: nomadAccessObject.name, name: path };
}

function secretsOf({ spec }: Engine): SecretSources {
  return { [CLIENT_KEY]: spec.access.clientKey };
}

function objects(resource: Engine, context: PlanContext): Desired[] {
  const { vaultRef, path } = resource.spec;
  const key = { connection: vaultRef, type: secretsMountObject.name, name: path };
  const mount = object(
    resource,
    key,
    { path: mountOf(SECRETS_MOUNT, SECRETS_MOUNT.type) },
    mountRules,
    context.live(key),
  );
  const [token, ...others] = managementTokens(resource, context, mount);
  const access = desiredAccess(resource, context, mount, token);
  const lease = desiredLease(resource, context, mount);
  return [
    {
      ...mount,
      adoptWith: [access.key, lease.key],
      ...renamed(resource, context, key, 'spec.path', (made) => made.name === key.name),
    },
    { ...token, madeFor: access.key },
    ...others,
    access,
    lease,
  ];
}

function object(
  resource: Engine,
  key: ObjectKey,
  fields: DesiredFields,
  rules: Desired['rules'],
  live: Live | Unreadable | undefined,
  dependsOn: readonly ObjectKey[] = [],
): Desired {
  return {
    key,
    fields,
    rules,
    live,
    dependsOn,
    ...declaredBy(resource),
  };
}

/** The management token that Vault acts by, and those of ours that live on beside it for a while or go next. */
function managementTokens(resource: Engine, context: PlanContext, mount: Desired): [Desired, ...Desired[]] {
  const { spec } = resource;
  const { found, owned } = standingAccess(resource, context, mount);
  const [token, ...others] = ownedTokens(resource, context, {
    connection: spec.nomadRef,
    name: spec.path,
    nameField: 'spec.path',
    wanted: { type: 'management', policies: [], roles: [], global: spec.access.global, expirationTtl: null },
    dependsOn: [mount.key],
    base: declaredBy(resource),
    rotation: rotationOf(spec),
    heldSince: (accessorId) => heldSince(accessorId, readable(found), owned, context.now),
  });
  const needed = (desired: Desired): Desired => ({
    ...desired,
    detail: { ...desired.detail, neededBy: { ...mount.key } },
  });
  return [needed(token), ...others.map(needed)];
}

/** The access as it stands: what was written was perhaps written to another mount of that path. */
function standingAccess(
  resource: Engine,
  context: PlanContext,
  mount: Desired,
): { readonly found: Live | Unreadable | undefined; readonly owned: Owned | undefined } {
  const key = accessKey(resource.spec);
  const owned = context.ownedBy(resource).find((o) => keyText(o.key) === keyText(key));
  const found = context.live(key);
  if (found === undefined || isUnreadable(found)) return { found, owned };
  return { found: owned?.detail?.['mount'] === readable(mount.live)?.id ? found : forgotten(found), owned };
}

/** Written once more where it is not known for sure that Vault holds that token: the mount was made anew, or the inventory lost. */
function desiredAccess(resource: Engine, context: PlanContext, mount: Desired, token: Desired): Desired {
  const { spec } = resource;
  const key = accessKey(spec);
  const accessor = readable(mount.live)?.id;
  const accessorId = readable(token.live)?.id;
  const secrets = secretFields(resource, secretsOf(resource), context);
  const { found, owned } = standingAccess(resource, context, mount);
  const access = readable(found);
  const live = access && withSent(access, secrets.fields, owned);
  const fields = {
    'access.address': spec.access.address ?? context.nomadAddress(spec.nomadRef) ?? '',
    'access.caCert': spec.access.caCert ?? '',
    'access.clientCert': spec.access.clientCert ?? '',
    'access.maxTokenNameLength': spec.access.maxTokenNameLength,
    ...secrets.fields,
    [TOKEN]: accessorId === undefined || accessor === undefined ? new Deferred() : accessorId,
  };
  const isHeld = live !== undefined && live.fields[TOKEN] === accessorId;
  const { detail, ...stamp } = spec.rotation ? handover(heldSince(accessorId, live, owned, context.now)) : {};
  return {
    ...object(resource, key, fields, nomadAccessRules, live ?? found, [mount.key, token.key]),
    detail: {
      nomadRef: spec.nomadRef,
      accessorId: accessorId ?? null,
      mount: accessor ?? null,
      ...(!isHeld && { held: null }),
      ...detail,
    },
    ...stamp,
    ...(secrets.verdict && { verdict: secrets.verdict }),
  };
}

function forgotten(live: Live): Live {
  return { ...live, fields: { ...live.fields, [TOKEN]: null }, facts: { ...live.facts, accessorId: null } };
}

function desiredLease(resource: Engine, context: PlanContext, mount: Desired): Desired {
  const { vaultRef, path, lease } = resource.spec;
  const key = { connection: vaultRef, type: nomadLeaseObject.name, name: path };
  const fields = { 'lease.ttl': seconds(lease.ttl), 'lease.maxTtl': seconds(lease.maxTtl) };
  // An engine of which nothing was ever said about leases has those of Vault, as one of which that was said.
  const isEngine = readable(mount.live)?.fields['path'] === mount.fields['path'];
  const isUnsaid = isEngine && Object.values(fields).every((value) => value === 0);
  const live = context.live(key) ?? (isUnsaid ? { fields } : undefined);
  return object(resource, key, fields, nomadLeaseRules, live, [mount.key]);
}
