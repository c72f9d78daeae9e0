import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startGateway, type Gateway } from './gateway.ts';
import { LiveNomad } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { manifest, Workspace } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const FOREIGN = 'namespace "default" { policy = "write" }';
const soon = { timeout: 30_000, interval: 20 };
/** Within which another one takes over from a leader that died. */
const TAKEOVER_MS = 25_000;

/** One of several operators, with a way to Nomad of its own. */
interface Replica {
  readonly operator: RunningOperator;
  readonly way: Gateway;
}

describe.skipIf(!requireServers('nomad'))('several operators with one inventory', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  const ways: Gateway[] = [];
  let tests = 0;
  /** Path of the inventory: for each test another one, as the lock of whoever was killed stays for a while. */
  const place = (): string => `nomad-access/test-${String(tests)}`;
  const state = (): string => `nomad:${place()}`;
  const leads = (): string => `leader_election_master_status{name="${state()}"}`;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
  });
  afterAll(() => nomad.stop());
  beforeEach(() => {
    tests++;
    workspace = new Workspace({ nomad });
    workspace.write('policies.yaml', manifest('AclPolicy', 'one', READ), manifest('AclPolicy', 'two', READ));
    workspace.write('token.yaml', token('ci'));
  });
  afterEach(async () => {
    await Promise.all(ways.splice(0).map((way) => way.close()));
    workspace.dispose();
    await live.clear();
  });
  // Registered last, so that no operator is left when the server is cleaned.
  const operators = useOperators();

  async function replica(): Promise<Replica> {
    const way = await startGateway(nomad.address);
    ways.push(way);
    workspace.retarget({ nomad: { address: way.address, token: nomad.token } });
    // Each comes to the same Nomad by another address.
    const operator = await operators.start(workspace, '--state', state(), '--accept-address-change', 'default');
    return { operator, way };
  }

  /** The first one acts, the second one waits. */
  async function pair(): Promise<{ leader: Replica; standby: Replica }> {
    const leader = await replica();
    await leader.operator.until(leads(), 1);
    await leader.operator.until(readySeries('AclPolicy'), 2);
    await leader.operator.until(readySeries('AclToken'), 1);
    const standby = await replica();
    await vi.waitFor(async () => {
      expect(await standby.operator.get('/readyz')).toEqual({ status: 200, text: 'ok\n' });
      expect(standby.operator.log()).toContain('standing by');
    }, soon);
    expect(await standby.operator.metric(leads())).toBe(0);
    expect((await leader.operator.get('/readyz')).status).toBe(200);
    return { leader, standby };
  }

  async function putsBack(): Promise<void> {
    await live.putPolicy('one', FOREIGN);
    await vi.waitFor(async () => {
      expect(await live.rulesOf('one')).toContain('read');
    }, soon);
  }

  async function nothingIsDoubled(policies = ['one', 'two']): Promise<void> {
    expect(await live.policyNames()).toEqual(policies);
    const ours = await live.marked();
    expect(ours).toHaveLength(1);
    const { SecretID } = await live.token(ours[0]?.AccessorID ?? '');
    expect(workspace.read('secrets/ci')).toBe(`${String(SecretID)}\n`);
  }

  it('one acts, another one waits, is ready, and takes over at once when the first is stopped', async () => {
    const { leader, standby } = await pair();
    await putsBack();
    expect(standby.way.writes().filter(({ path }) => path.startsWith('/v1/acl/'))).toEqual([]);
    expect(await leader.operator.stop()).toBe(0);
    const stopped = performance.now();
    await standby.operator.until(leads(), 1);
    // Long before its time would be over.
    expect(performance.now() - stopped).toBeLessThan(10_000);
    await standby.operator.until(readySeries('AclToken'), 1);
    await putsBack();
    await nothingIsDoubled();
    expect(await standby.operator.stop()).toBe(0);
    const plan = await workspace.run('plan', '-f', 'manifests', '--state', state(), '--detailed-exitcode');
    expect([plan.code, plan.stdout]).toEqual([0, expect.anything()]);
  });

  it('one that is killed has a successor within the promised time', async () => {
    const { leader, standby } = await pair();
    leader.operator.kill('SIGKILL');
    const killed = performance.now();
    await live.putPolicy('two', FOREIGN);
    await standby.operator.until(leads(), 1);
    expect(performance.now() - killed).toBeLessThan(TAKEOVER_MS);
    await vi.waitFor(async () => {
      expect(await live.rulesOf('two')).toContain('read');
    }, soon);
    await nothingIsDoubled();
  });

  it('one that wakes after its term begins no request, saves nothing, and stands by', async () => {
    const policies = ['one', 'three', 'two'];
    const { leader, standby } = await pair();
    // It is stopped with something in hand that is not in the inventory yet.
    workspace.write('more.yaml', manifest('AclPolicy', 'three', READ));
    await vi.waitFor(
      async () => {
        expect(await live.rulesOf('three')).toBeDefined();
      },
      { timeout: 30_000, interval: 1 },
    );
    leader.operator.kill('SIGSTOP');
    // What it would put back, if it could.
    await live.putPolicy('two', FOREIGN);
    await standby.operator.until(leads(), 1);
    await vi.waitFor(async () => {
      expect(await live.rulesOf('two')).toContain('read');
    }, soon);
    await live.request('DELETE', `/v1/acl/token/${(await live.marked())[0]?.AccessorID ?? ''}`);
    await vi.waitFor(() => nothingIsDoubled(policies), soon);

    leader.way.forget();
    leader.operator.kill('SIGCONT');
    await vi.waitFor(() => {
      expect(leader.operator.log()).toContain('leading no more');
    }, soon);
    await leader.operator.until(leads(), 0);
    await vi.waitFor(async () => {
      expect((await leader.operator.get('/readyz')).status).toBe(200);
    }, soon);
    await putsBack();
    // The lock is reached by the same way: to renew or to ask for it is all that it may.
    expect(leader.way.writes().filter(({ path }) => !path.startsWith(`/v1/var/${place()}/lock?`))).toEqual([]);
    await nothingIsDoubled(policies);

    // And it is good for another term.
    expect(await standby.operator.stop()).toBe(0);
    await leader.operator.until(leads(), 1);
    await putsBack();
    await nothingIsDoubled(policies);
    expect(await leader.operator.stop()).toBe(0);
  });

  it('an inventory that somebody else writes ends it, and it says why', async () => {
    const { leader } = await pair();
    const path = `/v1/var/${place()}/objects`;
    const { body } = await live.request<{ Items: Record<string, string> }>('GET', path);
    await live.request('PUT', path, { Items: { content: body.Items['content'], writer: 'by hand' } });
    workspace.write('more.yaml', manifest('AclPolicy', 'three', READ));
    expect(await leader.operator.ended).toBe(1);
    expect(leader.operator.log()).toMatch(
      /nomad-access\/test-\d\/objects.*was changed by.*two operators use one inventory/,
    );
  });

  it('with an inventory in a file, too, the second one waits until the first has ended', async () => {
    workspace.retarget({ nomad });
    const first = await operators.start(workspace);
    await first.until(readySeries('AclToken'), 1);
    const second = await operators.start(workspace);
    await vi.waitFor(async () => {
      expect(second.log()).toContain('standing by');
      expect((await second.get('/readyz')).status).toBe(200);
    }, soon);
    await first.stop();
    await second.until(readySeries('AclToken'), 1);
    await putsBack();
    second.kill('SIGKILL');
    await second.ended;
    expect(existsSync(join(workspace.manifests, '.nomad-access.state.json.lock'))).toBe(true);
    const third = await operators.start(workspace);
    await third.until(readySeries('AclToken'), 1);
    await nothingIsDoubled();
    expect(await third.stop()).toBe(0);
  });
});

function token(name: string): string {
  return manifest('AclToken', name, `policies: [one]\nwriteSecretTo: { file: { path: secrets/${name} } }`);
}
