import { createHmac } from 'node:crypto';
import { TargetError } from '../../contract/errors.ts';
import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Desired, Live, Owned } from '../../plan/step.ts';
import { Deferred, stringIn, type DesiredFields, type Fields } from '../../plan/value.ts';
import { secretOf } from './token.ts';

/** The path of the file in the spec: all of the file is one field. */
const FILE = 'writeSecretTo.file';

/** The content is never a field: what is compared is whose SecretID the file holds, and the mode. */
export const secretFileRules: Readonly<Record<string, FieldRule>> = { [FILE]: { compare: 'exact' } };

const MODE = 0o600;

/** @param accessorId undefined while the token does not exist yet. */
export function secretFileFields(accessorId: string | undefined): DesiredFields {
  return {
    [FILE]: accessorId === undefined ? new Deferred(described('the new token', MODE)) : described(accessorId, MODE),
  };
}

function described(token: string | undefined, mode: number): string {
  return `${token === undefined ? 'other content' : `SecretID of ${token}`}, mode ${mode.toString(8).padStart(4, '0')}`;
}

/** @returns the accessor ID of the token of ours whose secret the file holds; undefined where it holds anything else. */
export function holderOf(live: Live): string | undefined {
  const accessorId = live.facts?.['accessorId'];
  return typeof accessorId === 'string' ? accessorId : undefined;
}

/** A file that holds a token's SecretID. Its key's name is the path, relative to the inventory's folder. */
export const secretFileObject: ObjectType = {
  name: 'file',
  connection: 'local',
  after: ['acl-token'],
  rules: secretFileRules,
  late: true,

  /** Local reads only; Nomad is asked for a secret just where a file exists that the inventory can't explain. */
  async read(io, request, signal) {
    const owned = new Map(request.owned.map((o) => [o.key.name, o]));
    const desired = new Map(request.desired.map((d) => [d.key.name, d]));
    const found = new Map<string, Live>();
    for (const path of new Set([...owned.keys(), ...desired.keys()])) {
      const live = await readFile(io, path, owned.get(path), desired.get(path), signal);
      if (live !== undefined) found.set(path, live);
    }
    return { objects: found };
  },

  create: write,
  update: write,

  async remove(io, { key }) {
    await io.files.remove(key.name);
    return undefined;
  },

  abandon: (io, key) => io.files.discard(key.name),

  remember: (live) => ({ accessorId: live.facts?.['accessorId'] ?? null, digest: live.facts?.['digest'] ?? null }),
};

async function readFile(
  io: Io,
  path: string,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<Live | undefined> {
  const file = await io.files.read(path);
  if (file === undefined) return undefined;
  const accessorId = await holder(io, file.content, owned, desired, signal);
  if (accessorId === undefined) return live(file.mode, undefined, undefined);
  // With the secret of another token of the resource it is still the same file.
  return { ...live(file.mode, accessorId, digest(accessorId, file.content)), id: owned?.id ?? accessorId };
}

/**
 * The accessor ID of the token whose SecretID the file holds: by the digest in the inventory; or by a look at the secret
 * of the token that it is declared for, of the one which that replaces, or of those that it was about to be written for
 * when we were interrupted.
 */
async function holder(
  io: Io,
  content: string,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const recorded = owned?.detail?.['digest'];
  const known = candidates(owned?.detail).find((accessorId) => digest(accessorId, content) === recorded);
  if (known !== undefined) return known;
  for (const detail of [desired?.detail, owned?.detail]) {
    const connection = detail?.['nomadRef'];
    if (typeof connection !== 'string') continue;
    for (const accessorId of candidates(detail)) {
      const secret = await secretOf(io.nomad(connection), accessorId, signal);
      if (secret !== undefined && content === fileContent(secret)) return accessorId;
    }
  }
  return undefined;
}

/** The token that a file is or was about to be written for, and the one whose secret it held before. */
function candidates(detail: Fields | undefined): string[] {
  return [detail?.['accessorId'], detail?.['formerId']].filter((id) => typeof id === 'string');
}

async function write(io: Io, desired: SettledDesired): Promise<Live> {
  const accessorId = stringIn(desired.detail, 'accessorId');
  const api = io.nomad(stringIn(desired.detail, 'nomadRef'));
  const secret = io.secrets.take(accessorId) ?? (await secretOf(api, accessorId));
  if (secret === undefined) {
    throw new TargetError(
      `token ${accessorId} is gone from Nomad, so its secret can't be written to ${desired.key.name}`,
      {
        class: 'transient',
      },
    );
  }
  await io.files.write(desired.key.name, fileContent(secret));
  return live(MODE, accessorId, digest(accessorId, fileContent(secret)));
}

function live(mode: number, accessorId: string | undefined, contentDigest: string | undefined): Live {
  return {
    ...(accessorId !== undefined && { id: accessorId }),
    fields: { [FILE]: described(accessorId, mode) },
    facts: { accessorId: accessorId ?? null, digest: contentDigest ?? null },
  };
}

function fileContent(secretId: string): string {
  return `${secretId}\n`;
}

/** Tells whether a file still holds what was written, without keeping it: SecretIDs are random, so it can't be turned back. */
function digest(accessorId: string, content: string): string {
  return createHmac('sha256', accessorId).update(content).digest('hex');
}
