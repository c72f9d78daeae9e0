import { canonicalCidr } from './cidr.ts';
import { LISTS } from './jwt-role.ts';
import type { RoleSpec, VaultJwtIntegrationSpec } from './schema.ts';

interface Issue {
  readonly path: string;
  readonly message: string;
}

/** Values that Vault would take and make something else of. */
export function changedByVault(spec: VaultJwtIntegrationSpec): Issue[] {
  const roles = (spec.roles ?? []).flatMap((role, i) => roleIssues(role, `spec.roles[${String(i)}]`));
  return [...listIssues(spec.supportedAlgs, 'spec.supportedAlgs'), ...roles];
}

function roleIssues(role: RoleSpec, at: string): Issue[] {
  const lists = LISTS.flatMap((field) => listIssues(role[field], `${at}.${field}`));
  const ranges = itemsOf(role.tokenBoundCidrs, `${at}.tokenBoundCidrs`)
    .filter(({ item }) => canonicalCidr(item) === undefined)
    .map(({ path }) => ({ path, message: NO_RANGE }));
  return onePerPath([...lists, ...ranges, ...globIssues(role, at)]);
}

const NO_RANGE =
  'must be an IP address or a range such as 10.0.0.0/8: Vault takes anything else for a port or a UNIX socket, which no client has';

function listIssues(value: string | readonly string[], path: string): Issue[] {
  if (typeof value === 'string' && value.includes(',')) {
    const message = 'has a comma, at which Vault divides a single string: write a list of texts';
    return [{ path, message }];
  }
  return itemsOf(value, path).flatMap(({ item, path: at }) => {
    const message = itemProblem(item);
    return message === undefined ? [] : [{ path: at, message }];
  });
}

function itemProblem(item: string): string | undefined {
  if (item === '') return 'must not be empty';
  return /^[\s\u0085]|[\s\u0085]$/.test(item)
    ? 'must not begin or end with white space, which Vault takes away'
    : undefined;
}

function itemsOf(value: string | readonly string[], path: string): { item: string; path: string }[] {
  if (typeof value === 'string') return [{ item: value, path }];
  return value.map((item, i) => ({ item, path: `${path}[${String(i)}]` }));
}

function globIssues(role: RoleSpec, at: string): Issue[] {
  if (role.boundClaimsType !== 'glob') return [];
  return Object.entries(role.boundClaims)
    .filter(([, value]) => [value].flat().some((v) => typeof v !== 'string'))
    .map(([claim]) => ({
      path: `${at}.boundClaims.${claim}`,
      message: 'must be a string or a list of strings, since boundClaimsType is glob',
    }));
}

function onePerPath(issues: readonly Issue[]): Issue[] {
  return issues.filter(({ path }, i) => issues.findIndex((other) => other.path === path) === i);
}
