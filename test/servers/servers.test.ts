import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from './binaries.ts';
import { makeCertificates } from './certificates.ts';
import { askServer } from './http.ts';
import { type KubernetesServer, startKubernetes } from './kubernetes.ts';
import { type NomadServer, startNomad } from './nomad.ts';
import { startVault } from './vault.ts';

// If one of these fails, what the suites on real servers say about the product means nothing.

const BATCH_JOB = `
job "hello" {
  type = "batch"
  group "hello" {
    task "hello" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo hello from $NOMAD_TASK_NAME"]
      }
    }
  }
}`;

// Runs on when its agent is gone, as any task of Nomad does.
const LONG_JOB = `
job "long" {
  group "long" {
    task "long" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo $$ >$NOMAD_ALLOC_DIR/pid; exec sleep 3600"]
      }
    }
  }
}`;

/** Whether a process exists; signal 0 only asks. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'servers-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe.skipIf(!requireServers('nomad'))('startNomad', () => {
  it('starts an agent that knows its bootstrap token, and stop leaves neither process nor files', async () => {
    const nomad = await startNomad({ client: false, region: 'elsewhere' });
    const headers = { 'X-Nomad-Token': nomad.token };
    const self = await askServer(`${nomad.address}/v1/agent/self`, { headers });
    const token = await askServer(`${nomad.address}/v1/acl/token/self`, { headers });
    const version = await nomad.run('version');
    await nomad.stop();
    expect(self.body).toMatchObject({
      config: { Region: 'elsewhere', Version: { Version: expect.any(String) as string } },
    });
    expect(version.stdout).toContain(
      (self.body as { config: { Version: { Version: string } } }).config.Version.Version,
    );
    expect(token.body).toMatchObject({ AccessorID: nomad.accessorId, Type: 'management' });
    expect(isAlive(nomad.pid)).toBe(false);
    expect(existsSync(nomad.dataDir)).toBe(false);
  });

  it('a second start on the same data is a restart: same token, same objects, same ports', async () => {
    const dataDir = join(directory, 'nomad');
    const first = await startNomad({ client: false, dataDir });
    await first.run('namespace', 'apply', 'kept');
    await first.stop();
    const second = await startNomad({ client: false, dataDir, ports: first.ports });
    const namespaces = await second.run('namespace', 'list');
    await second.stop();
    expect(second.address).toBe(first.address);
    expect(second.token).toBe(first.token);
    expect(namespaces.stdout).toContain('kept');
  });

  it('extra configuration is merged over its own', async () => {
    const nomad = await startNomad({
      client: false,
      config: 'server {\n  default_scheduler_config {\n    pause_eval_broker = true\n  }\n}',
    });
    const scheduler = await nomad.run('operator', 'scheduler', 'get-config');
    await nomad.stop();
    expect(scheduler.stdout).toMatch(/Pause Eval Broker\s*=\s*true/);
  });

  it('says what the server said when it does not start', async () => {
    await expect(startNomad({ client: false, config: 'nonsense = true' })).rejects.toThrow(/nonsense/);
  });

  it('asks for a client certificate where mTLS is on', async () => {
    const { caFile, server } = makeCertificates(join(directory, 'tls'));
    const nomad = await startNomad({ client: false, tls: { caFile, ...server, verifyHttpsClient: true } });
    const members = await nomad.run('server', 'members');
    const outsider = askServer(`${nomad.address}/.well-known/jwks.json`);
    await expect(outsider).rejects.toThrow();
    await nomad.stop();
    expect(nomad.address).toMatch(/^https:/);
    expect(members.stdout).toContain('alive');
  });
});

describe.skipIf(!requireServers('nomad'))('startNomad with a client', () => {
  let nomad: NomadServer;
  beforeAll(async () => {
    nomad = await startNomad();
  });
  afterAll(() => nomad.stop());

  const allocation = async (job: string): Promise<{ ID: string; ClientStatus: string } | undefined> => {
    const headers = { 'X-Nomad-Token': nomad.token };
    const { body } = await askServer(`${nomad.address}/v1/job/${job}/allocations`, { headers });
    return (body as { ID: string; ClientStatus: string }[])[0];
  };
  const runJob = async (name: string, specification: string): Promise<void> => {
    const body = { JobHCL: specification, Canonicalize: true };
    const headers = { 'X-Nomad-Token': nomad.token };
    const parsed = await askServer(`${nomad.address}/v1/jobs/parse`, { method: 'POST', headers, body });
    const job = { Job: parsed.body };
    const answer = await askServer(`${nomad.address}/v1/job/${name}`, { method: 'POST', headers, body: job });
    expect(answer.status).toBe(200);
  };

  it('runs a raw_exec batch job to its end', async () => {
    await runJob('hello', BATCH_JOB);
    await expect.poll(async () => (await allocation('hello'))?.ClientStatus, { timeout: 30_000 }).toBe('complete');
    const logs = await nomad.run('alloc', 'logs', (await allocation('hello'))?.ID ?? '', 'hello');
    expect(logs.stdout).toBe('hello from hello\n');
  });

  it.runIf(process.platform === 'linux')(
    'stop ends the tasks that Nomad would leave running, and removes their mounts',
    async () => {
      await runJob('long', LONG_JOB);
      await expect.poll(async () => (await allocation('long'))?.ClientStatus, { timeout: 30_000 }).toBe('running');
      const task = (await allocation('long'))?.ID ?? '';
      const pidFile = join(nomad.dataDir, 'alloc', task, 'alloc', 'pid');
      await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8')).toMatch(/^\d+\n$/);
      // Empty for a process that has ended, also while nobody has collected its exit code yet.
      const commandLine = `/proc/${readFileSync(pidFile, 'utf8').trim()}/cmdline`;
      const runs = (): boolean => existsSync(commandLine) && readFileSync(commandLine, 'utf8').includes('sleep');
      expect(runs()).toBe(true);
      await nomad.stop();
      await expect.poll(runs).toBe(false);
      expect(existsSync(nomad.dataDir)).toBe(false);
    },
  );
});

describe.skipIf(!requireServers('vault'))('startVault', () => {
  it.each(['inmem', 'file'] as const)(
    '%s: answers as Vault, with the token asked for and KV at secret/',
    async (storage) => {
      const vault = await startVault({ storage, rootToken: `root-of-${storage}` });
      const health = await askServer(`${vault.address}/v1/sys/health`);
      await vault.run('kv', 'put', 'secret/greeting', 'text=hello');
      const read = await vault.run('kv', 'get', '-field=text', 'secret/greeting');
      const version = await vault.run('version');
      await vault.stop();
      expect(health.body).toMatchObject({ initialized: true, sealed: false });
      expect(version.stdout).toContain(`v${(health.body as { version: string }).version}`);
      expect(vault.token).toBe(`root-of-${storage}`);
      expect(read.stdout).toContain('hello');
      expect(isAlive(vault.pid)).toBe(false);
    },
  );

  it.each(['inmem', 'file'] as const)('%s: seals and unseals', async (storage) => {
    const vault = await startVault({ storage });
    await vault.seal();
    const sealed = await askServer(`${vault.address}/v1/sys/health`);
    await vault.unseal();
    const unsealed = await askServer(`${vault.address}/v1/sys/health`);
    await vault.stop();
    expect([sealed.status, unsealed.status]).toEqual([503, 200]);
  });

  it('a second start on the same data is a restart: same token, same secrets', async () => {
    const dataDir = join(directory, 'vault');
    const first = await startVault({ storage: 'file', dataDir });
    await first.run('kv', 'put', 'secret/greeting', 'text=hello');
    await first.stop();
    const second = await startVault({ storage: 'file', dataDir, port: Number(new URL(first.address).port) });
    const read = await second.run('kv', 'get', '-field=text', 'secret/greeting');
    await second.stop();
    expect(second.address).toBe(first.address);
    expect(second.token).toBe(first.token);
    expect(read.stdout).toContain('hello');
  });
});

describe.skipIf(!requireServers('nomad', 'vault'))('startNomad with vaultAddress', () => {
  it('has found Vault when it is ready, so that jobs with a vault block are placed', async () => {
    const vault = await startVault();
    const nomad = await startNomad({ vaultAddress: vault.address });
    const node = await nomad.run('node', 'status', '-self', '-verbose');
    await nomad.stop();
    await vault.stop();
    expect(node.stdout).toMatch(/vault\.accessible\s*=\s*true/);
  });
});

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('startKubernetes', () => {
  let kubernetes: KubernetesServer;
  beforeAll(async () => {
    kubernetes = await startKubernetes();
  });
  afterAll(() => kubernetes.stop());

  it('is Kubernetes, of a version that kubectl accepts', async () => {
    const { stdout, code } = await kubernetes.kubectl('version');
    expect(code).toBe(0);
    expect(stdout).toMatch(/Server Version: v1\.\d+\.\d+/);
  });

  it('stores what is applied', async () => {
    const input = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'x' },
      data: { key: 'value' },
    });
    const applied = await kubernetes.kubectl('apply', '-f', '-', { input });
    const read = await kubernetes.kubectl('get', 'configmap', 'x', '-o', 'jsonpath={.data.key}');
    expect(applied.stderr).toBe('');
    expect(read.stdout).toBe('value');
  });

  it('applies RBAC: a service account may nothing by itself', async () => {
    await kubernetes.kubectl('create', 'serviceaccount', 'nobody');
    const as = '--as=system:serviceaccount:default:nobody';
    const { stdout } = await kubernetes.kubectl('auth', 'can-i', 'list', 'secrets', as);
    expect(stdout.trim()).toBe('no');
    const token = await kubernetes.kubectl('create', 'token', 'nobody');
    expect(token.stdout.split('.')).toHaveLength(3);
  });

  it('stop ends both processes', async () => {
    await kubernetes.stop();
    expect([kubernetes.pid, kubernetes.etcdPid].filter(isAlive)).toEqual([]);
  });
});
