import type { Live, Owned } from '../../plan/step.ts';
import type { Fields } from '../../plan/value.ts';
import type { Candidate, Match } from '../marked/match.ts';

/** How the tokens of a resource follow one another; milliseconds. The interval is longer than the overlap. */
export interface Rotation {
  /** From the making of a token to that of its successor. */
  readonly interval: number;
  /** How long a token lives on once its successor's secret is where readers find it. */
  readonly overlap: number;
}

/** Under this name the inventory remembers when, by our clock, a token was made. */
export const MADE_AT = 'madeAt';

/**
 * When a token was made, by our clock: Nomad's may differ, and age is what counts. Where the inventory does not know it, it is
 * what Nomad says. What is still to come was told by a clock that was set back since: then the age counts from now, and that is
 * what the inventory shall remember. Milliseconds since the epoch.
 */
export function madeAt(live: Live, detail: Fields | undefined, now: number): number {
  const known = detail?.[MADE_AT];
  const told = [typeof known === 'number' ? known : Infinity, createdAt(live, now)];
  return told.find((at) => at <= now) ?? now;
}

function createdAt(live: Live, now: number): number {
  const created = live.facts?.['createdAt'];
  return typeof created === 'number' ? created : now;
}

/** When a token expires, by our clock; undefined: never. */
export function expiresAt(live: Live, detail: Fields | undefined, now: number): number | undefined {
  const expires = live.facts?.['expiresAt'];
  if (typeof expires !== 'number') return undefined;
  return expires + madeAt(live, detail, now) - createdAt(live, now);
}

/** What a token's turn is decided by. */
export interface Turn {
  readonly rotation: Rotation;
  readonly now: number;
  /** What the inventory remembers of a token. */
  readonly detailOf: (candidate: Pick<Candidate, 'live'>) => Fields | undefined;
  /** Since when readers find the secret of a token; undefined while they don't. */
  readonly heldSince: (live: Live) => number | undefined;
}

/** The tokens of a resource, and what time does to them. */
export interface Succession {
  readonly match: Match;
  /** Why the token of `match` takes the place of another one, where time is the reason. */
  readonly because?: string;
  /** Those that live on beside it, newest first; `until` is absent while readers do not find the secret of their successor. */
  readonly outgoing: readonly { readonly candidate: Candidate; readonly until?: number }[];
  /** Those whose time is over. */
  readonly over: readonly Candidate[];
  /** When time alone changes something of the token itself; milliseconds since the epoch. */
  readonly dueAt: number;
}

/**
 * Whose turn it is. A token has a successor once it is as old as the interval, or has expired; but as long as it has a
 * predecessor, or readers do not find its secret, only its expiry counts: there are never more than two that live.
 */
export function succession(found: Match, turn: Turn): Succession {
  const { rotation, now, heldSince } = turn;
  const ends = (candidate: Pick<Candidate, 'live'>): number =>
    expiresAt(candidate.live, turn.detailOf(candidate), now) ?? Infinity;
  if (found.is !== 'current') return { ...parted(found, undefined, turn, ends), dueAt: now + rotation.interval };
  const since = heldSince(found.live);
  const former = parted(found, since, turn, ends);
  const old = { live: found.live, name: found.name };
  const rotates = madeAt(found.live, turn.detailOf(old), now) + rotation.interval;
  const isFree = former.outgoing.length === 0 && since !== undefined;
  const because =
    ends(old) <= now
      ? `it expired at ${instant(ends(old))}`
      : isFree && rotates <= now
        ? `its interval was over at ${instant(rotates)}`
        : undefined;
  if (because === undefined) {
    // What is written now is looked at again; former tokens have a time of their own.
    const next = since === undefined ? Math.max(rotates, now + rotation.overlap) : isFree ? rotates : Infinity;
    return { ...former, dueAt: Math.min(ends(old), next) };
  }
  const { next, others, taken } = found;
  const match: Match = { is: 'replaced', name: next, next, old, taken, others: [old, ...others] };
  const isOver = ends(old) <= now;
  return {
    match,
    because,
    outgoing: isOver ? former.outgoing : [{ candidate: old }, ...former.outgoing],
    over: isOver ? [old, ...former.over] : former.over,
    dueAt: now + rotation.interval,
  };
}

/** @param since readers find the secret of the token. */
function parted(
  match: Match,
  since: number | undefined,
  { rotation, now }: Turn,
  ends: (candidate: Candidate) => number,
): Pick<Succession, 'match' | 'outgoing' | 'over'> {
  const until = (candidate: Candidate): number =>
    Math.min(ends(candidate), since === undefined ? Infinity : since + rotation.overlap);
  return {
    match,
    outgoing: match.others
      .filter((candidate) => until(candidate) > now)
      .map((candidate) => ({ candidate, ...(since !== undefined && { until: until(candidate) }) })),
    over: match.others.filter((candidate) => until(candidate) <= now),
  };
}

export function instant(ms: number): string {
  return new Date(ms).toISOString();
}

/** What the inventory has of a live token. */
export function ownedOf(owned: readonly Owned[], live: Live): Owned | undefined {
  return owned.find((o) => o.id !== undefined && o.id === live.id);
}
