import type { Desired, Owned } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { holderFacts, type Content } from './held-secret.ts';
import { describedToken, layouts, type KeyedHolder, type Keys } from './token-keys.ts';

/** A sink that is ours as a whole and holds a token as two named items: a secret of Vault's KV, a variable of Nomad. */

/** What stands there; anybody may have written it. */
export type Items = Readonly<Record<string, unknown>>;

export function itemsOf(
  token: { readonly accessorId: string; readonly secretId: string },
  keys: Keys,
): Record<string, string> {
  return { [keys.accessorId]: token.accessorId, [keys.secretId]: token.secretId };
}

/** A token with anything beside it is still that token. */
export function contentUnder(items: Items): (keys: Keys) => Content {
  return (keys) => {
    const secretId = items[keys.secretId];
    return {
      of: (wanted) => (items[keys.accessorId] === wanted && typeof secretId === 'string' ? secretId : undefined),
      form: asItIs,
    };
  };
}

/** The form in which a SecretID stands there. */
export function asItIs(secretId: string): string {
  return secretId;
}

/** Whether nothing but a token can be there, whosesoever: only names of ours. */
export function isTokenOnly(items: Items, desired: Desired | undefined, owned: Owned | undefined): boolean {
  const ours = new Set(layouts(desired, owned).flatMap((keys) => [keys.accessorId, keys.secretId]));
  const names = Object.keys(items);
  return names.length > 0 && names.every((name) => ours.has(name));
}

/** What is told of it. @param holder undefined: it holds no token of ours. */
export function describedItems(items: Items, holder: KeyedHolder | undefined): string {
  if (holder === undefined) return 'other content';
  const described = describedToken(holder.accessorId, holder.keys);
  return Object.keys(items).length === 2 ? described : `${described}, and more`;
}

/** The facts of it. */
export function itemFacts(holder: KeyedHolder | undefined): Fields {
  return { ...holderFacts(holder), keys: holder ? { ...holder.keys } : null };
}

/** What the inventory remembers of who writes there. */
export function ownerIn(detail: Fields | undefined): string | undefined {
  return stringIn(detail, 'owner') || undefined;
}
