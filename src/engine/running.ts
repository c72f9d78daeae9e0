import type { StepOutcome } from '../contract/observer.ts';
import { resourceText, type PlannedStep } from '../plan/step.ts';
import type { StepResult } from './readiness.ts';

/** Which resources of a pass are through. */
export class Running {
  readonly #left = new Map<string, number>();
  readonly #results = new Map<string, StepResult[]>();
  readonly #onSettled: (id: string, results: readonly StepResult[]) => void;

  constructor(
    ids: Iterable<string>,
    steps: readonly PlannedStep[],
    onSettled: (id: string, results: readonly StepResult[]) => void,
  ) {
    this.#onSettled = onSettled;
    for (const { step } of steps) this.#left.set(resourceText(step), (this.#left.get(resourceText(step)) ?? 0) + 1);
    for (const id of ids) if (!this.#left.has(id)) onSettled(id, []);
  }

  settle(planned: PlannedStep, outcome: StepOutcome): void {
    const id = resourceText(planned.step);
    const results = this.#results.get(id) ?? [];
    this.#results.set(id, results);
    results.push([planned, outcome]);
    const left = (this.#left.get(id) ?? 0) - 1;
    this.#left.set(id, left);
    if (left === 0) this.#onSettled(id, results);
  }
}
