import { normaliseText } from '../../src/plan/diff.ts';
import { at } from './choice.ts';
import { equal } from './equal.ts';
import { declare, declared, isRecorded, withdraw, type Happenings } from './happening.ts';
import type { Simulation } from './simulation.ts';

export const POLICIES = ['p0', 'p1', 'p2'];
const RULES = ['namespace "a" { policy = "read" }', 'namespace "a" { policy = "write" }', 'node { policy = "read" }\n'];

interface PolicySpec {
  readonly rules: string;
}

export function policySpec(choice: number): PolicySpec {
  return { rules: at(RULES, choice) };
}

export const policyHappenings: Happenings = {
  editPolicy: (s, c) => {
    declare(s, { [`AclPolicy ${at(POLICIES, c)}`]: policySpec(c >> 4) });
  },
  removePolicy: (s, c) => {
    withdraw(s, `AclPolicy ${at(POLICIES, c)}`);
  },
  foreignPolicyEdit: (s, c) => {
    const name = at(POLICIES, c);
    if (s.nomad.acl.policies.rows.has(name) && isRecorded(s, name))
      s.nomad.acl.putPolicy(name, { Rules: 'agent { policy = "write" }' });
  },
  foreignPolicyDelete: (s, c) => {
    s.nomad.acl.policies.delete(at(POLICIES, c));
  },
};

/** The declared policies, and not one more. */
export function checkPolicies(s: Simulation): void {
  const { policies } = s.nomad.snapshot();
  equal(
    'policies on Nomad',
    Object.fromEntries(policies.filter((p) => p.Name !== 'foreign').map((p) => [p.Name, normaliseText(p.Rules)])),
    Object.fromEntries(declared<PolicySpec>(s, 'AclPolicy').map(([name, { rules }]) => [name, normaliseText(rules)])),
  );
}
