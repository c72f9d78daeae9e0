import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

const JOB = resolve(import.meta.dirname, '../../manifests/nomad/nomad-access.nomad.hcl');
const README = readFileSync(resolve(import.meta.dirname, '../../manifests/nomad/README.md'), 'utf8');
const EXECUTABLE = resolve(import.meta.dirname, '../../dist/nomad-access.js');
const LEADER = 'leader_election_master_status{name="nomad:nomad-access/default"} 1';
const rules = (policy: string): string => `namespace "default" { policy = "${policy}" }`;
const soon = { timeout: 30_000, interval: 50 };

interface Allocation {
  readonly ID: string;
  readonly ClientStatus: string;
  readonly AllocatedResources: { readonly Shared: { readonly Ports: { HostIP: string; Value: number }[] } };
}

describe.skipIf(!requireServers('nomad'))('the operator as a job of the Nomad that it manages', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;

  beforeAll(async () => {
    nomad = await startNomad();
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad });
  });
  afterAll(() => {
    workspace.dispose();
    return nomad.stop();
  });

  const put = (path: string, items: object): Promise<unknown> =>
    live.request('PUT', `/v1/var/${path}`, { Items: items });
  const declare = (...documents: string[]): Promise<unknown> =>
    put('nomad/jobs/nomad-access/operator', { manifests: documents.join('---\n') });

  /** The auth method and the binding rule, as the README has them made. */
  async function allowLogin(): Promise<void> {
    const [, init = '', file = ''] = /nomad-access (init-auth .*) > (\S+)/.exec(README) ?? [];
    const args = init.replace('http://127.0.0.1:4646', nomad.address).split(' ');
    const printed = await workspace.run(...args);
    expect([printed.code, printed.stderr]).toEqual([0, '']);
    workspace.write(`../${file}`, printed.stdout);
    const apply = /nomad-access (apply .*)/.exec(README)?.[1] ?? '';
    const applied = await workspace.run(...apply.split(' '), '--yes');
    expect(applied.code, applied.stderr).toBe(0);
  }

  /** IDs of the running replicas, and what each of them answers under a path. */
  async function replicas(path: string): Promise<Map<string, { status: number; text: string }>> {
    const { body } = await live.request<Allocation[]>('GET', '/v1/job/nomad-access/allocations?resources=true');
    const running = body.filter((allocation) => allocation.ClientStatus === 'running');
    const answers = running.map(async ({ ID }) => {
      const { AllocatedResources } = (await live.request<Allocation>('GET', `/v1/allocation/${ID}`)).body;
      const port = AllocatedResources.Shared.Ports[0];
      const response = await fetch(`http://${port?.HostIP ?? ''}:${String(port?.Value)}${path}`);
      return [ID, { status: response.status, text: await response.text() }] as const;
    });
    return new Map(await Promise.all(answers));
  }

  async function leaders(): Promise<string[]> {
    const metrics = await replicas('/metrics');
    return [...metrics].filter(([, { text }]) => text.split('\n').includes(LEADER)).map(([id]) => id);
  }

  it('makes what a variable declares, follows it, and another replica goes on when the leader is stopped', async () => {
    await allowLogin();
    await declare(manifest('AclPolicy', 'one', `rules: '${rules('read')}'`));
    const vars = [`program=${EXECUTABLE}`, `nomad_address=${nomad.address}`].flatMap((v) => ['-var', v]);
    const { code, stdout, stderr } = await nomad.run('job', 'run', '-detach', ...vars, JOB);
    expect([code, stdout + stderr]).toEqual([0, expect.anything()]);

    await vi.waitFor(async () => {
      expect(await live.rulesOf('one')).toBe(rules('read'));
    }, soon);
    await vi.waitFor(async () => {
      const ready = await replicas('/readyz');
      expect([...ready.values()]).toEqual([
        { status: 200, text: 'ok\n' },
        { status: 200, text: 'ok\n' },
      ]);
      expect(await leaders()).toHaveLength(1);
    }, soon);

    await declare(
      manifest('AclPolicy', 'one', `rules: '${rules('write')}'`),
      manifest('AclPolicy', 'two', `rules: '${rules('read')}'`),
    );
    await vi.waitFor(async () => {
      expect(await live.rulesOf('one')).toBe(rules('write'));
      expect(await live.rulesOf('two')).toBe(rules('read'));
    }, soon);

    const [first] = await leaders();
    await live.request('PUT', `/v1/allocation/${first ?? ''}/stop`);
    await vi.waitFor(async () => {
      const [next, ...more] = await leaders();
      expect(next).toBeDefined();
      expect([first, ...more]).toEqual([first]);
      expect(next).not.toBe(first);
    }, soon);
    await live.putPolicy('one', rules('deny'));
    await vi.waitFor(async () => {
      expect(await live.rulesOf('one')).toBe(rules('write'));
    }, soon);
    await declare(manifest('AclPolicy', 'one', `rules: '${rules('write')}'`));
    await vi.waitFor(async () => {
      expect(await live.policyNames()).toEqual(['one']);
    }, soon);
  }, 300_000);
});
