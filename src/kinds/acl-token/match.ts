import { fingerprint } from '../../plan/diff.ts';
import type { Live, ObjectKey, Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { markedName, markerOf } from './marker.ts';
import { tokenFieldRules } from './token.ts';

/** Which live token stands for a resource now, and under which marked name it stands or shall stand. */
export type Match =
  | { readonly is: 'current'; readonly name: string; readonly live: Live }
  | { readonly is: 'replaced'; readonly name: string; readonly old: { key: ObjectKey; live: Live } }
  | { readonly is: 'absent'; readonly name: string }
  | { readonly is: 'conflict'; readonly name: string; readonly live: Live };

interface Candidate {
  readonly live: Live;
  readonly sequence: number;
}

/** The token that stands for the resource until something takes its place. */
interface Standing extends Candidate {
  /** Its key in the inventory. */
  readonly key: ObjectKey | undefined;
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
  const isOurs = (c: Candidate): boolean => intended(c, owned) !== undefined || equals(c.live, wanted);
  const ours = strangers.find(isOurs);

  const standing: Standing | undefined =
    recorded !== undefined && current !== undefined
      ? { live: current, sequence: recorded.sequence, key: recorded.owned.key }
      : ours && { ...ours, key: intended(ours, owned)?.key };
  if (standing !== undefined) {
    const successor = strangers.find((c) => c.sequence > standing.sequence && isOurs(c));
    const fit = [standing, successor].find((c) => c !== undefined && !needsReplacement(c.live, wanted));
    if (fit !== undefined) return { is: 'current', name: nameOf(fit.sequence), live: fit.live };
    if (standing.key !== undefined) {
      return { is: 'replaced', name: nameOf(highest + 1), old: { key: standing.key, live: standing.live } };
    }
  }
  const stranger = strangers[0];
  if (stranger !== undefined) return { is: 'conflict', name: nameOf(stranger.sequence), live: stranger.live };
  return { is: 'absent', name: nameOf(recorded?.sequence ?? 1) };
}

function latest(owned: readonly Owned[]): { owned: Owned; sequence: number } | undefined {
  const entries = owned
    .map((o) => ({ owned: o, sequence: markerOf(o.key.name)?.sequence ?? 0 }))
    .sort((a, b) => b.sequence - a.sequence);
  return entries.find((e) => e.owned.id !== undefined) ?? entries[0];
}

/** Tokens that carry the resource's marker and that the inventory doesn't name, newest first. */
function unrecorded(marked: readonly Live[], owned: readonly Owned[]): Candidate[] {
  const known = new Set(owned.map((o) => o.id));
  return marked
    .filter((live) => !known.has(live.id))
    .map((live) => ({ live, sequence: markerOf(stringIn(live.fields, 'name'))?.sequence ?? 0 }))
    .sort((a, b) => b.sequence - a.sequence);
}

/** The inventory's entry for a token that a create of ours was about to make when we were interrupted. */
function intended(candidate: Candidate, owned: readonly Owned[]): Owned | undefined {
  return owned.find(
    (o) =>
      o.intent !== undefined &&
      o.key.name === candidate.live.fields['name'] &&
      o.intent === fingerprint(candidate.live.fields, tokenFieldRules),
  );
}

function equals(live: Live, wanted: Fields): boolean {
  const name = live.fields['name'] ?? '';
  return fingerprint(live.fields, tokenFieldRules) === fingerprint({ ...wanted, name }, tokenFieldRules);
}

function needsReplacement(live: Live, wanted: Fields): boolean {
  return live.fields['global'] !== wanted['global'] || live.fields['expirationTtl'] !== wanted['expirationTtl'];
}
