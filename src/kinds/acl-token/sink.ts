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
import { handover, heldSince } from '../nomad-token/handover.ts';
import { declaredBy } from '../declared-by.ts';
import { declaredSink, type Sink } from './declared-sink.ts';
import { holderOf } from './held-secret.ts';
import type { AclTokenSpec } from './schema.ts';

type Token = Resource<AclTokenSpec>;

/** Where the secret goes: it holds that of whichever token stands for the resource. */
export function sinkOf(resource: Token, context: PlanContext, token: Desired): Desired | undefined {
  const sink = declaredSink(resource, context);
  return sink && desiredSink(sink, resource, context, token);
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

function ownedAt(key: ObjectKey, resource: Token, context: PlanContext): Owned | undefined {
  return context.ownedBy(resource).find((o) => keyText(o.key) === keyText(key));
}

function desiredSink(sink: Sink, resource: Token, context: PlanContext, token: Desired): Desired {
  const { key } = sink;
  const accessorId = readable(token.live)?.id;
  const live = context.live(key);
  const found = readable(live);
  const owned = ownedAt(key, resource, context);
  const formerId = (found && holderOf(found)) ?? token.replaces?.live.id;
  const { detail, ...stamp } = resource.spec.rotation ? handover(heldSince(accessorId, found, owned, context.now)) : {};
  const verdict = reserved(sink) ?? (token.verdict?.reason === 'Expired' ? token.verdict : unreadable(token.live));
  const isOurs = found !== undefined && owned?.state === 'owned' && sink.isOurs(found, owned);
  return {
    ...declaredBy(resource),
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

function reserved(sink: Sink): Desired['verdict'] {
  return sink.reserved === undefined ? undefined : { action: 'refuse', reason: 'Protected', message: sink.reserved };
}

/** Of which token a sink shall hold the secret is not known while the tokens can't be read. */
function unreadable(live: Live | Unreadable | undefined): Desired['verdict'] {
  return isUnreadable(live) ? { action: 'refuse', reason: live.reason, message: live.error } : undefined;
}
