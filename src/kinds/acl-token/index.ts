import type { Kind, PlanContext } from '../../contract/kind.ts';
import { idOf, type Resource } from '../../contract/resource.ts';
import { isUnreadable, readable, type Desired, type Live, type ObjectKey, type Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { renamed } from '../renamed.ts';
import { byteLength, seconds } from '../schema.ts';
import { markedName, markerOf, ownerId } from '../nomad-token/marker.ts';
import { matchToken, type Match } from '../nomad-token/match.ts';
import { aclTokenImporter } from './import.ts';
import { kubernetesSecretObject } from './kubernetes-secret.ts';
import { aclTokenRules, aclTokenSpec, KUBERNETES_ONLY, type AclTokenSpec, DIRECTORY_ONLY } from './schema.ts';
import { secretFileObject } from './secret-file.ts';
import { sinkOf } from './sink.ts';
import { aclTokenObject, tokenFieldRules } from '../nomad-token/token.ts';

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
    'spec.name': 'The name on Nomad with its marker.',
  },
  types: [aclTokenObject, secretFileObject, kubernetesSecretObject],
  references: (spec) => [{ kind: 'NomadCluster', name: spec.nomadRef, path: 'spec.nomadRef' }],
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
  objects,
  importer: aclTokenImporter,
  status: (resource, steps) => {
    const live = steps.findLast((s) => s.desired !== undefined && s.key.type === aclTokenObject.name)?.live;
    const expiresAt = live?.facts?.['expiresAt'];
    const { file, kubernetesSecret } = resource.spec.writeSecretTo;
    return {
      ...(live?.id !== undefined && { accessorId: live.id, name: live.fields['name'] }),
      ...(typeof expiresAt === 'number' && { expiresAt: new Date(expiresAt).toISOString() }),
      ...(file && { secretFile: file.path }),
      ...(kubernetesSecret && { secretName: kubernetesSecret.name }),
    };
  },
};

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
  const { token, taken } =
    resource.spec.accessorId === undefined
      ? ownToken(resource, context)
      : { token: namedToken(resource, context), taken: [] };
  return [token, ...taken, ...sinkOf(resource, context, token, base(resource))];
}

function base(resource: Token): Omit<Desired, 'key' | 'fields' | 'rules' | 'live' | 'dependsOn'> {
  const { spec } = resource;
  return {
    resource: idOf(resource),
    adoptionPolicy: spec.adoptionPolicy,
    deletionPolicy: spec.deletionPolicy,
    suspended: spec.suspend,
    source: resource.source,
  };
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
    ...base(resource),
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
    ...(typeof ends === 'number' && { dueAt: ends, ...expired(ends, context.now, owned, 'delete the resource') }),
    ...(!isOurs && live && !isUnreadable(live) && ofAnother(live)),
    ...renamed(resource, context, key, 'spec.accessorId', (made) => made.name === key.name),
  };
}

/** Two that manage one token would change it in turns for ever. */
function ofAnother(live: Live): Pick<Desired, 'verdict'> {
  const name = stringIn(live.fields, 'name');
  if (markerOf(name) === undefined) return {};
  const message =
    `token ${live.id ?? ''} carries the marker of a resource that made it (${name}) and manages it, here or in another ` +
    'installation: change that one instead; if there is none any more, take the marker out of its name on Nomad';
  return { verdict: { action: 'refuse', reason: 'Conflict', message } };
}

/** The token that stands for the resource, and those that did before the inventory was lost: ours, to be deleted next. */
function ownToken(resource: Token, context: PlanContext): { token: Desired; taken: Desired[] } {
  const { spec } = resource;
  const owner = ownerId(context.owner, idOf(resource));
  const wanted = wantedFields(spec);
  const owned = context.ownedBy(resource).filter((o) => o.key.type === aclTokenObject.name);
  const type = aclTokenObject.name;
  const marked = context.liveBy(spec.nomadRef, type, owner);
  const tokenOf = (accessorId: string): Live | undefined =>
    readable(context.live({ connection: spec.nomadRef, type, name: accessorId }));
  const match = matchToken(owner, liveName(resource), wanted, marked, tokenOf, owned);
  const key = { connection: spec.nomadRef, type, name: match.name };
  const sameName = (made: ObjectKey): boolean => {
    const marker = markerOf(made.name);
    return marker !== undefined && made.name === markedName(liveName(resource), marker);
  };
  const taken = match.taken.map((live) => takenToken(resource, live));
  const token = {
    ...base(resource),
    key,
    fields: { ...wanted, name: match.name },
    rules: tokenFieldRules,
    live: context.failure(key.connection, key.type) ?? ('live' in match ? match.live : undefined),
    dependsOn: [...policiesOf(spec), ...taken.map((t) => t.key)],
    ...(match.is === 'replaced' && { replaces: { key: { ...key, name: match.old.name }, live: match.old.live } }),
    ...verdict(match, wanted, owned, context.now),
    ...dueAt(match, wanted, owned),
    ...renamed(resource, context, key, 'spec.name', sameName),
  };
  return { token, taken };
}

/** Declared as it is, so that it is adopted; once the inventory has it, nothing declares it and it is deleted. */
function takenToken(resource: Token, live: Live): Desired {
  return {
    ...base(resource),
    key: { connection: resource.spec.nomadRef, type: aclTokenObject.name, name: stringIn(live.fields, 'name') },
    fields: live.fields,
    rules: tokenFieldRules,
    live,
    dependsOn: [],
  };
}

/** Nothing is made in place of an expired token, and nothing of a token whose marker was imitated. */
function verdict(
  match: Match,
  wanted: Fields,
  owned: readonly Owned[],
  now: number,
): Pick<Desired, 'verdict' | 'keeps'> {
  if (match.is === 'conflict') {
    const message =
      `token ${match.live.id ?? ''} carries the marker of this resource (${stringIn(match.live.fields, 'name')}), but the inventory ` +
      'does not know it and it differs from the declaration: delete it on Nomad, or make the declaration equal to it';
    return { verdict: { action: 'refuse', reason: 'Conflict', message } };
  }
  const ends = expiry(match, wanted, owned);
  return ends === undefined ? {} : expired(ends, now, owned, 'change expirationTtl, or delete the resource');
}

/** @param advice what the user can do. */
function expired(
  ends: number,
  now: number,
  owned: readonly Owned[],
  advice: string,
): Pick<Desired, 'verdict' | 'keeps'> {
  if (ends > now) return {};
  const message = `expired at ${new Date(ends).toISOString()}; an expired token is not made again: ${advice}`;
  return { verdict: { action: 'noop', reason: 'Expired', message }, keeps: owned.map((o) => o.key) };
}

/** A plan made once the token has ended says so. */
function dueAt(match: Match, wanted: Fields, owned: readonly Owned[]): Pick<Desired, 'dueAt'> {
  const ends = expiry(match, wanted, owned);
  return ends === undefined ? {} : { dueAt: ends };
}

/** When the token that stands for the resource ended or will end, if it was made with the declared life. */
function expiry(match: Match, wanted: Fields, owned: readonly Owned[]): number | undefined {
  const remembered = owned.find((o) => o.detail?.['expirationTtl'] === wanted['expirationTtl'])?.detail?.['expiresAt'];
  const expiresAt =
    match.is === 'current' ? match.live.facts?.['expiresAt'] : match.is === 'absent' ? remembered : undefined;
  return typeof expiresAt === 'number' ? expiresAt : undefined;
}
