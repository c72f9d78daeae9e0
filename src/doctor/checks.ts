import type { NomadCheck, VaultCheck } from './check.ts';
import { nomadClock, vaultClock } from './clocks.ts';
import { audiences } from './audiences.ts';
import { bindingRules } from './binding-rules.ts';
import { keysReached } from './jwks-reach.ts';
import { jwksPublished, keysKnown } from './keys.ts';
import { nomadReachable, nomadToken } from './nomad.ts';
import { expiredTokens, namedPolicies } from './nomad-references.ts';
import { vaultRights } from './rights.ts';
import { madeTokens, secretsEngines } from './secrets-engines.ts';
import { vaultReachable, vaultToken } from './vault.ts';
import { accessors, leftovers, rolePolicies } from './vault-logins.ts';

/** In the order in which one asks: what others rest upon comes first. */
export const nomadChecks: readonly NomadCheck[] = [
  nomadReachable,
  nomadClock,
  jwksPublished,
  nomadToken,
  namedPolicies,
  bindingRules,
  expiredTokens,
];

export const vaultChecks: readonly VaultCheck[] = [
  vaultReachable,
  vaultClock,
  vaultToken,
  vaultRights,
  leftovers,
  keysReached,
  keysKnown,
  audiences,
  rolePolicies,
  accessors,
  secretsEngines,
  madeTokens,
];
