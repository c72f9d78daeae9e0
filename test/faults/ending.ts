import { checkEngine, engineTokens, waitingForEngine } from './engine.ts';
import { equal } from './equal.ts';
import { checkIntegration, vaultPolicies } from './integration.ts';
import { checkForeignLogin, checkLogin, prepareForeignLogin, waitingBindingRules } from './login.ts';
import { onVault } from './others.ts';
import { checkPolicies } from './policies.ts';
import { checkRoles, waitingRoles } from './roles.ts';
import type { Simulation } from './simulation.ts';
import { checkForeignSinks, prepareSinks } from './sinks.ts';
import { checkTokens, waitingTokens } from './tokens.ts';

/** What must hold in the end, whatever has happened. */

/** The declared state, and not one object more. */
export function checkDeclared(s: Simulation): void {
  checkPolicies(s);
  checkRoles(s);
  checkTokens(s, engineTokens(s));
  checkIntegration(s);
  checkLogin(s);
  checkEngine(s);
  // What waits since its making failed is known to be on its way.
  const unmade = new Set([...waitingRoles(s), ...waitingTokens(s), ...waitingBindingRules(s), ...waitingForEngine(s)]);
  const recorded = (s.inventory?.objects ?? []).filter((o) => o.state !== 'owned' && !unmade.has(o.resource.name));
  equal('entries of the inventory that are still pending', recorded, []);
}

/** What rotates is now and then on its way from one token to the next. */
export async function checkDeclaredSoon(s: Simulation): Promise<void> {
  try {
    checkDeclared(s);
  } catch {
    await s.run(2_000);
    checkDeclared(s);
  }
}

/** Makes what is there of others. @returns what checks that it still is as it was. */
export async function prepareForeign(s: Simulation): Promise<() => void> {
  s.nomad.acl.putPolicy('foreign', { Rules: 'operator { policy = "read" }' });
  s.nomad.acl.putRole({ Name: 'foreign', Policies: [{ Name: 'foreign' }] });
  const { AccessorID } = s.nomad.acl.putToken({ Name: 'foreign', Type: 'client', Policies: ['foreign'] });
  await prepareSinks(s);
  await prepareForeignLogin(s);
  await onVault(s, 'POST', 'sys/policies/acl/foreign', { policy: 'path "x" { capabilities = ["read"] }' });
  return () => {
    checkForeign(s, AccessorID);
  };
}

function checkForeign(s: Simulation, accessorId: string): void {
  const { policies, tokens } = s.nomad.snapshot();
  equal('the foreign policy', policies.find((p) => p.Name === 'foreign')?.Rules, 'operator { policy = "read" }');
  equal(
    'the foreign role',
    s.nomad.acl.roles.sorted().flatMap(({ Name, Policies }) => (Name === 'foreign' ? [Policies] : [])),
    [[{ Name: 'foreign' }]],
  );
  equal('the foreign token', tokens.find((t) => t.AccessorID === accessorId)?.Policies, ['foreign']);
  equal(
    'the bootstrap token',
    tokens.some((t) => t.Name === 'Bootstrap Token'),
    true,
  );
  checkForeignSinks(s);
  checkForeignLogin(s);
  equal('the foreign policy on Vault', vaultPolicies(s)['foreign'], 'path "x" { capabilities = ["read"] }');
}

/** No secret in what was said or stored. */
export function checkSecrets(s: Simulation): void {
  const everything = `${s.said.join('\n')}${JSON.stringify(s.inventory ?? {})}`;
  equal(
    'secrets in what was said and stored',
    s.secrets.filter((secret) => everything.includes(secret)),
    [],
  );
}
