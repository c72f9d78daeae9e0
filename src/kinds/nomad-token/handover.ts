import type { Desired, Live, Owned } from '../../plan/step.ts';

/**
 * Since when the place where readers find a token's secret has held it: what the time counts from that its predecessor still
 * lives. The moment is taken after the write; where a crash has lost it, it is when the secret was seen there.
 */
const HELD_SINCE = 'heldSince';

/**
 * @param found the place as last read; its fact `accessorId` says of which token it holds the secret.
 * @param owned what the inventory has of the place.
 * @returns milliseconds since the epoch; undefined where the place does not hold the secret of that token.
 */
export function heldSince(
  accessorId: string | undefined,
  found: Live | undefined,
  owned: Owned | undefined,
  now: number,
): number | undefined {
  if (accessorId === undefined || found?.facts?.['accessorId'] !== accessorId) return undefined;
  const known = owned?.detail?.['accessorId'] === accessorId ? owned.detail[HELD_SINCE] : undefined;
  // A moment to come was told by a clock that has been set back.
  return typeof known === 'number' ? Math.min(known, now) : now;
}

/** What the inventory shall remember of a place beside whose secret it holds. @param since by `heldSince`. */
export function handover(since: number | undefined): Pick<Desired, 'detail' | 'stamp'> {
  return since === undefined
    ? { detail: { [HELD_SINCE]: null }, stamp: HELD_SINCE }
    : { detail: { [HELD_SINCE]: since } };
}
