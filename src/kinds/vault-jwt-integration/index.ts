import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { isUnreadable, type Desired, type Live, type ObjectKey, type Unreadable } from '../../plan/step.ts';
import { Deferred, KNOWN_AFTER_APPLY, type DesiredFields, type Fields, type Value } from '../../plan/value.ts';
import { declaredBy, nomadReference, vaultReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { many, seconds } from '../schema.ts';
import { agentConfig } from './agent-config.ts';
import { mountOf, mountRules, roleKey } from '../vault-object/mount.ts';
import { AUTH_MOUNT, authMountObject } from './auth-mount.ts';
import { vaultJwtIntegrationImporter } from './import.ts';
import { JWKS_PATH, jwksKey, jwksObject, keysToKeep, seenKeys, type SeenKey } from './jwks.ts';
import { jwksPair } from './jwks-pair.ts';
import { jwtConfigObject, jwtConfigRules, SYNCED_KEYS } from './jwt-config.ts';
import { fieldsOfRole, jwtRoleObject, jwtRoleRules } from './jwt-role.ts';
import { vaultPolicyObject, vaultPolicyRules } from './policy.ts';
import { policiesOf, rolesOf } from './roles.ts';
import { changedByVault } from './vault-values.ts';
import { vaultJwtIntegrationRules, vaultJwtIntegrationSpec, type VaultJwtIntegrationSpec } from './schema.ts';

type Integration = Resource<VaultJwtIntegrationSpec>;

export const vaultJwtIntegration: Kind<VaultJwtIntegrationSpec> = {
  kind: 'VaultJwtIntegration',
  plural: 'vaultjwtintegrations',
  shortNames: ['vaultjwt'],
  scope: 'Namespaced',
  description:
    'How Nomad workloads log in to Vault: a JWT auth mount, its configuration, templated policies and roles. With an empty spec it is what `nomad setup vault -y` makes.',
  spec: vaultJwtIntegrationSpec,
  rules: vaultJwtIntegrationRules,
  printerColumns: [
    { name: 'Path', type: 'string', jsonPath: '.status.live.path', description: 'Path of the mount on Vault' },
    { name: 'Accessor', type: 'string', jsonPath: '.status.live.accessor', priority: 1 },
    { name: 'Vault', type: 'string', jsonPath: '.spec.vaultRef', priority: 1 },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: VaultJwtIntegration
metadata:
  name: workloads
spec: {}
`,
  planPaths: {
    'spec.path': 'What stands at the path. Another type of auth mount there is refused.',
    'spec.syncKeys': 'The public keys that Vault has, and those that it shall have, as PEM.',
    'spec.roles.NAME.FIELD': 'A field of the role of that name, the default one included.',
    'spec.policies.NAME.rules': 'The rules of the policy of that name, the default one included.',
    'spec.oidc.FIELD':
      'Of the mount’s configuration what only OIDC logins need (clientId, responseMode, responseTypes, providerConfig) and unsupportedCriticalCertExtensions: no field of the spec, and always empty. What somebody sets there by hand is taken away.',
  },
  types: [jwksObject, authMountObject, jwtConfigObject, vaultPolicyObject, jwtRoleObject],
  references: (spec) => [vaultReference(spec), nomadReference(spec)],
  check: ({ spec }) => [...unknownDefaultRole(spec), ...changedByVault(spec)],
  objects,
  importer: vaultJwtIntegrationImporter,
  observes: ({ spec }) => (spec.syncKeys === undefined ? [] : [jwksKey(spec.nomadRef)]),
  status: ({ spec }, steps, context) => {
    const vault = context.vaultServer(spec.vaultRef);
    return {
      path: spec.path,
      accessor: steps.find((s) => s.key.type === authMountObject.name)?.live?.id ?? null,
      policies: policiesOf(spec).map((p) => p.name),
      roles: rolesOf(spec).map((r) => r.name),
      ...(vault && { agentConfig: agentConfig(spec, vault) }),
    };
  },
};

function unknownDefaultRole(spec: VaultJwtIntegrationSpec): { path: string; message: string }[] {
  const known = rolesOf(spec).map((role) => role.name);
  if (spec.defaultRole === undefined || ['', ...known].includes(spec.defaultRole)) return [];
  const where = spec.roles ? 'spec.roles' : 'the integration';
  return [{ path: 'spec.defaultRole', message: `names no role of ${where} (${known.join(', ')})` }];
}

function objects(resource: Integration, context: PlanContext): Desired[] {
  const { spec } = resource;
  const mount = authMount(resource, context);
  const config = jwtConfig(resource, context, mount.key);
  const coupled: Desired = { ...mount, adoptWith: [config.key] };
  const accessor = isUnreadable(mount.live) ? undefined : mount.live?.id;
  const policies = policiesOf(spec).map((p) => policy(resource, context, p, accessor, [mount.key, config.key]));
  const written = [config.key, ...policies.map((p) => p.key)];
  const roles = rolesOf(spec).map((r) =>
    object(
      resource,
      context,
      roleKey(AUTH_MOUNT, spec.vaultRef, spec.path, r.name),
      fieldsOfRole(r),
      jwtRoleRules,
      written,
      `roles.${r.name}`,
    ),
  );
  return [coupled, config, ...policies, ...roles];
}

function object(
  resource: Integration,
  context: PlanContext,
  key: ObjectKey,
  fields: DesiredFields,
  rules: Desired['rules'],
  dependsOn: readonly ObjectKey[],
  pathPrefix?: string,
): Desired {
  return {
    key,
    fields,
    rules,
    live: context.live(key),
    dependsOn,
    ...declaredBy(resource),
    ...(pathPrefix !== undefined && { pathPrefix }),
  };
}

function authMount(resource: Integration, context: PlanContext): Desired {
  const key = { connection: resource.spec.vaultRef, type: authMountObject.name, name: resource.spec.path };
  const mount = object(resource, context, key, { path: mountOf(AUTH_MOUNT, AUTH_MOUNT.type) }, mountRules, []);
  return { ...mount, ...renamed(resource, context, key, 'spec.path', (made) => made.name === key.name) };
}

function jwtConfig(resource: Integration, context: PlanContext, mount: ObjectKey): Desired {
  const { spec } = resource;
  const key = { connection: spec.vaultRef, type: jwtConfigObject.name, name: spec.path };
  const keys = syncedKeys(resource, context, key);
  const fields: Fields = {
    ...keySource(spec, context),
    [SYNCED_KEYS]: Array.isArray(keys) ? keys.map((k) => k.pem) : [],
    jwksCaPem: spec.jwksCaPem ?? '',
    oidcDiscoveryUrl: spec.oidcDiscoveryUrl ?? '',
    oidcDiscoveryCaPem: spec.oidcDiscoveryCaPem ?? '',
    supportedAlgs: many(spec.supportedAlgs),
    boundIssuer: spec.boundIssuer,
    defaultRole: spec.defaultRole ?? rolesOf(spec)[0]?.name ?? '',
    ...EMPTY,
  };
  const config = object(resource, context, key, fields, jwtConfigRules, [mount]);
  if (keys === undefined) return config;
  if (!Array.isArray(keys))
    return { ...config, verdict: { action: 'refuse', reason: 'Unavailable', message: keys.error } };
  const ends = keys.flatMap((k) => (k.goneSince === null ? [] : [k.goneSince + keepForMs(spec)]));
  return {
    ...config,
    detail: { keys: keys as unknown as Value },
    ...(ends.length > 0 && { dueAt: Math.min(...ends) }),
  };
}

/** What Nomad's logins never need. */
const EMPTY = {
  'oidc.clientId': '',
  'oidc.responseMode': '',
  'oidc.responseTypes': [],
  'oidc.providerConfig': {},
  'oidc.unsupportedCriticalCertExtensions': [],
};

function keySource(spec: VaultJwtIntegrationSpec, context: PlanContext): Fields {
  const pairs = (spec.jwksPairs ?? []).map((pair) => jwksPair(pair.jwksUrl, pair.jwksCaPem ?? ''));
  const fromConnection = `${(context.nomadAddress(spec.nomadRef) ?? '').replace(/\/$/, '')}${JWKS_PATH}`;
  const elsewhere = spec.jwksPairs ?? spec.oidcDiscoveryUrl ?? spec.syncKeys;
  return {
    jwksPairs: pairs,
    jwksUrl: spec.jwksUrl ?? (elsewhere === undefined ? fromConnection : ''),
  };
}

/** The keys that Vault shall have, with `syncKeys`; an error where Nomad's JWKS could not be read. */
function syncedKeys(
  resource: Integration,
  context: PlanContext,
  key: ObjectKey,
): SeenKey[] | { error: string } | undefined {
  const { syncKeys, nomadRef } = resource.spec;
  if (syncKeys === undefined) return undefined;
  const observed = context.live(jwksKey(nomadRef));
  if (observed === undefined) return { error: `the JWKS of NomadCluster ${nomadRef} was not read` };
  if (isUnreadable(observed)) return { error: `Nomad's JWKS can't be read: ${observed.error}` };
  const remembered = context.ownedBy(resource).find((o) => o.key.type === key.type)?.detail?.['keys'];
  const seen = remembered === undefined ? keysOf(context.live(key)) : seenKeys(remembered);
  const published = (observed.fields['keys'] as readonly Value[]).map(String);
  return keysToKeep(published, seen, keepForMs(resource.spec), context.now);
}

/**
 * The keys that the live configuration has, for when nothing is remembered: the inventory was lost, or the mount is
 * another's. Tokens signed by them may still be alive, so that those which Nomad no longer publishes are gone from now on.
 */
function keysOf(config: Live | Unreadable | undefined): SeenKey[] {
  const keys = isUnreadable(config) ? undefined : config?.fields[SYNCED_KEYS];
  return Array.isArray(keys) ? keys.map((pem) => ({ pem: String(pem).trim(), goneSince: null })) : [];
}

function keepForMs({ syncKeys }: VaultJwtIntegrationSpec): number {
  return seconds(syncKeys?.keepFor ?? 0) * 1000;
}

/** A policy with the mount's accessor in its place, which is known only once the mount stands. */
function policy(
  resource: Integration,
  context: PlanContext,
  declared: { name: string; rules: string },
  accessor: string | undefined,
  dependsOn: readonly ObjectKey[],
): Desired {
  const key = { connection: resource.spec.vaultRef, type: vaultPolicyObject.name, name: declared.name };
  const rules = declared.rules.replaceAll('{{accessor}}', accessor ?? KNOWN_AFTER_APPLY);
  const deferred = accessor === undefined && rules !== declared.rules;
  const fields = { rules: deferred ? new Deferred(rules) : rules };
  return object(resource, context, key, fields, vaultPolicyRules, dependsOn, `policies.${declared.name}`);
}
