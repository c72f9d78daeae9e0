import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { isUnreadable, readable, type Desired, type ObjectKey, type PlannedStep } from '../../plan/step.ts';
import type { Fields } from '../../plan/value.ts';
import { declaredBy, nomadReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { byteLength, seconds } from '../schema.ts';
import { markerOf } from '../marked/marker.ts';
import { ofAnother } from '../marked/verdicts.ts';
import { ending, ownedTokens } from '../nomad-token/owned-tokens.ts';
import { instant, madeAt } from '../nomad-token/rotation.ts';
import { aclTokenImporter } from './import.ts';
import { kubernetesSecretObject } from './kubernetes-secret.ts';
import { nomadVariableObject } from './nomad-variable.ts';
import { rolesOf, withRoles } from './roles.ts';
import { aclTokenRules, aclTokenSpec, KUBERNETES_ONLY, type AclTokenSpec, DIRECTORY_ONLY } from './schema.ts';
import { secretFileObject } from './secret-file.ts';
import { rotationOf } from './rotation.ts';
import { heldInSink, sinkOf } from './sink.ts';
import { vaultKvObject } from './vault-kv.ts';
import { aclTokenObject, markedToken, tokenFieldRules } from '../nomad-token/token.ts';

type Token = Resource<AclTokenSpec>;

export const aclToken: Kind<AclTokenSpec> = {
  kind: 'AclToken',
  plural: 'acltokens',
  shortNames: ['acltok'],
  scope: 'Namespaced',
  description: 'One Nomad ACL token, and the place that its secret is written to.',
  spec: aclTokenSpec,
  rules: aclTokenRules,
  printerColumns: [
    { name: 'Accessor', type: 'string', jsonPath: '.status.live.accessorId', description: 'Accessor ID on Nomad' },
    { name: 'Expires', type: 'date', jsonPath: '.status.live.expiresAt', priority: 1 },
    { name: 'Rotates', type: 'date', jsonPath: '.status.live.rotatesAt', priority: 1 },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: AclToken
metadata:
  name: dashboard
spec:
  policies: [readonly]
  writeSecretTo:
    kubernetesSecret: # in the directory source: file, with a path
      name: dashboard-nomad-token
`,
  planPaths: {
    'spec.writeSecretTo.file': 'Whose SecretID the file holds, and its mode; never the SecretID.',
    'spec.writeSecretTo.kubernetesSecret':
      'Whose SecretID the Secret holds and under which keys, its label and its owner; never the SecretID.',
    'spec.writeSecretTo.vaultKv': 'Whose SecretID the secret on Vault holds; never the SecretID.',
    'spec.writeSecretTo.vaultKv.isMarked': 'Whether its custom_metadata says whose it is (always so in version 1).',
    'spec.writeSecretTo.nomadVariable': 'Whose SecretID the variable holds; never the SecretID.',
    'spec.name': 'The name on Nomad with its marker.',
  },
  types: [aclTokenObject, secretFileObject, kubernetesSecretObject, vaultKvObject, nomadVariableObject],
  references: ({ nomadRef, writeSecretTo: { vaultKv } }) => [
    nomadReference({ nomadRef }),
    ...(vaultKv
      ? [{ kind: 'VaultServer', name: vaultKv.vaultRef, path: 'spec.writeSecretTo.vaultKv.vaultRef' } as const]
      : []),
  ],
  check: (resource) => [
    ...(byteLength(liveName(resource)) <= 200
      ? []
      : [{ path: 'metadata.name', message: 'is too long for a token’s name on Nomad (200 bytes): set spec.name' }]),
    ...(markerOf(liveName(resource)) === undefined
      ? []
      : [
          {
            path: 'spec.name',
            message: 'must not end in a marker (" [na:...]"): that says which resource made a token',
          },
        ]),
    ...misplacedSink(resource),
  ],
  objects: (resource, context) => withRoles(resource.spec, context, (seen) => objects(resource, seen)),
  observes: ({ spec }) => rolesOf(spec),
  importer: aclTokenImporter,
  status: (resource, steps, { now }) => {
    const { file, kubernetesSecret, vaultKv, nomadVariable } = resource.spec.writeSecretTo;
    return {
      ...tokenStatus(resource.spec, steps, now),
      ...(file && { secretFile: file.path }),
      ...(kubernetesSecret && { secretName: kubernetesSecret.name }),
      ...(vaultKv && { vaultPath: `${vaultKv.mount}/${vaultKv.path}` }),
      ...(nomadVariable && { nomadVariable: `${nomadVariable.namespace}/${nomadVariable.path}` }),
    };
  },
};

/** The token that stands for the resource comes after all that it depends on. */
function tokenStatus(spec: AclTokenSpec, steps: readonly PlannedStep[], now: number): Record<string, unknown> {
  const tokens = steps.filter((s) => s.desired !== undefined && s.key.type === aclTokenObject.name);
  const token = tokens.at(-1);
  const live = token?.live;
  const former = tokens.find((s) => s.desired?.stays !== undefined && s !== token);
  const until = former?.desired?.stays?.until;
  const rotation = rotationOf(spec);
  const rotates = live && rotation && madeAt(live, token.desired?.detail, now) + rotation.interval;
  const expires = live?.facts?.['expiresAt'];
  return {
    ...(live?.id !== undefined && { accessorId: live.id, name: live.fields['name'] }),
    ...(typeof expires === 'number' && { expiresAt: instant(expires) }),
    ...(rotates !== undefined && { rotatesAt: instant(rotates) }),
    ...(former?.live?.id !== undefined && {
      previous: { accessorId: former.live.id, ...(until !== undefined && { until: instant(until) }) },
    }),
  };
}

function liveName(resource: Token): string {
  return resource.spec.name ?? resource.metadata.name;
}

/** A resource with a uid is an API server's: a file there would be one on the machine of whoever runs the operator. */
function misplacedSink({ metadata, spec: { writeSecretTo } }: Token): { path: string; message: string }[] {
  const [sink, message] =
    metadata.uid === undefined ? (['kubernetesSecret', KUBERNETES_ONLY] as const) : (['file', DIRECTORY_ONLY] as const);
  return writeSecretTo[sink] === undefined ? [] : [{ path: `spec.writeSecretTo.${sink}`, message }];
}

function objects(resource: Token, context: PlanContext): Desired[] {
  const [token, ...others] =
    resource.spec.accessorId === undefined ? ownTokens(resource, context) : [namedToken(resource, context)];
  const sink = sinkOf(resource, context, token);
  return sink === undefined ? [token, ...others] : [{ ...token, madeFor: sink.key }, ...others, sink];
}

function ownTokens(resource: Token, context: PlanContext): [Desired, ...Desired[]] {
  const { spec } = resource;
  return ownedTokens(resource, context, {
    connection: spec.nomadRef,
    name: liveName(resource),
    nameField: 'spec.name',
    wanted: wantedFields(spec),
    dependsOn: policiesOf(spec),
    base: declaredBy(resource),
    rotation: rotationOf(spec),
    heldSince: heldInSink(resource, context),
  });
}

function wantedFields(spec: AclTokenSpec): Fields {
  return {
    type: spec.type,
    policies: spec.policies,
    roles: spec.roles,
    global: spec.global,
    expirationTtl: spec.expirationTtl === undefined ? null : seconds(spec.expirationTtl),
  };
}

function policiesOf(spec: AclTokenSpec): ObjectKey[] {
  return spec.policies.map((name) => ({ connection: spec.nomadRef, type: 'acl-policy', name }));
}

/** A token that existed before, named by its accessor ID: it carries no marker and is never made. */
function namedToken(resource: Token, context: PlanContext): Desired {
  const { spec } = resource;
  const key = { connection: spec.nomadRef, type: aclTokenObject.name, name: spec.accessorId ?? '' };
  const live = context.live(key);
  const owned = context.ownedBy(resource).filter((o) => o.key.type === key.type);
  const recorded = owned.find((o) => o.key.name === key.name);
  const isOurs = recorded?.state === 'owned';
  const ends = isUnreadable(live) ? undefined : (live?.facts ?? recorded?.detail)?.['expiresAt'];
  return {
    ...declaredBy(resource),
    key,
    fields: { ...wantedFields(spec), name: liveName(resource) },
    rules: {
      ...tokenFieldRules,
      global: { compare: 'exact', onChange: 'refuse' },
      expirationTtl: { compare: 'exact', onChange: 'refuse' },
    },
    live,
    dependsOn: policiesOf(spec),
    mustExist: true,
    ...(typeof ends === 'number' && ending(ends, context.now, owned, 'delete the resource')),
    ...(!isOurs && ofAnother(markedToken, readable(live))),
    ...renamed(resource, context, key, 'spec.accessorId', (made) => made.name === key.name),
  };
}
