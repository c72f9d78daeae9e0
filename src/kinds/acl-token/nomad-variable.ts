import { TargetError } from '../../contract/errors.ts';
import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io } from '../../contract/target.ts';
import type { Variable, VariablePlace, WriteOutcome } from '../../contract/variables.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Desired, Live, ObjectKey, Owned } from '../../plan/step.ts';
import { Deferred, stringIn, type DesiredFields } from '../../plan/value.ts';
import { readEach } from '../vault-object/read-each.ts';
import { digest, foretellHolder, rememberHolder, secretToWrite } from './held-secret.ts';
import { asItIs, contentUnder, describedItems, itemFacts, itemsOf } from './token-items.ts';
import { DEFAULT_KEYS, describedToken, findKeyed, keysIn, type KeyedHolder, type Keys } from './token-keys.ts';

const VARIABLE = 'writeSecretTo.nomadVariable';

/** The content is never a field: what is compared is whose SecretID the variable holds, under which keys. */
export const nomadVariableRules: Readonly<Record<string, FieldRule>> = { [VARIABLE]: { compare: 'exact' } };

/** @param accessorId undefined while the token does not exist yet. */
export function nomadVariableFields(accessorId: string | undefined, keys: Keys): DesiredFields {
  const described = describedToken(accessorId ?? 'the new token', keys);
  return { [VARIABLE]: accessorId === undefined ? new Deferred(described) : described };
}

/**
 * A Nomad Variable that holds a token. Its key's name is `namespace/path`, its identifier the index that it was made at: one
 * that was deleted and made again by somebody else is not ours. Nomad's events do not tell of variables, so it is read again
 * from time to time; every write and the deletion name the index that was read.
 */
export const nomadVariableObject: ObjectType = {
  name: 'nomad-variable',
  connection: 'NomadCluster',
  after: ['acl-token'],
  rules: nomadVariableRules,
  late: true,

  async read(io, request, signal) {
    const api = io.variables(request.connection);
    const owned = new Map(request.owned.map((o) => [o.key.name, o]));
    const desired = new Map(request.desired.map((d) => [d.key.name, d]));
    return readEach(request, async (name) => {
      const variable = await api.read(placeOf({ name }), undefined, signal);
      return variable && liveVariable(io, variable, owned.get(name), desired.get(name), signal);
    });
  },

  foretell: (io, desired) => foretellHolder(io, desired, asItIs),

  async create(io, desired) {
    await requireNamespace(io, desired.key);
    return write(io, desired);
  },
  update: write,

  async remove(io, { key, live }) {
    const outcome = await io.variables(key.connection).remove(placeOf(key), indexIn(live));
    if (!outcome.written && !(await isGone(io, key, outcome))) throw await refusal(io, key, outcome, 'dependency');
    return undefined;
  },

  remember: rememberHolder,
};

function placeOf({ name }: Pick<ObjectKey, 'name'>): VariablePlace {
  const slash = name.indexOf('/');
  return { namespace: name.slice(0, slash), path: name.slice(slash + 1) };
}

async function liveVariable(
  io: Io,
  variable: Variable,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<Live> {
  return live(variable, await findKeyed(io, contentUnder(variable.items), owned, desired, signal));
}

function live(
  { items, createIndex, modifyIndex }: Pick<Variable, 'items' | 'createIndex' | 'modifyIndex'>,
  holder: KeyedHolder | undefined,
): Live {
  return {
    id: String(createIndex),
    fields: { [VARIABLE]: describedItems(items, holder) },
    facts: { ...itemFacts(holder), hash: String(modifyIndex) },
  };
}

async function write(io: Io, desired: SettledDesired, before?: Live): Promise<Live> {
  const { key, detail } = desired;
  const { accessorId, secretId } = await secretToWrite(io, desired);
  const keys = keysIn(detail?.['keys']) ?? DEFAULT_KEYS;
  const items = itemsOf({ accessorId, secretId }, keys);
  const outcome = await io.variables(key.connection).write(placeOf(key), items, before ? indexIn(before) : 0);
  if (!outcome.written) throw await refusal(io, key, outcome, 'transient');
  return live({ items, ...outcome }, { accessorId, digest: digest(accessorId, secretId), keys });
}

function indexIn({ facts }: Live): number {
  return Number(stringIn(facts, 'hash'));
}

type Refused = Extract<WriteOutcome, { written: false }>;

/** Of a variable that is locked, as of none, a refusal does not show the content. */
async function isGone(io: Io, key: ObjectKey, { current }: Refused): Promise<boolean> {
  return current === undefined && (await io.variables(key.connection).read(placeOf(key))) === undefined;
}

/** @param otherwise what the error is where the variable is not locked but changed. */
async function refusal(
  io: Io,
  key: ObjectKey,
  { current }: Refused,
  otherwise: 'transient' | 'dependency',
): Promise<TargetError> {
  const isLocked = (current ?? (await io.variables(key.connection).read(placeOf(key))))?.lockId !== undefined;
  const why = isLocked
    ? 'is locked by somebody: it is written once its lock is free'
    : 'is not as it was read: somebody else has written there';
  return new TargetError(`the Nomad variable ${key.name} ${why}`, {
    class: isLocked ? 'transient' : otherwise,
    status: 409,
  });
}

/** To a management token Nomad writes a variable into a namespace that does not exist, where nobody finds it. */
async function requireNamespace(io: Io, key: ObjectKey): Promise<void> {
  const { namespace } = placeOf(key);
  if ((await io.nomad(key.connection).get(`/v1/namespace/${namespace}`)) !== undefined) return;
  throw new TargetError(`Nomad has no namespace ${namespace}: make it first, or name another one`, {
    class: 'dependency',
  });
}
