/**
 * How the engine shall go on after a failure, decided where the failure arises:
 * - `terminal`: the request is wrong; nothing helps but a change of the manifest.
 * - `dependency`: something that was named is not there yet; try again after a fixed delay.
 * - `transient`: the server or the way to it failed; back off and try again.
 * - `denied`: our own credential was refused; try again after a fixed delay, and say so.
 */
export type ErrorClass = 'terminal' | 'dependency' | 'transient' | 'denied';

/** What came back, or did not, from Nomad, Vault or a sink. The message carries the server's own words, never a secret. */
export class TargetError extends Error {
  override readonly name = 'TargetError';
  readonly class: ErrorClass;
  /** HTTP status, where there was a reply. */
  readonly status: number | undefined;
  /** The request may have been carried out although no reply came: look before doing it again. */
  readonly ambiguous: boolean;

  constructor(message: string, options: { class: ErrorClass; status?: number; ambiguous?: boolean; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.class = options.class;
    this.status = options.status;
    this.ambiguous = options.ambiguous ?? false;
  }
}

/** A mistake of the person at the command line or in the manifests: printed without a stack, exit code 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
