import type { PlannedStep } from '../plan/step.ts';

export interface MassDeletion {
  readonly deletions: number;
  /** A clause without a full stop. */
  readonly text: string;
}

/** An empty checkout must not empty a cluster: at least five deletions, of more than half of what is recorded. */
export function massDeletion(steps: readonly PlannedStep[], recorded: number): MassDeletion | undefined {
  const deletions = steps.filter((s) => s.step.action === 'delete' && s.step.reason !== 'Replaced').length;
  if (deletions < 5 || deletions * 2 <= recorded) return undefined;
  const text = `${String(deletions)} of the ${String(recorded)} objects that the inventory holds would be deleted`;
  return { deletions, text };
}
