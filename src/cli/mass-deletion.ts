import { isTooMuch, takesAway } from '../engine/mass-deletion.ts';
import type { PlannedStep } from '../plan/step.ts';

export interface MassDeletion {
  readonly deletions: number;
  /** A clause without a full stop. */
  readonly text: string;
}

/** @param recorded objects that the inventory holds. @returns undefined where a plan does not delete too much at once. */
export function massDeletion(steps: readonly PlannedStep[], recorded: number): MassDeletion | undefined {
  const deletions = steps.filter(takesAway).length;
  if (!isTooMuch(deletions, recorded)) return undefined;
  const text = `${String(deletions)} of the ${String(recorded)} objects that the inventory holds would be deleted`;
  return { deletions, text };
}
