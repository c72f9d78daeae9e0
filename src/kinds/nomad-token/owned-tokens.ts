import type { PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { readable, type Desired, type Live, type ObjectKey, type Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import type { Declared } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { markedName, markerOf, ownerOf } from '../marked/marker.ts';
import { matchMarked, type Candidate, type Match } from '../marked/match.ts';
import { imitated } from '../marked/verdicts.ts';
import { expiresAt, instant, MADE_AT, madeAt, ownedOf, succession, type Rotation } from './rotation.ts';
import { aclTokenObject, markedToken, tokenFieldRules } from './token.ts';

/** What the tokens of a resource shall be. */
export interface TokenDeclaration {
  /** NomadCluster that issues them. */
  readonly connection: string;
  /** Their name on Nomad, without its marker; and the field that says it: `spec.name`. */
  readonly name: string;
  readonly nameField: string;
  /** All of `tokenFieldRules` but the name. */
  readonly wanted: Fields;
  /** What must stand before a token is made: its policies. */
  readonly dependsOn: readonly ObjectKey[];
  readonly base: Declared;
  /** Without it there is one token, and none is made in the place of one that has expired. */
  readonly rotation?: Rotation | undefined;
  /** Since when readers find a token's secret in its place, by `heldSince`. Without it they find it on Nomad. */
  readonly heldSince?: ((accessorId: string | undefined) => number | undefined) | undefined;
}

type Moment = Pick<PlanContext, 'now'>;

/**
 * The tokens that a resource of any kind makes and owns: the one that stands for it comes first, then those that live on beside
 * it for a while, or are ours and go next.
 *
 * Guarantees: a token of ours is found again by its marker after a crash or a lost inventory, never made twice, and none is
 * left behind; what only looks like ours is a Conflict. With a rotation, a successor is made once the token is as old as
 * the interval, by what Nomad and the inventory say of its making, or has expired; the former one is deleted when
 * readers have found the successor's secret for as long as the overlap, and no further one is made before that. Both get
 * what changes in the declaration. A token that somebody deleted is made anew. `dueAt` says when time alone changes any of it.
 *
 * Whoever hands the secret over makes the place an object that depends on the first one, which is `madeFor` it: the place gets
 * the secret of the token whose accessor ID is `live.id` (known after apply while there is no `live`), after the one of
 * `replaces`. With a rotation it remembers the moment by `handover`.
 */
export function ownedTokens(
  resource: Resource,
  context: PlanContext,
  declaration: TokenDeclaration,
): [Desired, ...Desired[]] {
  const { connection, name, rotation } = declaration;
  const type = aclTokenObject.name;
  const owner = ownerOf(context.owner, resource);
  const owned = context.ownedBy(resource).filter((o) => o.key.type === type);
  const tokenOf = (accessorId: string): Live | undefined =>
    readable(context.live({ connection, type, name: accessorId }));
  // Where Nomad takes accessor IDs that the caller has chosen (2.0.3 and later), the intent could name the one of a token that
  // is about to be made, and that would find it again instead of its marker.
  const marked = context.liveBy(connection, type, owner);
  const match = matchMarked(markedToken, owner, name, declaration.wanted, marked, tokenOf, owned);
  const key = { connection, type, name: match.name };
  const sameName = (made: ObjectKey): boolean => {
    const marker = markerOf(made.name);
    return marker !== undefined && made.name === markedName(name, marker);
  };
  const refusal = renamed(resource, context, key, declaration.nameField, sameName) ?? imitated(markedToken, match);
  const tokens =
    rotation === undefined
      ? single(match, declaration, owned, context)
      : rotating(match, { ...declaration, rotation }, owned, context);
  const failure = context.failure(connection, type);
  const [token, ...others] = tokens.map((desired) => (failure === undefined ? desired : { ...desired, live: failure }));
  if (token === undefined) throw new Error('a resource without a token');
  if (refusal !== undefined) return [{ ...token, ...refusal }];
  return [{ ...token, dependsOn: [...token.dependsOn, ...others.map((other) => other.key)] }, ...others];
}

function single(match: Match, declaration: TokenDeclaration, owned: readonly Owned[], { now }: Moment): Desired[] {
  const ends = expiry(match, declaration.wanted, owned);
  const token = {
    ...current(match, declaration),
    ...(ends !== undefined && ending(ends, now, owned, 'change expirationTtl, set rotation, or delete the resource')),
  };
  return [token, ...match.taken.map((live) => taken(live, declaration))];
}

/** A token that ends and has no successor: nothing is made in its place then. @param advice what the user can do. */
export function ending(
  ends: number,
  now: number,
  owned: readonly Owned[],
  advice: string,
): Pick<Desired, 'verdict' | 'keeps' | 'dueAt'> {
  if (ends > now) return { dueAt: ends };
  const message = `expired at ${instant(ends)}; an expired token is not made again: ${advice}`;
  return { verdict: { action: 'noop', reason: 'Expired', message }, keeps: owned.map((o) => o.key) };
}

/** When the token that stands for the resource ended or will end, if it was made with the declared life. */
function expiry(match: Match, wanted: Fields, owned: readonly Owned[]): number | undefined {
  const remembered = owned.find((o) => o.detail?.['expirationTtl'] === wanted['expirationTtl'])?.detail?.['expiresAt'];
  const ends =
    match.is === 'current' ? match.live.facts?.['expiresAt'] : match.is === 'absent' ? remembered : undefined;
  return typeof ends === 'number' ? ends : undefined;
}

type Rotating = TokenDeclaration & { readonly rotation: Rotation };

function rotating(found: Match, declaration: Rotating, owned: readonly Owned[], { now }: Moment): Desired[] {
  const { rotation, heldSince } = declaration;
  const detailOf = ({ live }: Pick<Candidate, 'live'>): Fields | undefined => ownedOf(owned, live)?.detail;
  const turn = {
    rotation,
    now,
    detailOf,
    heldSince: (live: Live) => (heldSince ? heldSince(live.id) : madeAt(live, detailOf({ live }), now)),
  };
  const { match, because, outgoing, over, dueAt } = succession(found, turn);
  const former = match.is === 'replaced' ? match.old : match.is === 'current' ? match.others[0] : undefined;
  const token = {
    ...current(match, declaration),
    ...(former && {
      replaces: {
        key: keyOf(former.name, declaration),
        live: former.live,
        ...(because !== undefined && { because }),
      },
    }),
    detail: { [MADE_AT]: match.is === 'current' ? madeAt(match.live, detailOf(match), now) : null },
    ...(match.is !== 'current' && { stamp: MADE_AT }),
    dueAt,
  };
  const kept = outgoing.map(({ candidate, until }) =>
    stays(candidate, until, declaration, { now, detail: detailOf(candidate) }),
  );
  // What the inventory knows goes when nothing declares it any more; the rest is taken first.
  const unknown = over.filter(({ name }) => !owned.some((o) => o.key.name === name));
  return [token, ...kept, ...unknown.map(({ live }) => taken(live, declaration))];
}

function keyOf(name: string, { connection }: TokenDeclaration): ObjectKey {
  return { connection, type: aclTokenObject.name, name };
}

function current(match: Match, declaration: TokenDeclaration): Desired {
  return {
    ...declaration.base,
    key: keyOf(match.name, declaration),
    fields: { ...declaration.wanted, name: match.name },
    rules: tokenFieldRules,
    live: 'live' in match ? match.live : undefined,
    dependsOn: declaration.dependsOn,
    ...(match.is === 'replaced' && {
      replaces: { key: keyOf(match.old.name, declaration), live: match.old.live },
    }),
  };
}

/** It has a successor, and gets what changes as long as somebody may still use it. */
function stays(
  { live, name }: Candidate,
  until: number | undefined,
  declaration: Rotating,
  { now, detail }: Moment & { readonly detail: Fields | undefined },
): Desired {
  const { overlap } = declaration.rotation;
  const { global = null, expirationTtl = null } = live.fields;
  const message =
    until === undefined
      ? `it is followed by another one, and stays until ${String(overlap / 1000)}s after that one's secret is in its place`
      : `it was followed by another one, and stays until ${instant(until)}`;
  return {
    ...declaration.base,
    key: keyOf(name, declaration),
    fields: { ...declaration.wanted, global, expirationTtl, name },
    rules: tokenFieldRules,
    live,
    dependsOn: declaration.dependsOn,
    stays: { message, ...(until !== undefined && { until }) },
    detail: { [MADE_AT]: madeAt(live, detail, now) },
    dueAt: until ?? Math.min(now + overlap, expiresAt(live, detail, now) ?? Infinity),
  };
}

/** Declared as it is, so that it is adopted; once the inventory has it, nothing declares it and it is deleted. */
function taken(live: Live, declaration: TokenDeclaration): Desired {
  return {
    ...declaration.base,
    key: keyOf(stringIn(live.fields, 'name'), declaration),
    fields: live.fields,
    rules: tokenFieldRules,
    live,
    dependsOn: [],
  };
}
