import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { isUnreadable, type Desired, type Live, type ObjectKey, type Unreadable } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { declaredBy, nomadReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { misnamed } from '../schema.ts';
import { misplacedSecrets, secretFields, secretKeys, secretSourceObject, withSent } from '../secret-source.ts';
import { defaultMethodKey, defaultMethodObject, THE_DEFAULT } from './default-method.ts';
import { declaredFields, methodFieldRules } from './fields.ts';
import { aclAuthMethodImporter } from './import.ts';
import { authMethodObject, DEFAULT } from './method.ts';
import { aclAuthMethodRules, aclAuthMethodSpec, secretsOf, type AclAuthMethodSpec } from './schema.ts';

type Method = Resource<AclAuthMethodSpec>;

export const aclAuthMethod: Kind<AclAuthMethodSpec> = {
  kind: 'AclAuthMethod',
  plural: 'aclauthmethods',
  shortNames: ['aclauth'],
  scope: 'Namespaced',
  description: 'One Nomad ACL auth method: how people and programs log in to Nomad, by a JWT or an OIDC provider.',
  spec: aclAuthMethodSpec,
  rules: aclAuthMethodRules,
  printerColumns: [
    { name: 'Method', type: 'string', jsonPath: '.status.live.name', description: 'Name on Nomad' },
    { name: 'Type', type: 'string', jsonPath: '.spec.type' },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: AclAuthMethod
metadata:
  name: sso
spec:
  type: OIDC
  tokenLocality: local
  maxTokenTtl: 8h
  default: true
  config:
    oidcDiscoveryUrl: https://sso.example.com/realms/platform
    oidcClientId: nomad
    oidcClientSecret:
      secretRef: # in the directory source: file, or env
        name: nomad-sso
        key: client-secret
    oidcScopes: [groups]
    boundAudiences: [nomad]
    allowedRedirectUris:
      - https://nomad.example.com/ui/settings/tokens
      - http://localhost:4649/oidc/callback
    listClaimMappings:
      groups: roles
`,
  types: [secretSourceObject, authMethodObject, defaultMethodObject],
  references: (spec) => [nomadReference(spec)],
  check: (resource) => [
    ...misnamed(liveName(resource), 'an auth method on Nomad'),
    ...misplacedSecrets(resource, secretsOf(resource.spec)),
  ],
  observes: (resource) => secretKeys(resource, secretsOf(resource.spec)),
  objects: (resource, context) => {
    const method = desiredMethod(resource, context);
    return resource.spec.default ? [theDefault(resource, context), method] : [method];
  },
  importer: aclAuthMethodImporter,
  status: (resource) => ({ name: liveName(resource) }),
};

function liveName(resource: Method): string {
  return resource.spec.name ?? resource.metadata.name;
}

function desiredMethod(resource: Method, context: PlanContext): Desired {
  const { spec } = resource;
  const key = { connection: spec.nomadRef, type: authMethodObject.name, name: liveName(resource) };
  const owned = context.ownedBy(resource).find((o) => o.key.type === key.type && o.key.name === key.name);
  const secrets = secretFields(resource, secretsOf(spec), context);
  const live = context.live(key);
  const former = spec.default ? formerDefault(key, context) : undefined;
  return {
    ...declaredBy(resource),
    key,
    fields: { ...declaredFields(spec), ...secrets.fields },
    rules: methodFieldRules,
    live: live && !isUnreadable(live) ? withSent(live, secrets.fields, owned, versionOf(live)) : live,
    dependsOn: spec.default ? [defaultMethodKey(key.connection), ...(former?.key ? [former.key] : [])] : [],
    ...former?.desired,
    ...(secrets.verdict && { verdict: secrets.verdict }),
    ...renamed(resource, context, key, 'spec.name', (made) => made.name === key.name),
  };
}

function versionOf(live: Live): string {
  return stringIn(live.facts, 'version');
}

/** What is to be the default method no more, before this one can be it. */
function formerDefault(
  { connection, type, name }: ObjectKey,
  context: PlanContext,
): { key?: ObjectKey; desired: Pick<Desired, 'detail' | 'verdict'> } | undefined {
  const [live] = context.liveBy(connection, type, DEFAULT);
  const former = stringIn(live?.facts, 'name');
  if (former === '' || former === name) return undefined;
  const key = { connection, type, name: former };
  const owned = context.owned(key);
  if (owned !== undefined && !owned.suspended) return { key, desired: { detail: { formerDefault: former } } };
  const message =
    `auth method ${former} is the default one, and ${owned === undefined ? 'not ours' : 'suspended'}: ` +
    'Nomad has one default method, so make that one it no more, or take spec.default away here';
  return { desired: { verdict: { action: 'refuse', reason: 'Conflict', message } } };
}

/** Looked at, so that whoever declares it as well is known. */
function theDefault(resource: Method, context: PlanContext): Desired {
  const key = defaultMethodKey(resource.spec.nomadRef);
  const live: Live | Unreadable | undefined = context.live(key);
  return {
    ...declaredBy(resource),
    key,
    fields: {},
    rules: {},
    live: live ?? THE_DEFAULT,
    dependsOn: [],
    verdict: { action: 'noop', reason: 'InSync', message: '' },
  };
}
