import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import { Counter, startProxy, type Proxy } from './proxy.ts';
import type { RunningOperator } from './running.ts';
import { manifest, Workspace } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const soon = { timeout: 60_000, interval: 50 };

describe.skipIf(!requireServers('nomad'))('an operator of a Nomad that nobody has bootstrapped', () => {
  let nomad: NomadServer;
  let workspace: Workspace;
  let proxies: Proxy[];
  let started: RunningOperator[];

  beforeEach(async () => {
    nomad = await startNomad({ client: false, bootstrap: false });
    workspace = new Workspace({});
    proxies = [];
    started = [];
    declare(nomad.address);
    workspace.write('policy.yaml', manifest('AclPolicy', 'readonly', READ));
  });
  afterEach(async () => {
    for (const operator of started) expect(operator.log() + operator.output()).not.toContain(readToken());
    await Promise.all(proxies.map((proxy) => proxy.close()));
    workspace.dispose();
    await nomad.stop();
  });
  // Registered last, so that no operator is left when the server ends.
  const operators = useOperators();

  const tokenPath = (): string => join(workspace.manifests, 'secrets/token');
  const readToken = (): string => readFileSync(tokenPath(), 'utf8').trim();
  const live = (): LiveNomad => new LiveNomad({ address: nomad.address, token: readToken() });

  function declare(address: string): void {
    workspace.retarget({ nomad: { address, token: '' } });
    const spec = `address: ${address}\nauth: { tokenFile: secrets/token }\nbootstrap: {}`;
    workspace.write('nomad.yaml', manifest('NomadCluster', 'default', spec));
  }
  async function start(...args: string[]): Promise<RunningOperator> {
    const operator = await operators.start(workspace, ...args);
    started.push(operator);
    return operator;
  }

  it('bootstraps it and goes on, and again when it was made anew, with the same token', async () => {
    const operator = await start();
    await operator.until(readySeries('AclPolicy'), 1);
    const first = readToken();
    expect(await live().policyNames()).toEqual(['readonly']);
    expect((await live().tokens()).map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
    const { ports } = nomad;
    await nomad.stop();
    nomad = await startNomad({ client: false, bootstrap: false, ports });
    await vi.waitFor(async () => {
      expect(await live().policyNames()).toEqual(['readonly']);
    }, soon);
    expect(readToken()).toBe(first);
  });

  it('two of them with the inventory in that Nomad end with one token, and one leads', async () => {
    const state = ['--state', 'nomad:nomad-access/new'];
    const both = await Promise.all([start(...state), start(...state)]);
    const leads = 'leader_election_master_status{name="nomad:nomad-access/new"}';
    await vi.waitFor(async () => {
      const leading = await Promise.all(both.map((operator) => operator.metric(leads)));
      expect(leading.reduce((sum, one) => sum + one)).toBe(1);
      expect(await live().policyNames()).toEqual(['readonly']);
    }, soon);
    expect((await live().tokens()).map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
  });

  it('killed between the place and Nomad, it goes on with the token that is there', async () => {
    const holder: { operator?: RunningOperator; inPlace?: string } = {};
    const proxy = await startProxy(nomad.address, new Counter(), () => ({ phase, method }) => {
      if (phase === 'after' || method !== 'PUT' || !existsSync(tokenPath())) return 'pass';
      holder.inPlace ??= readToken();
      holder.operator?.kill('SIGKILL');
      return 'cut';
    });
    proxies.push(proxy);
    declare(proxy.address);
    holder.operator = await start();
    await holder.operator.ended;
    declare(nomad.address);
    await (await start('--accept-address-change', 'default')).until(readySeries('AclPolicy'), 1);
    expect(readToken()).toBe(holder.inPlace);
    expect((await live().tokens()).map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
  });

  it('waits for a Nomad that is not there yet', async () => {
    const { ports } = nomad;
    await nomad.stop();
    const operator = await start();
    await vi.waitFor(() => {
      expect(operator.log()).toMatch(/ECONNREFUSED|connect/);
    }, soon);
    expect(existsSync(tokenPath())).toBe(false);
    nomad = await startNomad({ client: false, bootstrap: false, ports });
    await operator.until(readySeries('AclPolicy'), 1);
  });
});
