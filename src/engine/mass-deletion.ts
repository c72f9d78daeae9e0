import type { PlannedStep } from '../plan/step.ts';

/** Fewer deletions than this are never too many. */
const LEAST = 5;

/** An empty checkout must not empty a cluster. @param recorded objects that the inventory holds. */
export function isTooMuch(deletions: number, recorded: number): boolean {
  return deletions >= LEAST && deletions * 2 > recorded;
}

/** Whether a step takes away what nothing takes the place of: that is what counts as a deletion here. */
export function takesAway({ step }: PlannedStep): boolean {
  return step.action === 'delete' && step.reason !== 'Replaced';
}
