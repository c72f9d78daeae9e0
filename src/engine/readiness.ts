import type { StepOutcome } from '../contract/observer.ts';
import { kindIn, type PlannedStep, type Reason } from '../plan/step.ts';

export type Ready = 'True' | 'False' | 'Unknown';
type Counts = Record<Ready, number>;

/** How a resource came out of a pass, and when it is tried again: undefined where there is no need. */
export interface Verdict {
  readonly ready: Ready;
  /** `changed`: only a change of something helps. `failed`: the sooner the better, after a look. */
  readonly again: undefined | 'changed' | 'failed' | 'dependency' | 'denied';
  /** The step that decided it, where there was any. */
  readonly cause: StepResult | undefined;
}

/** A step, and what became of it. */
export type StepResult = readonly [PlannedStep, StepOutcome];
type Judgement = Omit<Verdict, 'cause'>;

const WAITING: Partial<Record<Reason, Judgement>> = {
  Unavailable: { ready: 'Unknown', again: 'dependency' },
  Denied: { ready: 'Unknown', again: 'denied' },
  Blocked: { ready: 'False', again: 'dependency' },
  Waiting: { ready: 'False', again: 'dependency' },
  Contested: { ready: 'False', again: 'denied' },
};

export function verdictOf(results: readonly StepResult[]): Verdict {
  const verdicts = results.map((result): Verdict => ({ ...verdictOfStep(...result), cause: result }));
  // What waits for another object of the same resource is told of by that one.
  const stuck = verdicts.find(({ cause, again }) => cause?.[0].step.reason !== 'Blocked' && again === 'changed');
  if (stuck !== undefined && !verdicts.some(({ again }) => again === 'failed')) return { ...stuck, ready: 'False' };
  const [first, ...others] = verdicts.sort((a, b) => urgency(b) - urgency(a));
  if (first === undefined) return { ready: 'True', again: undefined, cause: undefined };
  const origin = isConsequence(first) ? others.find((v) => v.again !== undefined && !isConsequence(v)) : undefined;
  return origin === undefined ? first : { ...first, cause: origin.cause };
}

/** It was not done because something else was not: that one tells why. */
function isConsequence({ cause }: Verdict): boolean {
  return cause?.[0].step.reason === 'Blocked' || cause?.[1].status === 'skipped';
}

const URGENCY = [undefined, 'changed', 'denied', 'dependency', 'failed'];

function urgency({ again, ready }: Judgement): number {
  return URGENCY.indexOf(again) * 3 + (ready === 'False' ? 2 : ready === 'Unknown' ? 1 : 0);
}

function verdictOfStep({ step }: PlannedStep, { status, errorClass }: StepOutcome): Judgement {
  if (status === 'refused') return WAITING[step.reason] ?? { ready: 'False', again: 'changed' };
  if (status === 'failed') {
    if (errorClass === 'terminal') return { ready: 'False', again: 'changed' };
    return { ready: 'False', again: errorClass === 'dependency' || errorClass === 'denied' ? errorClass : 'failed' };
  }
  if (status === 'skipped' || status === 'interrupted') return { ready: 'False', again: 'dependency' };
  if (step.reason === 'Expired') return { ready: 'False', again: undefined };
  return { ready: step.reason === 'Suspended' ? 'Unknown' : 'True', again: undefined };
}

/** Counts the declared resources of each kind by their readiness. */
export class Readiness {
  readonly #of = new Map<string, Ready>();
  readonly #counts = new Map<string, Counts>();
  readonly #onCount: (kind: string, counts: Counts) => void;

  constructor(onCount: (kind: string, counts: Counts) => void) {
    this.#onCount = onCount;
  }

  /** @param id `Kind namespace/name` */
  set(id: string, ready: Ready): void {
    const before = this.#of.get(id);
    if (before === ready) return;
    this.#of.set(id, ready);
    this.#count(id, before, ready);
  }

  forget(id: string): void {
    const before = this.#of.get(id);
    if (this.#of.delete(id)) this.#count(id, before, undefined);
  }

  #count(id: string, before: Ready | undefined, after: Ready | undefined): void {
    const kind = kindIn(id);
    const counts = this.#counts.get(kind) ?? { True: 0, False: 0, Unknown: 0 };
    if (before !== undefined) counts[before]--;
    if (after !== undefined) counts[after]++;
    this.#counts.set(kind, counts);
    this.#onCount(kind, counts);
  }
}
