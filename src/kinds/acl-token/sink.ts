import { isAbsolute, join } from 'node:path';
import type { PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import {
  isUnreadable,
  keyText,
  readable,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type Unreadable,
} from '../../plan/step.ts';
import type { DesiredFields, Fields } from '../../plan/value.ts';
import { holderOf } from './held-secret.ts';
import {
  keysIn,
  kubernetesSecretFields,
  kubernetesSecretObject,
  kubernetesSecretRules,
  sameKeys,
  type Keys,
} from './kubernetes-secret.ts';
import type { AclTokenSpec } from './schema.ts';
import { handover, heldSince } from '../nomad-token/handover.ts';
import type { Base } from '../nomad-token/owned-tokens.ts';
import { secretFileFields, secretFileObject, secretFileRules } from './secret-file.ts';

type Token = Resource<AclTokenSpec>;

/** What is particular to a sink. */
interface Sink {
  readonly key: ObjectKey;
  readonly rules: Desired['rules'];
  /** @param accessorId of the token whose secret it shall hold; undefined while that does not exist yet. */
  fields(accessorId: string | undefined): DesiredFields;
  /** What the inventory shall remember beside whose secret it is. */
  detail(found: Live | undefined, owned: Owned | undefined): Fields;
  /** Whether what stands there now is what the inventory has. */
  isOurs(found: Live, owned: Owned): boolean;
  /** Whether the secret alone makes it the same: the rest is put right. */
  readonly isSecretEnough: boolean;
  /** What a user can do where something else is there. */
  readonly advice: string;
}

/** Where the secret goes: it holds that of whichever token stands for the resource. */
export function sinkOf(resource: Token, context: PlanContext, token: Desired, base: Base): Desired[] {
  const sink = declaredSink(resource, context);
  return sink === undefined ? [] : [desiredSink(sink, resource, context, token, base)];
}

/** Since when readers find a token's secret in the sink; undefined where they look it up on Nomad. */
export function heldInSink(
  resource: Token,
  context: PlanContext,
): ((accessorId: string | undefined) => number | undefined) | undefined {
  const sink = declaredSink(resource, context);
  if (sink === undefined) return undefined;
  const found = readable(context.live(sink.key));
  const owned = ownedAt(sink.key, resource, context);
  return (accessorId) => heldSince(accessorId, found, owned, context.now);
}

function declaredSink(resource: Token, context: PlanContext): Sink | undefined {
  const { file, kubernetesSecret } = resource.spec.writeSecretTo;
  if (file !== undefined) return fileSink(resource, context, file.path);
  return kubernetesSecret && secretSink(resource, kubernetesSecret.name, kubernetesSecret.keys);
}

function ownedAt(key: ObjectKey, resource: Token, context: PlanContext): Owned | undefined {
  return context.ownedBy(resource).find((o) => keyText(o.key) === keyText(key));
}

function fileSink(resource: Token, context: PlanContext, declared: string): Sink {
  const name = context.pathName(isAbsolute(declared) ? declared : join(resource.folder, declared));
  return {
    key: { connection: 'local', type: secretFileObject.name, name },
    rules: secretFileRules,
    fields: secretFileFields,
    detail: () => ({}),
    isOurs: () => true,
    isSecretEnough: false,
    advice: 'move it away, or name another path',
  };
}

function secretSink({ metadata, spec }: Token, name: string, keys: Keys): Sink {
  return {
    key: { connection: 'local', type: kubernetesSecretObject.name, name: `${metadata.namespace}/${name}` },
    rules: kubernetesSecretRules,
    fields: (accessorId) => kubernetesSecretFields(accessorId, keys, spec.deletionPolicy),
    detail: (found, owned) => ({
      keys: { ...keys },
      ...formerKeys(keys, found, owned),
      ...(metadata.uid !== undefined && { uid: metadata.uid }),
    }),
    isOurs: (found, owned) => found.id === owned.id,
    isSecretEnough: true,
    advice: 'delete it, or name another Secret',
  };
}

/** The keys that it was written under before, as long as it does not stand under those that are declared now. */
function formerKeys(keys: Keys, found: Live | undefined, owned: Owned | undefined): Fields {
  const standing = keysIn(found?.facts?.['keys']);
  if (standing !== undefined && sameKeys(standing, keys)) return {};
  const former = [owned?.detail?.['keys'], owned?.detail?.['formerKeys']]
    .map(keysIn)
    .find((known) => known !== undefined && !sameKeys(known, keys));
  return former === undefined ? {} : { formerKeys: { ...former } };
}

function desiredSink(sink: Sink, resource: Token, context: PlanContext, token: Desired, base: Base): Desired {
  const { key } = sink;
  const accessorId = readable(token.live)?.id;
  const live = context.live(key);
  const found = readable(live);
  const owned = ownedAt(key, resource, context);
  const formerId = (found && holderOf(found)) ?? token.replaces?.live.id;
  const { detail, ...stamp } = resource.spec.rotation ? handover(heldSince(accessorId, found, owned, context.now)) : {};
  const verdict = token.verdict?.reason === 'Expired' ? token.verdict : unreadable(token.live);
  const isOurs = found !== undefined && owned?.state === 'owned' && sink.isOurs(found, owned);
  return {
    ...base,
    key,
    fields: sink.fields(accessorId),
    rules: sink.rules,
    live,
    dependsOn: [token.key],
    detail: {
      nomadRef: resource.spec.nomadRef,
      accessorId: accessorId ?? null,
      ...(formerId !== undefined && formerId !== accessorId && { formerId }),
      ...sink.detail(found, owned),
      ...detail,
    },
    ...stamp,
    ...(found && !isOurs && unowned(sink, resource, holderOf(found), accessorId)),
    ...(verdict && { verdict }),
  };
}

/**
 * What stands there and is not ours. Whatever the adoption policy says, no sink overwrites, or later deletes, what it did not
 * write; but a secret of a token of ours, or of a former one, is nobody else's.
 */
function unowned(
  { key, isSecretEnough, advice }: Sink,
  resource: Token,
  holder: string | undefined,
  accessorId: string | undefined,
): Pick<Desired, 'adoptionPolicy' | 'verdict'> {
  const { adoptionPolicy } = resource.spec;
  if (holder !== undefined) {
    const isTaken = (isSecretEnough || holder !== accessorId) && adoptionPolicy !== 'Never';
    return { adoptionPolicy: isTaken ? 'Always' : adoptionPolicy };
  }
  const message = `${key.name} exists already and does not hold this token's secret: no adoptionPolicy overwrites it; ${advice}`;
  return {
    adoptionPolicy: adoptionPolicy === 'Always' ? 'IfIdentical' : adoptionPolicy,
    verdict: { action: 'refuse', reason: 'Conflict', message },
  };
}

/** Of which token a sink shall hold the secret is not known while the tokens can't be read. */
function unreadable(live: Live | Unreadable | undefined): Desired['verdict'] {
  return isUnreadable(live) ? { action: 'refuse', reason: live.reason, message: live.error } : undefined;
}
