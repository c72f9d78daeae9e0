import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import { TargetError } from '../../contract/errors.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Desired, Live, Owned } from '../../plan/step.ts';
import { Deferred, stringIn, type DesiredFields, type Fields } from '../../plan/value.ts';
import { readEach } from '../vault-object/read-each.ts';
import { digest, foretellHolder, rememberHolder, secretToWrite } from './held-secret.ts';
import { kvAt, kvOf, NO_MOUNT, type KvEngine, type KvStore, type StoredKv } from './kv-store.ts';
import { asItIs, contentUnder, describedItems, isTokenOnly, itemFacts, itemsOf, ownerIn } from './token-items.ts';
import { DEFAULT_KEYS, describedToken, findKeyed, keysIn, type Keys } from './token-keys.ts';

const SECRET = 'writeSecretTo.vaultKv';
/** Without the mark it is still what we wrote: we were interrupted, or somebody took the mark away. */
const MARKED = 'writeSecretTo.vaultKv.isMarked';
/** Whether what stands at a path of ours may be overwritten, though nothing says that it is what we wrote. */
const IS_EDITABLE = 'isEditable';

/** The content is never a field: what is compared is whose SecretID stands there, under which keys. */
export const vaultKvRules: Readonly<Record<string, FieldRule>> = {
  [SECRET]: { compare: 'exact' },
  [MARKED]: { compare: 'exact', untold: true },
};

/** @param accessorId undefined while the token does not exist yet. */
export function vaultKvFields(accessorId: string | undefined, keys: Keys): DesiredFields {
  const described = describedToken(accessorId ?? 'the new token', keys);
  return { [SECRET]: accessorId === undefined ? new Deferred(described) : described, [MARKED]: true };
}

/** Whether it is, or was before somebody edited it, what the inventory has. */
export function isKvOurs(found: Live, owned: Owned): boolean {
  return found.id === owned.id || found.facts?.[IS_EDITABLE] === true;
}

/**
 * A secret of a KV engine of Vault, of version 1 or 2, that holds a token. Its key's name is the path, mount included. Its
 * identifier stands for who wrote it: by the mark in version 2, and by whose SecretID it holds in both.
 */
export const vaultKvObject: ObjectType = {
  name: 'vault-kv-secret',
  connection: 'VaultServer',
  after: ['acl-token', 'vault-namespace'],
  rules: vaultKvRules,
  late: true,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    const owned = new Map(request.owned.map((o) => [o.key.name, o]));
    const desired = new Map(request.desired.map((d) => [d.key.name, d]));
    return readEach(request, async (path) => {
      const looked = await lookAt(api, path, request.cached(path), signal).catch((error: unknown) => {
        // What nobody wants any more went with its mount.
        if (!desired.has(path) && error instanceof TargetError && error.status === NO_MOUNT) return undefined;
        throw error;
      });
      const { store, stored } = looked ?? {};
      return store && stored && liveSecret(io, store, stored, owned.get(path), desired.get(path), signal);
    });
  },

  foretell: (io, desired) => foretellHolder(io, desired, asItIs),
  create: write,
  update: write,

  async remove(io, { key, live }) {
    await (await kvAt(io.vault(key.connection), key.name)).remove(stateIn(live));
    return undefined;
  },

  remember: rememberHolder,
};

/** Which engine is mounted there is asked only where that was not known, or nothing is found by what was. */
async function lookAt(
  api: VaultApi,
  path: string,
  known: Live | undefined,
  signal: AbortSignal,
): Promise<{ readonly store: KvStore; readonly stored: StoredKv | undefined }> {
  const former = known && kvOf(api, path, engineIn(known));
  const found = await former?.read(signal);
  if (former !== undefined && found !== undefined) return { store: former, stored: found };
  const store = await kvAt(api, path, signal);
  return { store, stored: await store.read(signal) };
}

async function liveSecret(
  io: Io,
  { engine }: KvStore,
  { data, state, mark }: StoredKv,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<Live> {
  const holder = data && (await findKeyed(io, contentUnder(data), owned, desired, signal));
  const owner = ownerIn(desired?.detail) ?? ownerIn(owned?.detail);
  const isMarked = owner !== undefined && mark === owner;
  const isEditable = engine.version === 1 && data !== undefined && isTokenOnly(data, desired, owned);
  return {
    ...(owner !== undefined && (isMarked || holder !== undefined) && { id: owner }),
    fields: {
      [SECRET]: data === undefined ? 'nothing' : describedItems(data, holder),
      [MARKED]: isMarked || engine.version === 1,
    },
    facts: { ...itemFacts(holder), [IS_EDITABLE]: isEditable, ...engineFacts(engine), hash: state },
  };
}

async function write(io: Io, desired: SettledDesired, before?: Live): Promise<Live> {
  const store = await kvAt(io.vault(desired.key.connection), desired.key.name);
  const isRight = before?.fields[SECRET] === desired.fields[SECRET];
  const facts = isRight ? before?.facts : await writeToken(io, store, desired, before);
  const owner = ownerIn(desired.detail) ?? '';
  if (before?.fields[MARKED] !== true) await store.mark(owner);
  return { id: owner, fields: desired.fields, facts: { ...facts, ...engineFacts(store.engine) } };
}

async function writeToken(io: Io, store: KvStore, desired: SettledDesired, before: Live | undefined): Promise<Fields> {
  const { accessorId, secretId } = await secretToWrite(io, desired);
  const keys = keysIn(desired.detail?.['keys']) ?? DEFAULT_KEYS;
  const hash = await store.write(itemsOf({ accessorId, secretId }, keys), before && stateIn(before));
  return { ...itemFacts({ accessorId, digest: digest(accessorId, secretId), keys }), [IS_EDITABLE]: true, hash };
}

function stateIn({ facts }: Live): string {
  return stringIn(facts, 'hash');
}

function engineFacts({ version, mount }: KvEngine): Fields {
  return { version, mount };
}

function engineIn({ facts }: Live): KvEngine {
  return { version: facts?.['version'] === 2 ? 2 : 1, mount: stringIn(facts, 'mount') };
}
