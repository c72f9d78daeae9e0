import { TargetError } from '../contract/errors.ts';

/** A server's words may repeat what it was sent. */
export function withoutSecrets(error: unknown, secrets: readonly (string | undefined)[]): unknown {
  if (!(error instanceof TargetError)) return error;
  const message = secrets.reduce<string>(
    (text, secret) => (secret === undefined ? text : text.replaceAll(secret, '***')),
    error.message,
  );
  return new TargetError(message, { class: error.class, ...(error.status !== undefined && { status: error.status }) });
}
