import { TargetError } from '../contract/errors.ts';

/** Bytes of a secret that a kind sends: more than any key or password has. */
export const SECRET_BYTES = 65_536;

/** What a secret that a kind sends is, from the bytes where it stands. @param where for messages. @throws TargetError */
export function secretText(bytes: Uint8Array, where: string): string {
  if (bytes.length > SECRET_BYTES) throw noSecret(`${where} is longer than ${String(SECRET_BYTES)} bytes`);
  const text = decoded(bytes)?.trim();
  if (text === undefined) throw noSecret(`${where} is no text (UTF-8)`);
  if (text === '') throw noSecret(`${where} is empty`);
  return text;
}

/** There is none as long as nobody puts one there. */
export function noSecret(message: string): TargetError {
  return new TargetError(message, { class: 'dependency' });
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
