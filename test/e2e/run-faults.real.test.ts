import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { startGateway, type Fate, type Gateway, type Passed } from './gateway.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import { randomOf, seedOf } from './random.ts';
import type { RunningOperator } from './running.ts';
import { manifest, Workspace } from './workspace.ts';

const rules = (policy: string): string => `namespace "default" { policy = "${policy}" }`;
const FOREIGN = { policy: 'theirs', token: 'theirs', rules: 'node { policy = "read" }' };
const soon = { timeout: 30_000, interval: 50 };
/** What was put back five times within a minute is left alone for the rest of it. */
const pace = { timeout: 150_000, interval: 200 };

describe.skipIf(!requireServers('nomad', 'vault'))('whatever goes wrong around the operator', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let nomadGateway: Gateway;
  let vaultGateway: Gateway;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;
  const dataDirs = mkdtempSync(join(tmpdir(), 'nomad-access-faults-'));

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([
      startNomad({ client: false, dataDir: join(dataDirs, 'nomad') }),
      startVault({ storage: 'file', dataDir: join(dataDirs, 'vault') }),
    ]);
    [nomadGateway, vaultGateway] = await Promise.all([startGateway(nomad.address), startGateway(vault.address)]);
    [liveNomad, liveVault] = [new LiveNomad(nomad), new LiveVault(vault)];
  });
  afterAll(async () => {
    await Promise.all([nomadGateway.close(), vaultGateway.close(), nomad.stop(), vault.stop()]);
    rmSync(dataDirs, { recursive: true, force: true });
  });
  beforeEach(async () => {
    workspace = new Workspace({
      nomad: { address: nomadGateway.address, token: nomad.token },
      vault: { address: vaultGateway.address, token: vault.token },
    });
    await liveNomad.putPolicy(FOREIGN.policy, FOREIGN.rules);
    await liveNomad.request('POST', '/v1/acl/token', { Name: FOREIGN.token, Type: 'management' });
    const spec = `address: ${vaultGateway.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: 2s`;
    workspace.write('vault.yaml', manifest('VaultServer', 'default', spec));
  });
  afterEach(async () => {
    nomadGateway.decide(() => 'pass');
    vaultGateway.decide(() => 'pass');
    workspace.dispose();
    await liveNomad.clear();
    await liveVault.clear();
  });
  const operators = useOperators();
  const run = (...args: string[]): Promise<RunningOperator> => operators.start(workspace, ...args);

  function declare(count: number, policy = 'read'): void {
    for (let i = 0; i < count; i++) {
      const name = `n${String(i)}`;
      workspace.write(
        `${name}.yaml`,
        manifest('AclPolicy', name, `rules: '${rules(policy)}'`),
        manifest('AclToken', name, `policies: [${name}]\nwriteSecretTo: { file: { path: secrets/${name} } }`),
      );
    }
  }

  /** The declared state and no more: one token for each resource, its secret in its file, and what is not ours as it was. */
  async function isAsDeclared(count: number, policy = 'read'): Promise<void> {
    const names = Array.from({ length: count }, (_, i) => `n${String(i)}`).sort();
    expect((await liveNomad.policyNames()).sort()).toEqual([...names, FOREIGN.policy].sort());
    for (const name of names) expect(await liveNomad.rulesOf(name), name).toBe(rules(policy));
    const ours = await liveNomad.marked();
    expect(ours.map((t) => t.Name.replace(/ \[na:.*/, '')).sort()).toEqual(names);
    for (const { Name, AccessorID, Policies } of ours) {
      const name = Name.replace(/ \[na:.*/, '');
      const { SecretID } = await liveNomad.token(AccessorID);
      expect(Policies, name).toEqual([name]);
      expect(workspace.read(`secrets/${name}`), name).toBe(`${String(SecretID)}\n`);
    }
    expect(readdirSync(join(workspace.manifests, 'secrets')).sort()).toEqual(names);
    expect(await liveNomad.rulesOf(FOREIGN.policy)).toBe(FOREIGN.rules);
    expect((await liveNomad.tokens()).filter((t) => t.Name === FOREIGN.token)).toHaveLength(1);
  }

  /**
   * Somebody edits every second policy of ours and deletes the others, and tokens, `count` times. None is deleted and edited:
   * to edit what is gone is to make a policy of one's own, and that stays where we did not live to see it.
   */
  async function storm(count: number, random: () => number, among: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const at = Math.floor(random() * among);
      const name = `n${String(at)}`;
      const token = (await liveNomad.marked()).find((t) => t.Name.startsWith(`${name} [`));
      if (random() < 0.4 && token !== undefined) await liveNomad.request('DELETE', `/v1/acl/token/${token.AccessorID}`);
      else if (at % 2 === 0) await liveNomad.putPolicy(name, rules('deny'));
      else await liveNomad.request('DELETE', `/v1/acl/policy/${name}`);
    }
  }

  it(
    'lost requests, lost replies and errors at random: it ends in the declared state',
    { timeout: 600_000 },
    async () => {
      const random = randomOf(seedOf('run-faults'));
      const isStream = ({ path }: Passed): boolean => path.startsWith('/v1/event/stream');
      const faulty = (request: Passed): Fate => {
        const dice = random();
        if (isStream(request) || dice > 0.2) return 'pass';
        if (dice < 0.06) return 'lose request';
        return dice < 0.12 ? 'lose reply' : dice < 0.16 ? 500 : 429;
      };
      nomadGateway.decide(faulty);
      vaultGateway.decide(faulty);
      declare(12);
      workspace.write(
        'integration.yaml',
        manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${nomad.address}/.well-known/jwks.json`),
      );
      const operator = await run();
      await vi.waitFor(() => isAsDeclared(12), pace);
      for (let round = 0; round < 3; round++) {
        await storm(12, random, 12);
        await liveVault.request('DELETE', 'auth/jwt-nomad/role/nomad-workloads');
        nomadGateway.cut(isStream);
        declare(12, round % 2 === 0 ? 'write' : 'read');
        await vi.waitFor(() => isAsDeclared(12, round % 2 === 0 ? 'write' : 'read'), pace);
      }
      nomadGateway.decide(() => 'pass');
      vaultGateway.decide(() => 'pass');
      await vi.waitFor(async () => {
        await isAsDeclared(12, 'write');
        expect(await liveVault.data('auth/jwt-nomad/role/nomad-workloads')).toBeDefined();
      }, pace);
      await operator.until(readySeries('AclToken'), 12);
      expect(await operator.stop()).toBe(0);
      expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
      await isAsDeclared(12, 'write');
    },
  );

  it(
    'killed in the midst of making and of correcting, again and again: nothing is lost, leaked or doubled',
    { timeout: 600_000 },
    async () => {
      const random = randomOf(seedOf('run-kills'));
      declare(60);
      /** SIGKILL when so many writes have come through since the start, or nothing more is to be done. */
      const runAndKillAfter = async (writes: number, meanwhile?: () => Promise<void>): Promise<void> => {
        nomadGateway.forget();
        const operator = await run();
        nomadGateway.decide((request) => {
          if (request.method !== 'GET' && nomadGateway.writes().length >= writes) operator.kill('SIGKILL');
          return 'pass';
        });
        // There may be fewer writes than that to come: whatever is still under way then is killed as well.
        const last = meanwhile?.() ?? operator.until(readySeries('AclToken'), 60).catch(() => undefined);
        await Promise.race([operator.ended, last]);
        operator.kill('SIGKILL');
        await Promise.all([operator.ended, last]);
        nomadGateway.decide(() => 'pass');
      };
      for (let i = 0; i < 4; i++) await runAndKillAfter(1 + Math.floor(random() * 25));
      const made = await run();
      await made.until(readySeries('AclToken'), 60);
      await isAsDeclared(60);
      made.kill('SIGKILL');
      await made.ended;
      for (let i = 0; i < 4; i++) await runAndKillAfter(1 + Math.floor(random() * 10), () => storm(30, random, 60));
      const last = await run();
      await vi.waitFor(() => isAsDeclared(60), pace);
      await last.until(readySeries('AclToken'), 60);
      expect(await last.stop()).toBe(0);
      expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    },
  );

  it('the event stream is cut: what was changed meanwhile is found', async () => {
    const random = randomOf(seedOf('run-stream'));
    declare(5);
    const operator = await run();
    await operator.until(readySeries('AclToken'), 5);
    const isStream = ({ path }: Passed): boolean => path.startsWith('/v1/event/stream');
    for (let round = 0; round < 3; round++) {
      // Until the changes are through it can't ask for another one, however long they take.
      operator.kill('SIGSTOP');
      expect(nomadGateway.cut(isStream)).toBe(1);
      await storm(6, random, 5);
      operator.kill('SIGCONT');
      await vi.waitFor(() => isAsDeclared(5), soon);
      await vi.waitFor(() => {
        expect(nomadGateway.passed.filter(isStream).length).toBeGreaterThan(round + 1);
      }, soon);
    }
    expect(await operator.stop()).toBe(0);
  });

  it('Nomad restarts: it goes on by itself, and finds what was changed while nobody looked', async () => {
    declare(5);
    const operator = await run();
    await operator.until(readySeries('AclToken'), 5);
    const { ports, dataDir } = nomad;
    await nomadGateway.close();
    await nomad.stop();
    await operator.until('nomad_access_synced{kind="NomadCluster",connection="default"}', 0);
    workspace.write(
      'n0.yaml',
      manifest('AclPolicy', 'n0', `rules: '${rules('read')}'`),
      workspace.read('n0.yaml').split('---\n')[1] ?? '',
    );
    nomad = await startNomad({ client: false, ports, dataDir });
    await liveNomad.putPolicy('n1', rules('deny'));
    await liveNomad.request('DELETE', '/v1/acl/policy/n2');
    await nomadGateway.open();
    await vi.waitFor(() => isAsDeclared(5), soon);
    await vi.waitFor(async () => {
      expect((await operator.get('/readyz')).status).toBe(200);
    }, soon);
    // It hears again what happens.
    await liveNomad.putPolicy('n3', rules('deny'));
    await vi.waitFor(() => isAsDeclared(5), { timeout: 20_000, interval: 20 });
    expect(await operator.stop()).toBe(0);
  });

  it('Vault is sealed, unsealed and restarted: it goes on by itself', async () => {
    workspace.write(
      'integration.yaml',
      manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${nomad.address}/.well-known/jwks.json`),
    );
    const role = 'auth/jwt-nomad/role/nomad-workloads';
    const operator = await run();
    await operator.until(readySeries('VaultJwtIntegration'), 1);
    const synced = 'nomad_access_synced{kind="VaultServer",connection="default"}';
    const isBack = async (): Promise<void> => {
      await operator.until(synced, 1);
      await liveVault.request('DELETE', role);
      await vi.waitFor(
        async () => {
          expect(await liveVault.data(role)).toBeDefined();
        },
        { timeout: 20_000, interval: 20 },
      );
    };
    await vault.seal();
    await operator.until(synced, 0);
    expect((await operator.get('/readyz')).text).toMatch(/VaultServer default is not synced: .*sealed/);
    await vault.unseal();
    await isBack();

    const port = Number(new URL(vault.address).port);
    await vault.stop();
    await operator.until(synced, 0);
    vault = await startVault({ storage: 'file', dataDir: join(dataDirs, 'vault'), port });
    await isBack();
    expect(await operator.stop()).toBe(0);
  });
});
