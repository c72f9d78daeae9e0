import type { Step } from '../plan/step.ts';
import type { ErrorClass } from './errors.ts';
import type { ManifestError } from './resource.ts';

/** What became of a step. */
export interface StepOutcome {
  readonly status: 'done' | 'unchanged' | 'refused' | 'failed' | 'skipped' | 'interrupted';
  readonly message: string;
  /** Why it failed, where a server or a sink said so. */
  readonly errorClass?: ErrorClass;
}

/** The long-running engine tells it of everything that a person or a metric may want to know. Never a secret. */
export interface Observer {
  /** A resource of that kind waits in the queue; again after a failure where `isRetry`. */
  queued(kind: string, isRetry: boolean): void;
  /** A reconcile begins. @param waited since it was due; seconds. */
  started(kind: string, waited: number): void;
  /** A reconcile ended. @param seconds since it began. */
  finished(kind: string, seconds: number, result: 'success' | 'error' | 'requeue'): void;
  /** A live object of ours is not what it shall be, and not because the declaration changed. */
  driftFound(step: Step): void;
  /** It is again. @param seconds since the foreign change was seen. */
  driftCorrected(step: Step, seconds: number): void;
  /** A step is through. Not called for what was in order. @param seconds that it took. */
  stepped(step: Step, outcome: StepOutcome, seconds: number): void;
  /** How many resources of a kind are ready, are not, and of how many it is unknown. All zero: the last one is gone. */
  resources(kind: string, counts: { readonly True: number; readonly False: number; readonly Unknown: number }): void;
  /** Whether the live objects of a connection are known. @param error why not. */
  synced(connection: { readonly kind: string; readonly name: string }, isSynced: boolean, error?: string): void;
  /** The connection is declared no more. */
  disconnected(connection: { readonly kind: string; readonly name: string }): void;
  /** The manifests were read. @param held deletions that wait for --allow-mass-delete, 0 for none. */
  desired(count: number, errors: readonly ManifestError[], held: number): void;
  /** A request to a server is through; watches are not counted. @param status 0 where no reply came. */
  requested(
    target: 'nomad' | 'vault' | 'kubernetes',
    connection: string,
    verb: string,
    status: number,
    seconds: number,
  ): void;
  /** Something that a person should know of and that stops nothing. One sentence. */
  warned(message: string): void;
  /** Whether this replica is the one that acts. */
  leading(isLeader: boolean): void;
}
