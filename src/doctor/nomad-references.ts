import type { NomadApi } from '../contract/target.ts';
import { some, warning, type NomadCheck } from './check.ts';

interface Token {
  readonly AccessorID: string;
  readonly Name: string;
  readonly Policies: readonly string[] | null;
  readonly Roles: readonly { readonly ID: string }[] | null;
  readonly ExpirationTime: string | null;
}
interface Role {
  readonly ID: string;
  readonly Name: string;
  readonly Policies: readonly { readonly Name: string }[] | null;
}
/** Of all policies there are. */
export async function policyNames(api: NomadApi, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const { items } = await api.list<{ Name: string }>('/v1/acl/policies', {}, signal);
  return new Set(items.map(({ Name }) => Name));
}

/** Whoever names what is missing, by what is missing. */
function byMissing<T>(
  holders: readonly T[],
  named: (holder: T) => readonly string[],
  known: ReadonlySet<string>,
  called: (holder: T) => string,
): [missing: string, holders: string[]][] {
  const all = new Map<string, string[]>();
  for (const holder of holders)
    for (const name of new Set(named(holder)))
      if (!known.has(name)) all.set(name, [...(all.get(name) ?? []), called(holder)]);
  return [...all].sort();
}

const tokenText = ({ AccessorID, Name }: Token): string => (Name === '' ? AccessorID : `${AccessorID} (${Name})`);

export const namedPolicies: NomadCheck = {
  name: 'nomad-references',
  fine: 'every policy and role that a token or a role names is there',
  async look({ api }, { signal }) {
    const policies = await policyNames(api, signal);
    const tokens = (await api.list<Token>('/v1/acl/tokens', {}, signal)).items;
    const roles = (await api.list<Role>('/v1/acl/roles', {}, signal)).items;
    const create = 'Make it, or take its name away from them.';
    const ofTokens = byMissing(tokens, (t) => t.Policies ?? [], policies, tokenText);
    const ofRoles = byMissing(
      roles,
      (r) => r.Policies?.map((p) => p.Name) ?? [],
      policies,
      ({ Name }) => Name,
    );
    const ids = new Set(roles.map(({ ID }) => ID));
    const links = byMissing(tokens, (t) => t.Roles?.map((r) => r.ID) ?? [], ids, tokenText);
    return [
      ...ofTokens.map(([name, who]) =>
        warning(
          `policy/${name}`,
          `it does not exist, and gives nothing to the tokens that name it: ${some(who)}`,
          create,
        ),
      ),
      ...ofRoles.map(([name, who]) =>
        warning(
          `policy/${name}`,
          `it does not exist, and gives nothing to the roles that name it: ${some(who)}`,
          create,
        ),
      ),
      ...links.map(([id, who]) =>
        warning(
          `role/${id}`,
          `it was deleted, and gives nothing to the tokens that have it: ${some(who)}`,
          'Give the tokens another role, or delete them.',
        ),
      ),
    ];
  },
};

export const expiredTokens: NomadCheck = {
  name: 'nomad-expired-tokens',
  fine: 'no token has expired',
  async look({ api }, { signal, now }) {
    const { items } = await api.list<Token>('/v1/acl/tokens', {}, signal);
    const expired = items.filter(
      ({ ExpirationTime }) => ExpirationTime !== null && Date.parse(ExpirationTime) <= now(),
    );
    if (expired.length === 0) return [];
    return [
      warning(
        'token',
        `expired, and not collected yet: ${some(expired.map(tokenText))}`,
        'Whoever uses one of them is refused: give them a new one. Nomad deletes expired tokens itself, an hour after they were made at the earliest.',
      ),
    ];
  },
};
