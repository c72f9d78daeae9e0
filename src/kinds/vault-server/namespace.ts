import { TargetError } from '../../contract/errors.ts';
import type { ObjectType } from '../../contract/kind.ts';
import type { VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';
import type { Fields, Value } from '../../plan/value.ts';

/**
 * A namespace of Vault Enterprise; its key's name is the path from the root. It is managed in the namespace above, by
 * `sys/namespaces/NAME`. That is shown on the sandbox, which follows Vault's public documentation: no test asks a real one.
 */

/** What `nomad setup vault` marks the namespaces with that its -destroy may delete. */
export const NOMAD_MARK = { key: 'created-by', value: 'nomad-setup' } as const;
/** Whose it is: the installation and the VaultServer, as the marker of a token tells it. */
export const OWNER_MARK = 'nomad-access';

const fieldOf = (mark: string): string => `createNamespace.${mark}`;

export const namespaceRules: Readonly<Record<string, FieldRule>> = {
  [fieldOf(NOMAD_MARK.key)]: { compare: 'exact' },
  [fieldOf(OWNER_MARK)]: { compare: 'exact' },
};

/** @param owner as `ownerId` gives it. */
export function marksOf(owner: string): Fields {
  return { [fieldOf(NOMAD_MARK.key)]: NOMAD_MARK.value, [fieldOf(OWNER_MARK)]: owner };
}

/** Whether a namespace carries these marks. */
export function isMarked(live: Live, marks: Fields): boolean {
  return Object.entries(marks).every(([field, value]) => live.fields[field] === value);
}

/** `a/b/c` is managed in `a/b` as `c`; slashes at the ends mean nothing. */
export function placeOf(namespace: string): { path: string; parent: string | undefined; name: string } {
  const path = namespace.replace(/^\/+|\/+$/g, '');
  const slash = path.lastIndexOf('/');
  return { path, parent: slash < 0 ? undefined : path.slice(0, slash), name: path.slice(slash + 1) };
}

interface Namespace {
  readonly id: string;
  readonly custom_metadata?: Readonly<Record<string, string>> | null;
}

/** What every namespace has from its beginning. */
const BUILT_IN = {
  'sys/auth': ['token'],
  'sys/mounts': ['cubbyhole', 'identity', 'sys'],
  policies: ['default', 'default-ceiling', 'root'],
} as const;

/** What lives in a namespace, as the plan calls it. */
const NOUNS = { 'auth-mount': 'auth mount', 'secrets-mount': 'secrets engine', policy: 'policy' } as const;

export const vaultNamespaceObject: ObjectType = {
  name: 'vault-namespace',
  connection: 'VaultServer',
  after: [],
  rules: namespaceRules,

  async read(io, { connection, desired, owned }, signal) {
    const api = io.vault(connection);
    const declared = new Set(desired.map((d) => d.key.name));
    const objects = new Map<string, Live>();
    for (const name of new Set([...declared, ...owned.map((o) => o.key.name)])) {
      const found = await readNamespace(api, name, signal);
      if (found === undefined) continue;
      const contents = declared.has(name) ? [] : await contentsOf(api, name, signal);
      objects.set(name, { ...found, facts: { contents } });
    }
    return { objects };
  },

  /** Looks first: what a write to a namespace that is there already would do to its metadata is nowhere said. */
  async create(io, { key, fields }) {
    const api = io.vault(key.connection);
    if ((await readNamespace(api, key.name)) !== undefined)
      throw new TargetError(`namespace ${key.name} was made in the meantime`, { class: 'transient' });
    await above(api, key.name).write(pathOf(key.name), { custom_metadata: metadataOf(fields) });
    const made = await readNamespace(api, key.name);
    if (made === undefined)
      throw new TargetError(`namespace ${key.name} is not there after it was made`, { class: 'transient' });
    return made;
  },

  /** Looks again right before: whatever lives in it would go with it. */
  async remove(io, { key, live }) {
    const api = io.vault(key.connection);
    const now = await readNamespace(api, key.name);
    if (now === undefined) return undefined;
    if (now.id !== live.id)
      throw new TargetError(`namespace ${key.name} stays: it is not the one that it was`, { class: 'dependency' });
    const contents = await contentsOf(api, key.name);
    // Those of ours may be on their way out by themselves.
    if (contents.length > 0) throw new TargetError(carries(key.name, contents), { class: 'dependency' });
    await above(api, key.name).delete(pathOf(key.name));
    // Vault may take its time, and says so only by what it still shows.
    if ((await readNamespace(api, key.name)) !== undefined)
      throw new TargetError(`Vault is still deleting namespace ${key.name}`, { class: 'transient' });
    return undefined;
  },

  retain(key, live, isOurs) {
    const contents = live.facts?.['contents'];
    const foreign = (Array.isArray(contents) ? contents.map(String) : []).filter(
      (content) => !isOurs(keyOf(key, content)),
    );
    return foreign.length > 0 ? carries(key.name, foreign) : undefined;
  },

  deletionNote: () => 'deleting it deletes everything that is in it by then',
};

/** The namespace above, where it is managed. */
function above(api: VaultApi, name: string): VaultApi {
  return api.in(placeOf(name).parent);
}

function pathOf(name: string): string {
  return `sys/namespaces/${placeOf(name).name}`;
}

function metadataOf(fields: Fields): Record<string, string> {
  return Object.fromEntries(
    Object.keys(namespaceRules).map((field) => [field.slice(fieldOf('').length), text(fields[field])]),
  );
}

function text(mark: Value | undefined): string {
  return typeof mark === 'string' ? mark : '';
}

/** The marks are part of the identity: one that lost them is not the one that we made. */
async function readNamespace(api: VaultApi, name: string, signal?: AbortSignal): Promise<Live | undefined> {
  const found = await above(api, name).read<Namespace>(pathOf(name), signal);
  if (found === undefined) return undefined;
  const metadata = found.custom_metadata ?? {};
  const marks = [NOMAD_MARK.key, OWNER_MARK].map((mark) => [mark, metadata[mark] ?? null] as const);
  return {
    id: [found.id, ...marks.map(([, value]) => value ?? '')].join(' '),
    fields: Object.fromEntries(marks.map(([mark, value]) => [fieldOf(mark), value])),
  };
}

/** What was put into a namespace, each as `type/name`: below a mount is not looked, since the mount counts. @throws TargetError */
async function contentsOf(api: VaultApi, name: string, signal?: AbortSignal): Promise<string[]> {
  const inside = api.in(name);
  const mounts = async (table: 'sys/auth' | 'sys/mounts', type: string): Promise<string[]> => {
    const found = Object.keys((await inside.read<object>(table, signal)) ?? {});
    return named(type, found, BUILT_IN[table]);
  };
  const lists = async (path: string, type: string, builtIn: readonly string[] = []): Promise<string[]> =>
    named(type, await inside.list(path, signal), builtIn);
  const found = await Promise.all([
    lists('sys/namespaces', vaultNamespaceObject.name),
    mounts('sys/auth', 'auth-mount'),
    mounts('sys/mounts', 'secrets-mount'),
    lists('sys/policies/acl', 'policy', BUILT_IN.policies),
    lists('identity/group/name', 'identity group'),
  ]);
  return found.flat().sort();
}

function named(type: string, names: readonly string[], builtIn: readonly string[]): string[] {
  return names
    .map((name) => name.replace(/\/$/, ''))
    .filter((name) => !builtIn.includes(name))
    .map((name) => `${type}/${name}`);
}

/** The key of what lives in a namespace; of another type of object than any of ours for what we never make. */
function keyOf({ connection }: ObjectKey, content: string): ObjectKey {
  const slash = content.indexOf('/');
  return { connection, type: content.slice(0, slash), name: content.slice(slash + 1) };
}

function carries(name: string, contents: readonly string[]): string {
  const told = contents.map((content) => {
    const slash = content.indexOf('/');
    const type = content.slice(0, slash);
    return `${type in NOUNS ? NOUNS[type as keyof typeof NOUNS] : type.replace('vault-', '')} ${content.slice(slash + 1)}`;
  });
  return `namespace ${name} stays: deleting it would delete what is in it (${told.join(', ')}); delete that first`;
}
