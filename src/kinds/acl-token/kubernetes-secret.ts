import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import { digestOf, type Io, type StoredSecret } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { DeletionPolicy, Desired, Live, ObjectKey, Owned } from '../../plan/step.ts';
import { Deferred, stringIn, type DesiredFields } from '../../plan/value.ts';
import { digest, foretellHolder, holderFacts, rememberHolder, secretToWrite, type Content } from './held-secret.ts';
import { DEFAULT_KEYS, describedToken, findKeyed, keysIn, type KeyedHolder, type Keys } from './token-keys.ts';

/** Our part of a Secret is one field: whose SecretID it holds, under which keys, and whether it is marked as ours. */
const SECRET = 'writeSecretTo.kubernetesSecret';

export const kubernetesSecretRules: Readonly<Record<string, FieldRule>> = { [SECRET]: { compare: 'exact' } };

/** What is told of a Secret. */
interface Description {
  /** undefined: it holds something else. */
  readonly token: string | undefined;
  readonly keys: Keys | undefined;
  readonly isLabelled: boolean;
  /** Whether the AclToken owns it, so that it goes with that. */
  readonly isOwned: boolean;
}

function described({ token, keys, isLabelled, isOwned }: Description): string {
  const content = token === undefined || keys === undefined ? 'other content' : describedToken(token, keys);
  return `${content}, ${isLabelled ? 'labelled' : 'not labelled'}, ${isOwned ? 'owned by the AclToken' : 'without owner'}`;
}

/** What shall outlive the AclToken must not be owned by it: Kubernetes would delete it. */
function isOwnedUnder(policy: DeletionPolicy): boolean {
  return policy === 'Delete';
}

/** @param accessorId undefined while the token does not exist yet. */
export function kubernetesSecretFields(
  accessorId: string | undefined,
  keys: Keys,
  deletionPolicy: DeletionPolicy,
): DesiredFields {
  const wanted = { keys, isLabelled: true, isOwned: isOwnedUnder(deletionPolicy) };
  return {
    [SECRET]:
      accessorId === undefined
        ? new Deferred(described({ ...wanted, token: 'the new token' }))
        : described({ ...wanted, token: accessorId }),
  };
}

/**
 * A Kubernetes Secret that holds a token. Its key's name is `namespace/name`, its identifier the Secret's uid: one that was
 * deleted and made again by somebody else is not ours.
 */
export const kubernetesSecretObject: ObjectType = {
  name: 'kubernetes-secret',
  connection: 'local',
  after: ['acl-token'],
  rules: kubernetesSecretRules,
  late: true,

  async read(io, request, signal) {
    const owned = new Map(request.owned.map((o) => [o.key.name, o]));
    const desired = new Map(request.desired.map((d) => [d.key.name, d]));
    const found = new Map<string, Live>();
    for (const name of new Set([...owned.keys(), ...desired.keys()])) {
      const live = await readSecret(io, name, owned.get(name), desired.get(name), signal);
      if (live !== undefined) found.set(name, live);
    }
    return { objects: found };
  },

  foretell: (io, desired) => foretellHolder(io, desired, digestOf),
  create: write,
  update: write,

  async remove(io, { key, live }) {
    const { namespace, name } = placeOf(key);
    await io.kubernetesSecrets.remove(namespace, name, live.id ?? '');
    return undefined;
  },

  remember: rememberHolder,
};

function placeOf({ name }: Pick<ObjectKey, 'name'>): { namespace: string; name: string } {
  const slash = name.indexOf('/');
  return { namespace: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** Who a Secret is written for, as the declaration or the inventory knows it. */
interface WrittenFor {
  readonly name: string;
  readonly uid: string | undefined;
}

function writtenFor({ resource, detail }: Pick<Owned, 'resource' | 'detail'>): WrittenFor {
  return { name: resource.name, uid: stringIn(detail, 'uid') || undefined };
}

async function readSecret(
  io: Io,
  at: string,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<Live | undefined> {
  const { namespace, name } = placeOf({ name: at });
  const stored = await io.kubernetesSecrets.read(namespace, name, signal);
  const known = desired ?? owned;
  if (stored === undefined || known === undefined) return undefined;
  return live(stored, writtenFor(known), await findKeyed(io, contentUnder(stored), owned, desired, signal));
}

function contentUnder({ digests }: StoredSecret): (keys: Keys) => Content {
  return (keys) => ({
    of: (accessorId) => (digests[keys.accessorId] === digestOf(accessorId) ? digests[keys.secretId] : undefined),
    form: digestOf,
  });
}

async function write(io: Io, desired: SettledDesired, before?: Live): Promise<Live> {
  const { accessorId, secretId } = await secretToWrite(io, desired);
  const keys = keysIn(desired.detail?.['keys']) ?? DEFAULT_KEYS;
  const former = keysIn(desired.detail?.['formerKeys']);
  const of = writtenFor(desired);
  const stored = await io.kubernetesSecrets.write(
    {
      ...placeOf(desired.key),
      data: {
        ...(former && { [former.accessorId]: null, [former.secretId]: null }),
        [keys.accessorId]: accessorId,
        [keys.secretId]: secretId,
      },
      writtenFor: of.name,
      owner: isOwnedUnder(desired.deletionPolicy) ? of.uid : undefined,
    },
    before && { resourceVersion: stringIn(before.facts, 'hash') },
  );
  return live(stored, of, { accessorId, digest: digest(accessorId, digestOf(secretId)), keys });
}

/** @param holder undefined: it holds something else than a token of ours. */
function live(stored: StoredSecret, { name, uid }: WrittenFor, holder: KeyedHolder | undefined): Live {
  const isLabelled = stored.writtenFor === name;
  const isOwned = uid !== undefined && stored.owners.includes(uid);
  return {
    id: stored.uid,
    fields: { [SECRET]: described({ token: holder?.accessorId, keys: holder?.keys, isLabelled, isOwned }) },
    facts: { ...holderFacts(holder), keys: holder ? { ...holder.keys } : null, hash: stored.resourceVersion },
  };
}
