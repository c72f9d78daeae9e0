import { createHmac } from 'node:crypto';
import { TargetError } from '../../contract/errors.ts';
import type { SettledDesired } from '../../contract/kind.ts';
import type { Io } from '../../contract/target.ts';
import type { Desired, Live, Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { secretOf } from '../nomad-token/token.ts';

/**
 * Whose SecretID a sink holds: the same for every sink. The SecretID is never a field, never kept and never shown; the
 * inventory has a digest of it.
 */

/** What stands in a sink, in a form that tells one SecretID from another. */
export interface Content {
  /** What stands where this token's SecretID shall be; undefined where the sink says that it is of another token. */
  of(accessorId: string): string | undefined;
  /** The form in which a SecretID stands there. */
  form(secretId: string): string;
}

/** Whose SecretID it is, and the digest that the inventory remembers. */
export interface Holder {
  readonly accessorId: string;
  readonly digest: string;
}

/**
 * The token whose SecretID the sink holds: by the digest in the inventory; or by a look at the secret of the token that it is
 * declared for, of the one which that replaces, or of those that it was about to be written for when we were interrupted.
 * Nomad is asked just where the inventory can't explain what is there.
 * @returns undefined where the sink holds anything else. @throws TargetError
 */
export async function findHolder(
  io: Io,
  content: Content,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<Holder | undefined> {
  const holderOf = (accessorId: string): Holder => ({
    accessorId,
    digest: digest(accessorId, content.of(accessorId) ?? ''),
  });
  const recorded = [owned?.detail?.['digest'], owned?.detail?.[NEXT]];
  const known = candidates(owned?.detail)
    .map(holderOf)
    .find((holder) => recorded.includes(holder.digest));
  if (known !== undefined) return known;
  for (const detail of [desired?.detail, owned?.detail]) {
    const connection = detail?.['nomadRef'];
    if (typeof connection !== 'string') continue;
    for (const accessorId of candidates(detail)) {
      const found = content.of(accessorId);
      const secret = found === undefined ? undefined : await secretOf(io.nomad(connection), accessorId, signal);
      if (secret !== undefined && found === content.form(secret)) return holderOf(accessorId);
    }
  }
  return undefined;
}

/** The token that a sink is or was about to be written for, and the one whose secret it held before. */
function candidates(detail: Fields | undefined): string[] {
  return [detail?.['accessorId'], detail?.['formerId']].filter((id) => typeof id === 'string');
}

/** What shall stand in a sink: from the create that made the token, or read back. @throws TargetError */
export async function secretToWrite(
  io: Io,
  { key, detail }: SettledDesired,
): Promise<{ accessorId: string; secretId: string }> {
  const accessorId = stringIn(detail, 'accessorId');
  const api = io.nomad(stringIn(detail, 'nomadRef'));
  const secretId = io.secrets.take(accessorId) ?? (await secretOf(api, accessorId));
  if (secretId !== undefined) return { accessorId, secretId };
  throw new TargetError(`token ${accessorId} is gone from Nomad, so its secret can't be written to ${key.name}`, {
    class: 'transient',
  });
}

/** Digest of what is about to be written: the token may be gone by the time that somebody looks at what a crash has left. */
const NEXT = 'nextDigest';

/** What the inventory remembers before a write. @param form the form in which a SecretID stands there. @throws TargetError */
export async function foretellHolder(io: Io, desired: SettledDesired, form: Content['form']): Promise<Fields> {
  const { accessorId, secretId } = await secretToWrite(io, desired);
  io.secrets.put(accessorId, secretId);
  return { [NEXT]: digest(accessorId, form(secretId)) };
}

/** Tells whether a sink still holds what was written, without keeping it: SecretIDs are random, so it can't be turned back. */
export function digest(accessorId: string, content: string): string {
  return createHmac('sha256', accessorId).update(content).digest('hex');
}

/** What a sink's live object says beside its field. */
export function holderFacts(holder: Holder | undefined): Fields {
  return { accessorId: holder?.accessorId ?? null, digest: holder?.digest ?? null };
}

/** @returns the accessor ID of the token of ours whose secret the sink holds; undefined where it holds anything else. */
export function holderOf(live: Live): string | undefined {
  const accessorId = live.facts?.['accessorId'];
  return typeof accessorId === 'string' ? accessorId : undefined;
}

/** What the inventory remembers of a sink. */
export function rememberHolder(live: Live): Fields {
  return { accessorId: live.facts?.['accessorId'] ?? null, digest: live.facts?.['digest'] ?? null };
}
