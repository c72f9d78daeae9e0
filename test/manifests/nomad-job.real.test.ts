import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { LiveNomad } from '../e2e/live.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';

const JOB = resolve(import.meta.dirname, '../../manifests/nomad/nomad-access.nomad.hcl');

/** Stands in for the operator: is healthy, and shows what it was started with. */
const STAND_IN = `
import { createServer } from 'node:http';
import { readFileSync, statSync } from 'node:fs';
const argument = (name) => process.argv[process.argv.indexOf(name) + 1];
const [host, port] = argument('--listen').split(':');
const manifests = argument('-f');
const read = (file) => readFileSync(file, 'utf8');
createServer((request, response) => {
  if (request.url !== '/') return response.end('ok');
  const connection = read(manifests + '/connection.yaml');
  const tokenFile = /tokenFile: '?([^' ]*)/.exec(connection)[1].trim();
  response.end(JSON.stringify({
    arguments: process.argv.slice(2), pid: process.pid, connection, declared: read(manifests + '/declared.yaml'),
    token: read(tokenFile), mode: statSync(tokenFile).mode & 0o777,
  }));
}).listen(Number(port), host);
`;

interface Shown {
  readonly arguments: readonly string[];
  readonly pid: number;
  readonly connection: string;
  readonly declared: string;
  readonly token: string;
  readonly mode: number;
}
interface Allocation {
  readonly ID: string;
  readonly ClientStatus: string;
  readonly AllocatedResources: { readonly Shared: { readonly Ports: { HostIP: string; Value: number }[] } };
}
type Checks = Record<string, { readonly Check: string; readonly Status: string }>;

describe.skipIf(!requireServers('nomad'))('the job that runs the operator on Nomad', () => {
  let folder: string;
  let nomad: NomadServer;
  let live: LiveNomad;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nomad-job-'));
    nomad = await startNomad();
    live = new LiveNomad(nomad);
  });
  afterAll(async () => {
    await nomad.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is valid as it is', async () => {
    const { stdout, stderr } = await nomad.run('job', 'validate', JOB);
    expect(`${stdout}${stderr}`.trim()).toBe('Job validation successful');
  });

  const put = (path: string, items: object): Promise<unknown> =>
    live.request('PUT', `/v1/var/${path}`, { Items: items });

  /** Runs it with a stand-in. @returns its allocation, and what it shows. */
  async function run(...more: string[]): Promise<{ id: string; shown: () => Promise<Shown> }> {
    const program = join(folder, 'stand-in.mjs');
    writeFileSync(program, STAND_IN);
    const vars = [`program=${program}`, `nomad_address=${nomad.address}`, 'replicas=1', ...more];
    await nomad.run('job', 'run', '-detach', ...vars.flatMap((v) => ['-var', v]), JOB);
    const allocation = await vi.waitFor(async () => {
      const { body } = await live.request<{ ID: string; ClientStatus: string }[]>(
        'GET',
        '/v1/job/nomad-access/allocations',
      );
      const running = body.find((a) => a.ClientStatus === 'running');
      if (running === undefined) throw new Error(`not running yet: ${JSON.stringify(body)}`);
      return (await live.request<Allocation>('GET', `/v1/allocation/${running.ID}`)).body;
    }, 60_000);
    const port = allocation.AllocatedResources.Shared.Ports[0];
    const shown = async (): Promise<Shown> =>
      (await (await fetch(`http://${port?.HostIP ?? ''}:${String(port?.Value)}/`)).json()) as Shown;
    return { id: allocation.ID, shown };
  }

  it('has the identity of its task as a file, and its manifests from a variable, which it follows without a restart', async () => {
    await put('nomad/jobs/nomad-access/operator', { manifests: 'kind: AclPolicy # one\n' });
    const { id, shown } = await run();
    const first = await vi.waitFor(shown, 30_000);
    expect(first.arguments).toEqual(expect.arrayContaining(['run', '--state', 'nomad:nomad-access/default']));
    expect(decodeJwt(first.token)).toMatchObject({ aud: 'nomad', nomad_job_id: 'nomad-access', nomad_task: 'run' });
    expect(first.connection).toContain(`address: ${nomad.address}\n`);
    expect(first.connection).toContain('method: nomad-access,');
    expect(first.declared).toContain('kind: AclPolicy # one');

    await vi.waitFor(async () => {
      const { body } = await live.request<Checks>('GET', `/v1/client/allocation/${id}/checks`);
      expect(Object.values(body).map((c) => [c.Check, c.Status])).toEqual(
        expect.arrayContaining([
          ['alive', 'success'],
          ['ready', 'success'],
        ]),
      );
    }, 30_000);

    await put('nomad/jobs/nomad-access/operator', { manifests: 'kind: AclPolicy # two\n' });
    const second = await vi.waitFor(async () => {
      const now = await shown();
      expect(now.declared).toContain('# two');
      return now;
    }, 30_000);
    expect(second.pid).toBe(first.pid);
    await nomad.run('job', 'stop', '-purge', 'nomad-access');
  });

  it('without an auth method it gets a token from a variable, without a policy', async () => {
    await put('nomad/jobs/nomad-access', { token: 'the-secret-id' });
    const { shown } = await run('auth_method=');
    const { token, mode, connection } = await vi.waitFor(shown, 30_000);
    expect([token.trim(), mode]).toEqual(['the-secret-id', 0o600]);
    expect(connection).not.toContain('jwt');
  });
});
