import { fingerprint, type FieldRule } from '../../plan/diff.ts';
import { isUnreadable, type Live, type Owned, type Unreadable } from '../../plan/step.ts';
import type { Fields } from '../../plan/value.ts';
import { markedName, markerOf } from './marker.ts';

/** A type of object that has no name of its own on Nomad, or none that is unique: a marker in one of its fields tells whose it is. */
export interface MarkedType {
  /** What people call it. */
  readonly noun: string;
  /** The field that has the marker at its end. */
  readonly markedField: string;
  readonly rules: Readonly<Record<string, FieldRule>>;
  /** The name in its key, which has the marker at its end, where nobody has taken that away. */
  readonly keyName: (live: Live) => string;
  /** Others can imitate a marker: what is not recorded is only taken if it is equal in these, what it may do. */
  readonly rights: Readonly<Record<string, FieldRule>>;
  /** Whether the change can't be made in place. */
  readonly needsReplacement: (live: Live, wanted: Fields) => boolean;
}

/** A live object of a resource. */
export interface Candidate {
  readonly live: Live;
  /** The name in its key as it was given; somebody may have taken the marker away since. */
  readonly name: string;
}

/** Which live object stands for a resource now, and under which marked name it stands or shall stand. */
export type Match = {
  readonly name: string;
  /** The name that the next one would get. */
  readonly next: string;
  /** Objects of the resource that the inventory does not know and that another one stands for from now on. */
  readonly taken: readonly Live[];
  /** All of its live objects but that one, newest first. */
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
 * Finds the object of a resource.
 * @param wanted the fields that it shall have, but for the marked one.
 * @param marked the live objects that carry the resource's marker.
 * @param liveOf the live object of an ID.
 * @param owned what the inventory holds for the resource, of this type.
 */
export function matchMarked(
  type: MarkedType,
  owner: string,
  baseName: string,
  wanted: Fields,
  marked: readonly Live[],
  liveOf: (id: string) => Live | undefined,
  owned: readonly Owned[],
): Match {
  const nameOf = (sequence: number): string => markedName(baseName, { owner, sequence });
  const recorded = latest(owned);
  const current = recorded?.owned.id === undefined ? undefined : liveOf(recorded.owned.id);
  const strangers = unrecorded(type, marked, owned);
  const highest = Math.max(0, recorded?.sequence ?? 0, ...strangers.map((c) => c.sequence));
  const ours = strangers.filter((c) => isIntended(type, c, owned) || equals(type, c.live, wanted));
  const takenBelow = (sequence: number): Live[] =>
    ours.filter((c) => c.sequence < sequence && !isIntended(type, c, owned)).map((c) => c.live);
  const all = newestFirst([...known(owned, liveOf), ...ours]);
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
    const intended = successors.find((c) => isIntended(type, c, owned));
    const fit = [intended, standing, successors[0]].find(
      (c) => c !== undefined && !type.needsReplacement(c.live, wanted),
    );
    const sequence = fit?.sequence ?? highest + 1;
    const rest = { ...named(nameOf(sequence)), taken: takenBelow(sequence) };
    return fit === undefined ? { is: 'replaced', old: standing, ...rest } : { is: 'current', live: fit.live, ...rest };
  }
  const stranger = strangers[0];
  if (stranger !== undefined)
    return { is: 'conflict', ...named(nameOf(stranger.sequence)), live: stranger.live, taken: [] };
  return { is: 'absent', ...named(nameOf(recorded?.sequence ?? 1)), taken: [] };
}

/** The live objects that the inventory knows by their IDs. */
function known(owned: readonly Owned[], liveOf: (id: string) => Live | undefined): Numbered[] {
  return owned.flatMap(({ id, key: { name } }) => {
    const live = id === undefined ? undefined : liveOf(id);
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

/** What carries the resource's marker and is not named by the inventory, newest first. */
function unrecorded({ keyName }: MarkedType, marked: readonly Live[], owned: readonly Owned[]): Numbered[] {
  const recorded = new Set(owned.map((o) => o.id));
  return newestFirst(
    marked
      .filter((live) => !recorded.has(live.id))
      .map((live) => ({ live, name: keyName(live) }))
      .map((c) => ({ ...c, sequence: markerOf(c.name)?.sequence ?? 0 })),
  );
}

/** Whether a create of ours was about to make it when we were interrupted. */
function isIntended({ rules }: MarkedType, { live, name }: Candidate, owned: readonly Owned[]): boolean {
  return owned.some(
    (o) => o.intent !== undefined && o.key.name === name && o.intent === fingerprint(live.fields, rules),
  );
}

function equals({ rights }: MarkedType, live: Live, wanted: Fields): boolean {
  return fingerprint(live.fields, rights) === fingerprint(wanted, rights);
}

/** The object that a create of ours made without our learning of it: it carries the name and is what was intended. */
export function madeUnnoticed(
  { rules, keyName }: Pick<MarkedType, 'rules' | 'keyName'>,
  owned: Owned,
  live: ReadonlyMap<string, Live | Unreadable>,
): Live | undefined {
  for (const object of live.values()) {
    if (isUnreadable(object) || keyName(object) !== owned.key.name) continue;
    if (fingerprint(object.fields, rules) === owned.intent) return object;
  }
  return undefined;
}
