import { createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { TargetError } from '../contract/errors.ts';
import type { ObjectType, PlanContext } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import { digestOf, SECRET_VARIABLE_PREFIX, type Io, type SecretPlace } from '../contract/target.ts';
import type { FieldRule } from '../plan/diff.ts';
import { isUnreadable, type Desired, type Live, type ObjectKey, type Owned, type Unreadable } from '../plan/step.ts';
import { canonical, isEqual, stringIn, type Fields, type Value } from '../plan/value.ts';
import { unrepeated } from './schema.ts';

/**
 * Secrets that somebody else made and a kind sends to a server, which never tells them again. A manifest says where one
 * stands; what stands there is read at the moment of the write, and is never a field: fields have the place and a digest,
 * and the inventory remembers a digest of what was sent, with a key of its own. @see docs/adr/0011
 */

const PLACES = ['secretRef', 'file', 'env'] as const;
const DIRECTORY_ONLY = 'needs the directory source; use secretRef';
const CHOICE = `exactly one of ${PLACES.join(', ')} must be set`;

/** Of a path no part of which is "", "." or "..": it can't lead out of the folder, but for links. */
const BELOW = /^(\.\/)?([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+)(\/([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+))*$/;
const VARIABLE = /^NOMAD_ACCESS_SECRET_[A-Za-z0-9_]+$/;
const VARIABLE_FORM = `must be the name of an environment variable that begins with ${SECRET_VARIABLE_PREFIX}`;

/** Where a secret stands, for the schema of a kind; not yet described. */
export const secretSource = z
  .strictObject({
    secretRef: z
      .strictObject({
        name: z.string().min(1).max(253).describe('Name of the Secret, in the namespace of the resource.'),
        key: z.string().min(1).max(253).describe('Key in its data.'),
      })
      .optional()
      .describe('Key of a Kubernetes Secret (Kubernetes source only). A change of it is sent at once.'),
    file: z
      .string()
      .max(4096)
      .regex(BELOW, { error: 'must be a path relative to the manifest, to a file in its folder or below' })
      .optional()
      .describe(
        'File with the secret, relative to the manifest, in its folder or below (directory source only). Outer white space does not count.',
      ),
    env: z
      .string()
      .max(256)
      .regex(VARIABLE, { error: VARIABLE_FORM })
      .meta(unrepeated(VARIABLE_FORM))
      .optional()
      .describe(
        `Environment variable with the secret; its name begins with \`${SECRET_VARIABLE_PREFIX}\` (directory source only).`,
      ),
  })
  .refine((source) => PLACES.filter((place) => source[place] !== undefined).length === 1, { error: CHOICE })
  .meta({
    'x-kubernetes-validations': [
      { rule: `${PLACES.map((place) => `(has(self.${place}) ? 1 : 0)`).join(' + ')} == 1`, message: CHOICE },
      // They would be those of the operator.
      ...(['file', 'env'] as const).map((place) => ({
        rule: `!has(self.${place})`,
        message: DIRECTORY_ONLY,
        fieldPath: `.${place}`,
      })),
    ],
  });
export type SecretSource = z.infer<typeof secretSource>;

/** Path of a field within the spec → where its secret stands, if it has one. */
export type SecretSources = Readonly<Record<string, SecretSource | undefined>>;

/** What a kind's `check` says of secrets that stand where the resource's source does not reach. */
export function misplacedSecrets(
  { metadata }: Pick<Resource, 'metadata'>,
  sources: SecretSources,
): { path: string; message: string }[] {
  // A resource with a uid is an API server's: a file there would be one of whoever runs the operator.
  const isKubernetes = metadata.uid !== undefined;
  const wrong = isKubernetes ? (['file', 'env'] as const) : (['secretRef'] as const);
  const message = isKubernetes ? DIRECTORY_ONLY : 'needs the Kubernetes source; use file or env';
  return Object.entries(sources).flatMap(([path, source]) =>
    wrong.filter((way) => source?.[way] !== undefined).map((way) => ({ path: `spec.${path}.${way}`, message })),
  );
}

/** What the secrets are looked at under: for `Kind.observes`. */
export function secretKeys(resource: Pick<Resource, 'metadata' | 'folder'>, sources: SecretSources): ObjectKey[] {
  return Object.values(sources)
    .flatMap((source) => placeOf(resource, source) ?? [])
    .map(keyOf);
}

/** The key of what stands at a place. */
export function keyOf(place: SecretPlace): ObjectKey {
  return { connection: 'local', type: secretSourceObject.name, name: canonical({ ...place }) };
}

function placeOf(
  { metadata, folder }: Pick<Resource, 'metadata' | 'folder'>,
  source: SecretSource | undefined,
): SecretPlace | undefined {
  if (source?.secretRef !== undefined)
    return { from: 'kubernetes', namespace: metadata.namespace, ...source.secretRef };
  if (source?.file !== undefined) return { from: 'file', folder, path: source.file };
  return source?.env === undefined ? undefined : { from: 'variable', name: source.env };
}

/** A place that a secret is sent from. It is only looked at; what is known of it is a digest. */
export const secretSourceObject: ObjectType = {
  name: 'secret-source',
  connection: 'local',
  after: [],

  async read(io, { observed = [] }, signal) {
    const names = [...new Set(observed.map(({ name }) => name))];
    const read = async (name: string): Promise<[string, Live | Unreadable]> => [name, await look(io, name, signal)];
    return { objects: new Map(await Promise.all(names.map(read))) };
  },
};

async function look(io: Io, name: string, signal: AbortSignal): Promise<Live | Unreadable> {
  try {
    return { fields: { digest: digestOf(await io.secretSources.read(JSON.parse(name) as SecretPlace, signal)) } };
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    return { error: error.message, reason: error.class === 'transient' ? 'Unavailable' : 'NotFound' };
  }
}

/** How a field whose value is a secret is compared. */
export const secretRule: FieldRule = { compare: 'exact', sensitive: true, untold: true };

/** What a live object has in such a field where the server says that there is a secret, or does not say whether there is one. */
export const UNTOLD = 'untold';

/**
 * What the fields of secrets shall hold: the place and a digest, or '' where none is declared.
 * @returns also a verdict while one of them can't be had.
 */
export function secretFields(
  resource: Pick<Resource, 'metadata' | 'folder'>,
  sources: SecretSources,
  context: PlanContext,
): { readonly fields: Fields; readonly verdict?: NonNullable<Desired['verdict']> } {
  const fields: Record<string, Value> = {};
  let verdict: Desired['verdict'];
  for (const [path, source] of Object.entries(sources)) {
    const place = placeOf(resource, source);
    fields[path] = '';
    if (place === undefined) continue;
    const key = keyOf(place);
    const live = context.live(key) ?? NOT_READ;
    if (isUnreadable(live)) verdict ??= { action: 'refuse', reason: live.reason, message: `${path}: ${live.error}` };
    else fields[path] = { place: key.name, digest: stringIn(live.fields, 'digest') };
  }
  return { fields, ...(verdict && { verdict }) };
}

const NOT_READ: Unreadable = { error: 'the secret was not read yet', reason: 'Unavailable' };

/** What is remembered of a secret that was sent. */
interface Sent {
  readonly key: string;
  readonly digest: string;
}

/**
 * The live object with what is known to stand in its untold fields: the declared secret, where the inventory says that just
 * that was sent, and nothing was written since. A pending entry says nothing of it.
 * @param fields of the declared secrets. @see secretFields
 * @param version of the live object: another one after every write of anybody, if the server tells one.
 */
export function withSent(live: Live, fields: Fields, owned: Owned | undefined, version: Value = null): Live {
  const sent = owned?.state === 'owned' ? owned.detail?.['sent'] : undefined;
  if (!isFields(sent) || !isEqual(owned?.detail?.['sentVersion'] ?? null, version)) return live;
  const known = Object.entries(fields).filter(
    ([path, wanted]) => live.fields[path] === UNTOLD && isSent(sent[path], wanted),
  );
  return {
    ...live,
    fields: { ...live.fields, ...Object.fromEntries(known) },
    facts: { ...live.facts, sent, sentVersion: version },
  };
}

function isSent(sent: Value | undefined, wanted: Value): boolean {
  if (!isFields(sent) || !isFields(wanted)) return false;
  return keyed(stringIn(sent, 'key'), stringIn(wanted, 'digest')) === stringIn(sent, 'digest');
}

/**
 * Reads the secrets among the fields that shall be written.
 * @returns the text of each, and the facts that the written object shall carry, for `rememberSent`. @throws TargetError
 */
export async function secretsToSend(
  io: Io,
  fields: Fields,
): Promise<{ readonly texts: Readonly<Record<string, string>>; readonly sent: Fields }> {
  const texts: Record<string, string> = {};
  const sent: Record<string, Value> = {};
  for (const [path, wanted] of Object.entries(fields)) {
    const place = isFields(wanted) ? wanted['place'] : undefined;
    if (typeof place !== 'string') continue;
    const text = await io.secretSources.read(JSON.parse(place) as SecretPlace);
    texts[path] = text;
    sent[path] = remembered(text);
  }
  return { texts, sent };
}

/** Equal secrets shall not show as equal in an inventory. */
function remembered(text: string): Sent & Fields {
  const key = randomBytes(16).toString('base64url');
  return { key, digest: keyed(key, digestOf(text)) };
}

function keyed(key: string, digest: string): string {
  return createHmac('sha256', key).update(digest).digest('base64url');
}

/** Facts of an object after a write. @param version that the write gave it; null where the server tells none. */
export function sentFacts(sent: Fields, version: Value = null): Fields {
  return Object.keys(sent).length === 0 ? {} : { sent, sentVersion: version };
}

/** What the inventory remembers of what was sent: for `ObjectType.remember`. */
export function rememberSent({ facts }: Live): Fields {
  const sent = facts?.['sent'];
  return sent === undefined ? {} : { sent, sentVersion: facts?.['sentVersion'] ?? null };
}

function isFields(value: Value | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
