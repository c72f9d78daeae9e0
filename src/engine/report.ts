import type { StepOutcome } from '../contract/observer.ts';
import type { ReportReason, ResourceReport } from '../contract/report.ts';
import type { Resource } from '../contract/resource.ts';
import type { PlannedStep } from '../plan/step.ts';
import type { StepResult, Verdict } from './readiness.ts';

/** What came of a pass over one resource. */
export interface Pass {
  /** As it was declared, or being deleted, when the pass began. */
  readonly declared: Resource;
  readonly verdict: Pick<Verdict, 'ready' | 'again' | 'cause'>;
  readonly results: readonly StepResult[];
  readonly isDrift: (planned: PlannedStep) => boolean;
  readonly live: ResourceReport['live'];
  readonly isGone: boolean;
}

export function reportOf({ declared, verdict, results, isDrift, live, isGone }: Pass): ResourceReport {
  const made = results.filter(([planned, outcome]) => isWorthTelling(planned, outcome));
  return {
    declared,
    ready: verdict.ready,
    ...why(verdict.cause),
    outlook: outlookOf(verdict),
    live,
    changes: made.map(([planned, outcome]) => ({ step: planned.step, outcome, isDrift: isDrift(planned) })),
    isGone,
  };
}

function isWorthTelling({ step }: PlannedStep, { status }: StepOutcome): boolean {
  return status === 'done' || status === 'failed' || (status === 'unchanged' && step.reason === 'Adopted');
}

/** An expired token needs a person as much as a refusal does. */
function outlookOf({ ready, again }: Pass['verdict']): ResourceReport['outlook'] {
  if (again === 'changed' || (again === undefined && ready === 'False')) return 'stalled';
  return again === undefined ? 'settled' : 'going';
}

const AS_DECLARED = 'everything is as declared';
const SUSPENDED = 'spec.suspend is true: nothing is done for it, and nothing of it is deleted';

function why(cause: StepResult | undefined): { reason: ReportReason; message: string } {
  if (cause === undefined) return { reason: 'InSync', message: AS_DECLARED };
  const [{ step }, outcome] = cause;
  switch (outcome.status) {
    case 'refused':
      return { reason: step.reason, message: step.message };
    case 'failed':
      return { reason: failureOf(outcome), message: outcome.message };
    case 'skipped':
    case 'interrupted':
      return { reason: 'Waiting', message: outcome.message };
    case 'done':
    case 'unchanged':
      return step.reason === 'Expired' || step.reason === 'Suspended'
        ? { reason: step.reason, message: step.message === '' ? SUSPENDED : step.message }
        : { reason: 'InSync', message: AS_DECLARED };
  }
}

function failureOf({ errorClass }: StepOutcome): ReportReason {
  if (errorClass === 'terminal') return 'Rejected';
  if (errorClass === 'denied') return 'Denied';
  return errorClass === 'dependency' ? 'Waiting' : 'Failed';
}
