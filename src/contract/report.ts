import type { Reason, Step } from '../plan/step.ts';
import type { StepOutcome } from './observer.ts';
import type { Resource } from './resource.ts';

/**
 * Why a resource is as it is: the reasons of plans, and those that only arise beyond them.
 * `Failed`: it could not be done now. `Rejected`: the server does not take it as it is declared. `Released`: given up
 * on demand, with what may remain. `Invalid`: it is no valid declaration.
 */
export type ReportReason = Reason | 'Failed' | 'Rejected' | 'Released' | 'Invalid';

/** One change that was made or tried. */
export interface ReportedChange {
  readonly step: Step;
  readonly outcome: StepOutcome;
  /** It puts back what somebody else had changed. */
  readonly isDrift: boolean;
}

/** How a resource came out of a pass: what its status says. Never a secret. */
export interface ResourceReport {
  /** As it was declared, or being deleted, when that was found out. */
  readonly declared: Resource;
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly reason: ReportReason;
  /** One sentence: why, and what to do. */
  readonly message: string;
  /** `settled`: nothing is left to do. `going`: it goes on by itself. `stalled`: only a change of something helps. */
  readonly outlook: 'settled' | 'going' | 'stalled';
  /** Identifiers of the live objects; undefined where nothing is known of them now. */
  readonly live: Readonly<Record<string, unknown>> | undefined;
  readonly changes: readonly ReportedChange[];
  /** It is declared no more, and nothing of it is owned any more: saved. */
  readonly isGone: boolean;
}

/** Told how each resource came out of a pass. Must not throw, nor wait. */
export type Reporter = (report: ResourceReport) => void;
