import { isWrite, resourceText, type PlannedStep } from '../plan/step.ts';

/** Which differences are somebody else's doing, and since when. */
export class Drift {
  /** When a foreign change of a resource's live objects was seen that was not planned for yet; monotonic milliseconds. */
  readonly #seen = new Map<string, number>();
  /** Resources whose spec changed since their last plan: a difference is no drift then. */
  readonly #edited = new Set<string>();

  /** @param at monotonic milliseconds. */
  sawChange(id: string, at: number): void {
    if (!this.#seen.has(id)) this.#seen.set(id, at);
  }

  wasEdited(id: string): void {
    this.#edited.add(id);
  }

  /** @returns the steps that put back what somebody else changed, with when that was seen. @param ids all that were planned. */
  take(ids: Iterable<string>, steps: readonly PlannedStep[]): Map<PlannedStep, number> {
    const drifts = new Map<PlannedStep, number>();
    for (const planned of steps) {
      const id = resourceText(planned.step);
      const seen = this.#seen.get(id);
      if (seen !== undefined && !this.#edited.has(id) && isCorrection(planned)) drifts.set(planned, seen);
    }
    for (const id of ids) {
      this.#seen.delete(id);
      this.#edited.delete(id);
    }
    return drifts;
  }
}

function isCorrection(planned: PlannedStep): boolean {
  const { reason } = planned.step;
  return isWrite(planned) && planned.owned?.state === 'owned' && (reason === 'Changed' || reason === 'Missing');
}
