import { engineHappenings, engineRoleSpec, engineSpec } from './engine.ts';
import type { Happenings } from './happening.ts';
import { integrationHappenings, integrationSpec } from './integration.ts';
import { bindingRuleSpec, loginHappenings, methodSpec } from './login.ts';
import { policyHappenings, policySpec } from './policies.ts';
import { Random } from './random.ts';
import { roleHappenings, roleSpec } from './roles.ts';
import { serverHappenings } from './servers.ts';
import type { Declaration } from './simulation.ts';
import { sinkHappenings } from './sinks.ts';
import { sourceHappenings } from './sources.ts';
import { foreignTokenHappenings, tokenHappenings, tokenSpec } from './tokens.ts';

/** What a schedule is about: what is declared when it begins, and what happens beside what happens to the servers. */
interface Mix {
  readonly declaration: (choice: number) => Declaration;
  readonly happenings: Happenings;
}

const policies: Mix = {
  declaration: (choice) => ({ 'AclPolicy p0': policySpec(choice), 'AclRole r0': roleSpec(choice) }),
  happenings: { ...policyHappenings, ...roleHappenings },
};
const tokens: Mix = {
  declaration: (choice) => ({ 'AclToken t0': tokenSpec('t0', choice) }),
  happenings: { ...tokenHappenings, ...sinkHappenings },
};
const integration: Mix = {
  declaration: (choice) => ({ 'VaultJwtIntegration workloads': integrationSpec(choice) }),
  happenings: integrationHappenings,
};
const logins: Mix = {
  declaration: (choice) => ({
    'AclAuthMethod m0': methodSpec(choice),
    'AclBindingRule b0': bindingRuleSpec('b0', choice),
  }),
  happenings: { ...loginHappenings, ...sourceHappenings },
};
const engine: Mix = {
  declaration: (choice) => ({
    'VaultNomadSecretsEngine engine': engineSpec(choice),
    'VaultNomadRole c0': engineRoleSpec(choice),
  }),
  happenings: { ...engineHappenings, ...sourceHappenings, ...foreignTokenHappenings },
};

function together(...mixes: readonly Mix[]): Mix {
  return {
    declaration: (choice) => Object.assign({}, ...mixes.map(({ declaration }) => declaration(choice))) as Declaration,
    happenings: Object.assign({}, ...mixes.map(({ happenings }) => happenings)) as Happenings,
  };
}

/** Few kinds, so that much happens to each of them. */
const FEW: readonly Mix[] = [
  together(policies, tokens, integration),
  together(policies, logins),
  together(policies, engine),
];
/** For what they have to do with one another; such a schedule takes three times as long. */
const everything = together(...FEW);
const EVERYTHING = 0.1;

/** Everything that can happen. */
export const HAPPENINGS: Happenings = { ...everything.happenings, ...serverHappenings };

function mixOf(seed: number): Mix {
  const random = new Random(seed ^ 0x3c6ef372);
  return random.chance(EVERYTHING) ? everything : random.pick(FEW);
}

/** What is declared when a schedule begins. */
export function beginning(seed: number): Declaration {
  return mixOf(seed).declaration(seed);
}

/** How much of what happens happens to the servers and the operator. */
const TROUBLE = 0.4;

/** The name of something that can happen in the schedule of a seed. */
export function somethingIn(seed: number, random: Random): string {
  return random.pick(Object.keys(random.chance(TROUBLE) ? serverHappenings : mixOf(seed).happenings));
}
