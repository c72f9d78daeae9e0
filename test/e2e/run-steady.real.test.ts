import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { startGateway, type Gateway, type Passed } from './gateway.ts';
import { readySeries, useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { integration, manifest, Workspace } from './workspace.ts';

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const INTEGRATIONS = 5;
const RESYNC = { text: '10s', most: 11_000 };
/** For a machine that does other things, too. */
const SLACK_MS = 20_000;
const SWEEP_SECONDS = 5;
/** Lists that are counted before it is over: half a minute. */
const ROUNDS = 3;
const LISTS = ['/v1/acl/policies', '/v1/acl/tokens'];

interface Steady {
  readonly operator: RunningOperator;
  readonly nomadWay: Gateway;
  readonly vaultWay: Gateway;
}

/** What was asked in some rounds. */
interface Rounds {
  readonly seconds: number;
  /** How often Nomad was asked for each path. */
  readonly ofNomad: ReadonlyMap<string, number>;
  /** How often Vault was asked for anything. */
  readonly ofVault: number;
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

  /** Until everything was listed so many times since now, at least. */
  async function rounds({ nomadWay, vaultWay }: Steady): Promise<Rounds> {
    nomadWay.forget();
    vaultWay.forget();
    const began = performance.now();
    return vi.waitFor(
      () => {
        for (const list of LISTS)
          expect(nomadWay.passed.filter(({ path }) => path.startsWith(list)).length, list).toBeGreaterThanOrEqual(
            ROUNDS,
          );
        const seconds = (performance.now() - began) / 1000;
        return { seconds, ofNomad: counted(nomadWay.passed), ofVault: vaultWay.passed.length };
      },
      { timeout: ROUNDS * RESYNC.most + SLACK_MS, interval: 20 },
    );
  }

  it('nothing is written, Nomad is asked as often for 400 resources as for 40, and Vault within the budget', async () => {
    const budget = { ample: 50, tight: 3 };
    const few = await steady('few', 20, budget.ample);
    const many = await steady('many', 200, budget.tight);
    const [ofFew, ofMany] = await Promise.all([rounds(few), rounds(many)]);

    for (const { nomadWay, vaultWay } of [few, many]) expect([...nomadWay.writes(), ...vaultWay.writes()]).toEqual([]);
    // A list for each type that Nomad tells of, and for three of them a look at who we are: each in each round, of which the
    // first and the last are cut off somewhere.
    expect([...ofMany.ofNomad.keys()]).toEqual([...ofFew.ofNomad.keys()]);
    expect(ofMany.ofNomad.size).toBeLessThanOrEqual(8);
    for (const times of [...ofFew.ofNomad.values(), ...ofMany.ofNomad.values()])
      expect(Math.abs(times - ROUNDS)).toBeLessThanOrEqual(1);

    // Each integration costs some requests in each sweep; with one of them under way at the end.
    const each = ofFew.ofVault / ((ofFew.seconds / SWEEP_SECONDS) * INTEGRATIONS);
    expect(each).toBeGreaterThan(2);
    expect(each).toBeLessThan(8);
    expect(ofMany.ofVault).toBeGreaterThan(0);
    expect(ofMany.ofVault).toBeLessThan(ofMany.seconds * budget.tight + 8);
    // Where the budget does not suffice it says so, and how long it takes instead.
    expect(many.operator.log()).toMatch(/VaultServer default: with its request budget, .* takes \d+ s/);
    expect(few.operator.log()).not.toContain('request budget');
  }, 240_000);
});

/** How often each path was asked for, in the order of the paths. */
function counted(passed: readonly Passed[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { path } of passed) times.set(path, (times.get(path) ?? 0) + 1);
  return new Map([...times].sort());
}
