import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { startGateway, type Gateway } from './gateway.ts';
import { readySeries, useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { integration, manifest, Workspace } from './workspace.ts';

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const INTEGRATIONS = 5;
const RESYNC = { text: '10s', most: 11_000 };
const SWEEP_SECONDS = 5;
/** Lists that are counted before it is over: half a minute. */
const ROUNDS = 3;

interface Steady {
  readonly operator: RunningOperator;
  readonly nomadWay: Gateway;
  readonly vaultWay: Gateway;
}

describe.skipIf(!requireServers('nomad', 'vault'))('when nothing changes', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  const workspaces: Workspace[] = [];
  const ways: Gateway[] = [];

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));
  afterEach(async () => {
    for (const workspace of workspaces.splice(0)) workspace.dispose();
    await Promise.all(ways.splice(0).map((way) => way.close()));
  });
  const operators = useOperators();

  /** An operator over so many policies, as many tokens, and some integrations, when all of them are made. */
  async function steady(owner: string, count: number, requestBudget: number): Promise<Steady> {
    const [nomadWay, vaultWay] = await Promise.all([startGateway(nomad.address), startGateway(vault.address)]);
    ways.push(nomadWay, vaultWay);
    const workspace = new Workspace({
      nomad: { address: nomadWay.address, token: nomad.token },
      vault: { address: vaultWay.address, token: vault.token },
    });
    workspaces.push(workspace);
    const nomadSpec = `address: ${nomadWay.address}\nauth: { tokenEnv: NOMAD_TOKEN }\nresyncInterval: ${RESYNC.text}`;
    const vaultSpec = `address: ${vaultWay.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: ${String(SWEEP_SECONDS)}s\nrequestBudget: ${String(requestBudget)}`;
    workspace.write(
      'connections.yaml',
      manifest('NomadCluster', 'default', nomadSpec),
      manifest('VaultServer', 'default', vaultSpec),
    );
    const names = Array.from({ length: count }, (_, i) => `${owner}-${String(i)}`);
    workspace.write('policies.yaml', ...names.map((name) => manifest('AclPolicy', name, RULES)));
    const tokenOf = (name: string): string =>
      manifest('AclToken', name, `policies: [${name}]\nwriteSecretTo: { none: {} }`);
    workspace.write('tokens.yaml', ...names.map(tokenOf));
    const paths = Array.from({ length: INTEGRATIONS }, (_, i) => `${owner}-jwt-${String(i)}`);
    workspace.write('integrations.yaml', ...paths.map(integration));
    const operator = await operators.start(workspace, '--owner', owner);
    await operator.until(readySeries('AclPolicy'), count);
    await operator.until(readySeries('AclToken'), count);
    await operator.until(readySeries('VaultJwtIntegration'), INTEGRATIONS);
    return { operator, nomadWay, vaultWay };
  }

  /** Until everything was listed so many times since now. @returns how long that took; seconds. */
  async function rounds({ nomadWay, vaultWay }: Steady): Promise<number> {
    nomadWay.forget();
    vaultWay.forget();
    const began = performance.now();
    await vi.waitFor(
      () => {
        for (const list of ['/v1/acl/policies', '/v1/acl/tokens'])
          expect(nomadWay.passed.filter(({ path }) => path.startsWith(list)).length, list).toBe(ROUNDS);
      },
      { timeout: ROUNDS * RESYNC.most + 5_000, interval: 20 },
    );
    return (performance.now() - began) / 1000;
  }

  it('nothing is written, Nomad is asked as often for 400 resources as for 40, and Vault within the budget', async () => {
    const budget = { ample: 50, tight: 3 };
    const few = await steady('few', 20, budget.ample);
    const many = await steady('many', 200, budget.tight);
    const [secondsOfFew, secondsOfMany] = await Promise.all([rounds(few), rounds(many)]);

    for (const { nomadWay, vaultWay } of [few, many]) expect([...nomadWay.writes(), ...vaultWay.writes()]).toEqual([]);
    expect(many.nomadWay.passed.map(({ path }) => path).sort()).toEqual(
      few.nomadWay.passed.map(({ path }) => path).sort(),
    );
    // A list for each type that Nomad tells of, and for three of them a look at who we are.
    expect(many.nomadWay.passed.length).toBeLessThanOrEqual(ROUNDS * 8);

    // Each integration costs some requests in each sweep; with one of them under way at the end.
    const [perSweep, sweeps] = [few.vaultWay.passed.length, secondsOfFew / SWEEP_SECONDS];
    const each = perSweep / (sweeps * INTEGRATIONS);
    expect(each).toBeGreaterThan(2);
    expect(each).toBeLessThan(8);
    expect(many.vaultWay.passed.length).toBeGreaterThan(0);
    expect(many.vaultWay.passed.length).toBeLessThan(secondsOfMany * budget.tight + 8);
    // Where the budget does not suffice it says so, and how long it takes instead.
    expect(many.operator.log()).toMatch(/VaultServer default: with its request budget, .* takes \d+ s/);
    expect(few.operator.log()).not.toContain('request budget');
  }, 85_000);
});
