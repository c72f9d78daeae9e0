import { fingerprint } from '../../plan/diff.ts';
import type { Live, Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { markedName, markerOf } from './marker.ts';
import { tokenFieldRules } from './token.ts';

/** A live token of a resource. */
export interface Candidate {
  readonly live: Live;
  /** The name that it was given; somebody may have renamed it since. */
  readonly name: string;
}

/** Which live token stands for a resource now, and under which marked name it stands or shall stand. */
export type Match = {
  readonly name: string;
  /** The name that the next one would get. */
  readonly next: string;
  /** Tokens of the resource that the inventory does not know and that another one stands for from now on. */
  readonly taken: readonly Live[];
  /** All of its live tokens but that one, newest first. */
  readonly others: readonly Candidate[];
} & (
  | { readonly is: 'current'; readonly live: Live }
  | { readonly is: 'replaced'; readonly old: Candidate }
  | { readonly is: 'absent' }
  | { readonly is: 'conflict'; readonly live: Live }
);

interface Numbered extends Candidate {
  readonly sequence: number;
}

/**
 * Finds the token of a resource.
 * @param wanted the fields that it shall have, but for the name.
 * @param marked the live tokens that carry the resource's marker.
 * @param tokenOf the live token of an accessor ID.
 * @param owned what the inventory holds for the resource.
 */
export function matchToken(
  owner: string,
  baseName: string,
  wanted: Fields,
  marked: readonly Live[],
  tokenOf: (accessorId: string) => Live | undefined,
  owned: readonly Owned[],
): Match {
  const nameOf = (sequence: number): string => markedName(baseName, { owner, sequence });
  const recorded = latest(owned);
  const current = recorded?.owned.id === undefined ? undefined : tokenOf(recorded.owned.id);
  const strangers = unrecorded(marked, owned);
  const highest = Math.max(0, recorded?.sequence ?? 0, ...strangers.map((c) => c.sequence));
  const ours = strangers.filter((c) => isIntended(c, owned) || equals(c.live, wanted));
  const takenBelow = (sequence: number): Live[] =>
    ours.filter((c) => c.sequence < sequence && !isIntended(c, owned)).map((c) => c.live);
  const all = newestFirst([...known(owned, tokenOf), ...ours]);
  const named = (name: string): { name: string; next: string; others: Candidate[] } => ({
    name,
    next: nameOf(highest + 1),
    others: all.filter((c) => c.name !== name),
  });

  const standing =
    recorded !== undefined && current !== undefined
      ? { live: current, sequence: recorded.sequence, name: recorded.owned.key.name }
      : ours[0];
  if (standing !== undefined) {
    const successors = ours.filter((c) => c.sequence > standing.sequence);
    // What we were about to make shall be the newest one; what only looks like it is taken where nothing better is there.
    const intended = successors.find((c) => isIntended(c, owned));
    const fit = [intended, standing, successors[0]].find((c) => c !== undefined && !needsReplacement(c.live, wanted));
    const sequence = fit?.sequence ?? highest + 1;
    const rest = { ...named(nameOf(sequence)), taken: takenBelow(sequence) };
    return fit === undefined ? { is: 'replaced', old: standing, ...rest } : { is: 'current', live: fit.live, ...rest };
  }
  const stranger = strangers[0];
  if (stranger !== undefined)
    return { is: 'conflict', ...named(nameOf(stranger.sequence)), live: stranger.live, taken: [] };
  return { is: 'absent', ...named(nameOf(recorded?.sequence ?? 1)), taken: [] };
}

/** The live tokens that the inventory knows by their accessor IDs. */
function known(owned: readonly Owned[], tokenOf: (accessorId: string) => Live | undefined): Numbered[] {
  return owned.flatMap(({ id, key: { name } }) => {
    const live = id === undefined ? undefined : tokenOf(id);
    return live === undefined ? [] : [{ live, name, sequence: markerOf(name)?.sequence ?? 0 }];
  });
}

function newestFirst(candidates: readonly Numbered[]): Numbered[] {
  return [...candidates].sort((a, b) => b.sequence - a.sequence);
}

function latest(owned: readonly Owned[]): { owned: Owned; sequence: number } | undefined {
  const entries = owned
    .map((o) => ({ owned: o, sequence: markerOf(o.key.name)?.sequence ?? 0 }))
    .sort((a, b) => b.sequence - a.sequence);
  return entries.find((e) => e.owned.id !== undefined) ?? entries[0];
}

/** Tokens that carry the resource's marker and that the inventory doesn't name, newest first. */
function unrecorded(marked: readonly Live[], owned: readonly Owned[]): Numbered[] {
  const recorded = new Set(owned.map((o) => o.id));
  return newestFirst(
    marked
      .filter((live) => !recorded.has(live.id))
      .map((live) => ({ live, name: stringIn(live.fields, 'name') }))
      .map((c) => ({ ...c, sequence: markerOf(c.name)?.sequence ?? 0 })),
  );
}

/** Whether a create of ours was about to make it when we were interrupted. */
function isIntended(candidate: Candidate, owned: readonly Owned[]): boolean {
  return owned.some(
    (o) =>
      o.intent !== undefined &&
      o.key.name === candidate.live.fields['name'] &&
      o.intent === fingerprint(candidate.live.fields, tokenFieldRules),
  );
}

/** Others can imitate a marker: a token is only taken if it may do just what is declared. How long it lives is no matter. */
function equals(live: Live, wanted: Fields): boolean {
  const { name: _name, expirationTtl: _ttl, ...rights } = tokenFieldRules;
  return fingerprint(live.fields, rights) === fingerprint(wanted, rights);
}

function needsReplacement(live: Live, wanted: Fields): boolean {
  return live.fields['global'] !== wanted['global'] || live.fields['expirationTtl'] !== wanted['expirationTtl'];
}
