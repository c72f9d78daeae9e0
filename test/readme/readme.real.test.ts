import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { startOperator } from '../e2e/running.ts';
import { requireServers, serverBinary } from '../servers/binaries.ts';
import { cleanEnvironment } from '../servers/command.ts';
import { startKubernetes } from '../servers/kubernetes.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = [...readme.matchAll(/(?:<!-- run: (\w+) -->\n\n)?```sh\n([\s\S]*?)```/g)].map(([, tag, script]) => ({
  tag,
  script: script ?? '',
}));
/** For what runs servers of its own, in a process that this one waits for. */
const PATIENCE = { timeout: 600_000 };
const tagged = (tag: string): string => blocks.find((block) => block.tag === tag)?.script ?? '';

describe.skipIf(!requireServers('nomad', 'vault', 'etcd', 'kube-apiserver', 'kubectl'))('the README', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-readme-'));

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it('its commands for one’s own servers run as they stand, in an empty folder, and leave nothing behind', async () => {
    const before = [await new LiveNomad(nomad).everything(), await new LiveVault(vault).everything()];
    // `make build` has been run, or there would be nothing to test: only the alias is taken from the first block.
    const alias =
      tagged('setup')
        .split('\n')
        .find((line) => line.startsWith('alias '))
        ?.replace('$PWD', ROOT) ?? '';
    const script = `set -euo pipefail\nshopt -s expand_aliases\n${alias}\n${tagged('user')}`;
    expect(script.match(/^nomad-access /gm)).toHaveLength(7);
    const env = cleanEnvironment({
      NOMAD_ADDR: nomad.address,
      NOMAD_TOKEN: nomad.token,
      VAULT_ADDR: vault.address,
      VAULT_TOKEN: vault.token,
    });
    const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: folder, env, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('3 of 3 ready');
    expect(stdout).toContain('Nothing to do');
    expect([await new LiveNomad(nomad).everything(), await new LiveVault(vault).everything()]).toEqual(before);
  });

  it('its command for being always on makes what the folder declares, and ends when it is told to', async () => {
    const before = [await new LiveNomad(nomad).everything(), await new LiveVault(vault).everything()];
    const [program, ...args] = tagged('follow').trim().split(' ');
    expect([program, args[0]]).toEqual(['nomad-access', 'run']);
    const env = cleanEnvironment({
      NOMAD_ADDR: nomad.address,
      NOMAD_TOKEN: nomad.token,
      VAULT_ADDR: vault.address,
      VAULT_TOKEN: vault.token,
    });
    const operator = await startOperator(args.slice(1), env, { cwd: folder });
    await operator.until('nomad_access_resources{kind="AclToken",ready="True"}', 1);
    await operator.until('nomad_access_resources{kind="VaultJwtIntegration",ready="True"}', 1);
    expect(operator.log()).toContain('created AclPolicy default/readonly');
    expect(await operator.stop()).toBe(0);
    const executable = join(ROOT, 'dist/nomad-access.js');
    const destroyed = spawnSync(process.execPath, [executable, 'destroy', '-f', 'access', '--yes'], {
      cwd: folder,
      env,
    });
    expect(destroyed.status, String(destroyed.stderr)).toBe(0);
    expect([await new LiveNomad(nomad).everything(), await new LiveVault(vault).everything()]).toEqual(before);
  });

  it('its commands for Kubernetes run as they stand, and leave nothing behind', async () => {
    const before = await new LiveNomad(nomad).everything();
    const kubernetes = await startKubernetes();
    try {
      symlinkSync(serverBinary('kubectl'), join(folder, 'kubectl'));
      const env = cleanEnvironment({
        NOMAD_ADDR: nomad.address,
        NOMAD_TOKEN: nomad.token,
        KUBECONFIG: kubernetes.kubeconfig,
        HOME: folder,
      });
      const PATH = `${folder}:${env['PATH'] ?? ''}`;
      const script = spawn('bash', ['-euo', 'pipefail', '-c', tagged('kubernetes')], {
        cwd: ROOT,
        env: { ...env, PATH },
      });
      let printed = '';
      for (const stream of [script.stdout, script.stderr])
        stream.on('data', (chunk: Buffer) => (printed += String(chunk)));
      const ended = once(script, 'close');
      // There is no kubelet to run the pods of the Deployment.
      const operator = await startOperator(['--source', 'kubernetes', '--lease-namespace', 'nomad-access'], env);
      await ended;
      expect(script.exitCode, printed + operator.log()).toBe(0);
      expect(printed).toContain('acltoken.nomad-access.io/dashboard condition met');
      expect(printed).toMatch(/aclpolicy.nomad-access.io\/readonly +readonly +True +InSync/);
      expect(await operator.stop()).toBe(0);
    } finally {
      await kubernetes.stop();
    }
    expect(await new LiveNomad(nomad).everything()).toEqual(before);
  });

  it('names only targets that the Makefile has, and every command in it is run by a test', () => {
    const makefile = readFileSync(join(ROOT, 'Makefile'), 'utf8');
    const named = [...readme.matchAll(/make ([a-z]+)/g)].map((m) => m[1] ?? '');
    for (const target of named) expect(makefile).toMatch(new RegExp(`^${target}:`, 'm'));
    expect(new Set(named)).toEqual(new Set(['demo', 'test', 'build', 'bench', 'steady']));
    expect(blocks.map((block) => block.tag)).toEqual([undefined, 'setup', 'user', 'follow', 'kubernetes']);
  });

  it('links only to files that are there', () => {
    for (const [, link] of readme.matchAll(/\]\(([^)h][^)]*)\)/g))
      expect(() => readFileSync(join(ROOT, link ?? ''))).not.toThrow(/ENOENT/);
  });

  it('make demo ends well', PATIENCE, () => {
    const { status, stdout, stderr } = spawnSync('make', ['demo'], {
      cwd: ROOT,
      encoding: 'utf8',
      env: cleanEnvironment(),
    });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('spec.roles.nomad-workloads.tokenPolicies');
    expect(stdout).toContain('6 of 6 ready');
  });

  it('make bench prints its figures, and an apply sends no request that a bare client would not', PATIENCE, () => {
    const env = cleanEnvironment({ BENCH_COUNT: '50', BENCH_ROUNDS: '1', BENCH_KUBERNETES: '50' });
    const { status, stdout, stderr } = spawnSync('make', ['bench'], { cwd: ROOT, encoding: 'utf8', env });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/^ {2}ratio +\d/m);
    expect(stdout).toMatch(/requests of such a plan +3 \(3 to 3\)/);
    expect(stdout).toMatch(/writes of an apply +100 \(100 to 100\)/);
    // On Kubernetes: of each resource the finalizer and the status, and after a restart nothing but the Lease.
    expect(stdout).toMatch(/writes of the operator .*\b50 × PATCH aclpolicies/);
    expect(stdout).toMatch(/writes of a restart +(none|\d+ × (PUT|POST) leases)$/m);
  });

  it('make steady prints what it costs when nothing changes, and nothing is written', PATIENCE, () => {
    const env = cleanEnvironment({ BENCH_COUNT: '200', BENCH_SECONDS: '20' });
    const { status, stdout, stderr } = spawnSync('make', ['steady'], { cwd: ROOT, encoding: 'utf8', env });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout.match(/^writes +0$/gm)).toHaveLength(2);
    // Within its interval Vault is swept once at least.
    expect(stdout).toMatch(/^requests to Vault, a second +(?!0\.0)/m);
    expect(stdout).toMatch(/^bytes for each resource more +\d+$/m);
  });
});
