import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Desired, Live, Owned } from '../../plan/step.ts';
import { Deferred, type DesiredFields } from '../../plan/value.ts';
import {
  digest,
  findHolder,
  foretellHolder,
  holderFacts,
  rememberHolder,
  secretToWrite,
  type Holder,
} from './held-secret.ts';

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

/** A file that holds a token's SecretID. Its key's name is the path, relative to the inventory's folder. */
export const secretFileObject: ObjectType = {
  name: 'file',
  connection: 'local',
  after: ['acl-token'],
  rules: secretFileRules,
  late: true,

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

  foretell: (io, desired) => foretellHolder(io, desired, fileContent),
  create: write,
  update: write,

  async remove(io, { key }) {
    await io.files.remove(key.name);
    return undefined;
  },

  abandon: (io, key) => io.files.discard(key.name),

  remember: rememberHolder,
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
  const holder = await findHolder(io, { of: () => file.content, form: fileContent }, owned, desired, signal);
  if (holder === undefined) return live(file.mode, undefined);
  // With the secret of another token of the resource it is still the same file.
  return { ...live(file.mode, holder), id: owned?.id ?? holder.accessorId };
}

async function write(io: Io, desired: SettledDesired): Promise<Live> {
  const { accessorId, secretId } = await secretToWrite(io, desired);
  const content = fileContent(secretId);
  await io.files.write(desired.key.name, content);
  return live(MODE, { accessorId, digest: digest(accessorId, content) });
}

function live(mode: number, holder: Holder | undefined): Live {
  return {
    ...(holder && { id: holder.accessorId }),
    fields: { [FILE]: described(holder?.accessorId, mode) },
    facts: holderFacts(holder),
  };
}

function fileContent(secretId: string): string {
  return `${secretId}\n`;
}
