import type { Io } from '../../contract/target.ts';
import type { Desired, Live, Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { findHolder, type Content, type Holder } from './held-secret.ts';

/** What holds a token under two names: a Secret of Kubernetes, a secret of Vault's KV, a variable of Nomad. */

/** The names. */
export interface Keys {
  readonly accessorId: string;
  readonly secretId: string;
}

/** Those that `vault read nomad/creds/...` prints. */
export const DEFAULT_KEYS: Keys = { accessorId: 'accessor_id', secretId: 'secret_id' };

/** Whose token stands there, and under which names. */
export interface KeyedHolder extends Holder {
  readonly keys: Keys;
}

/** What is told of a token that stands there. @param token its accessor ID */
export function describedToken(token: string, keys: Keys): string {
  return `SecretID of ${token} in ${keys.secretId}, accessor ID in ${keys.accessorId}`;
}

/** Keys as the inventory remembers them. */
export function keysIn(value: Fields[string] | undefined): Keys | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
  const fields = value as Fields;
  return { accessorId: stringIn(fields, 'accessorId'), secretId: stringIn(fields, 'secretId') };
}

export function sameKeys(a: Keys, b: Keys): boolean {
  return a.accessorId === b.accessorId && a.secretId === b.secretId;
}

/** What the inventory shall remember of the names: those that are declared, and those that were before. */
export function keysDetail(keys: Keys, found: Live | undefined, owned: Owned | undefined): Fields {
  return { keys: { ...keys }, ...formerKeys(keys, found, owned) };
}

/** The keys that it was written under before, as long as it does not stand under those that are declared now. */
function formerKeys(keys: Keys, found: Live | undefined, owned: Owned | undefined): Fields {
  const standing = keysIn(found?.facts?.['keys']);
  if (standing !== undefined && sameKeys(standing, keys)) return {};
  const former = [owned?.detail?.['keys'], owned?.detail?.['formerKeys']]
    .map(keysIn)
    .find((known) => known !== undefined && !sameKeys(known, keys));
  return former === undefined ? {} : { formerKeys: { ...former } };
}

/** The keys under which a token may stand: those that are declared, and those that it was written under before. */
export function layouts(desired: Desired | undefined, owned: Owned | undefined): Keys[] {
  const all = [desired?.detail, owned?.detail].flatMap((detail) =>
    [keysIn(detail?.['keys']) ?? [], keysIn(detail?.['formerKeys']) ?? []].flat(),
  );
  return all.filter((keys, i) => all.findIndex((other) => sameKeys(keys, other)) === i);
}

/** As `findHolder`, under any of the names. @param under what stands under these names. @throws TargetError */
export async function findKeyed(
  io: Io,
  under: (keys: Keys) => Content,
  owned: Owned | undefined,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<KeyedHolder | undefined> {
  for (const keys of layouts(desired, owned)) {
    const holder = await findHolder(io, under(keys), owned, desired, signal);
    if (holder !== undefined) return { ...holder, keys };
  }
  return undefined;
}
