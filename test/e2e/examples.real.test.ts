import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { cleanEnvironment, runCommand, type CommandResult } from '../servers/command.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { runBatch } from './jobs.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { Workspace } from './workspace.ts';

const EXAMPLES = join(import.meta.dirname, '../../manifests/examples');

describe.skipIf(!requireServers('nomad', 'vault'))('manifests/examples', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let live: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;
  let untouched: unknown;

  beforeAll(async () => {
    vault = await startVault();
    nomad = await startNomad({ vaultAddress: vault.address });
    live = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
    for (const name of ['team-blue', 'other']) expect((await nomad.run('namespace', 'apply', name)).code).toBe(0);
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));

  const everything = async (): Promise<unknown> => [
    await live.everything(),
    await liveVault.list('sys/policies/acl'),
    await liveVault.mounts(),
  ];

  beforeEach(async () => {
    untouched = await everything();
    workspace = new Workspace({ nomad, vault });
  });
  /** Whatever an example made is gone when it is destroyed. */
  afterEach(async () => {
    const { code, stdout, stderr } = await workspace.run('destroy', '-f', 'manifests', '-y');
    expect(code, stdout + stderr).toBe(0);
    workspace.dispose();
    expect(await everything()).toEqual(untouched);
  });

  async function applied(example: string): Promise<void> {
    cpSync(join(EXAMPLES, example), workspace.manifests, { recursive: true });
    const { code, stdout, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(code, stdout + stderr).toBe(0);
    const plan = await workspace.run('plan', '-f', 'manifests', '--detailed-exitcode');
    expect([plan.code, plan.stdout]).toEqual([0, expect.stringContaining('Nothing to do')]);
  }

  /** The nomad command line as whoever holds a token. */
  const as = (token: string, ...args: string[]): Promise<CommandResult> =>
    runCommand(nomad.bin, args, { env: cleanEnvironment({ NOMAD_ADDR: nomad.address, NOMAD_TOKEN: token }) });

  async function may(token: string, ...args: string[]): Promise<void> {
    const { code, stderr, stdout } = await as(token, ...args);
    expect([args, code, stderr + stdout]).toEqual([args, 0, expect.not.stringContaining('Permission denied')]);
  }
  async function mayNot(token: string, ...args: string[]): Promise<void> {
    const { code, stderr } = await as(token, ...args);
    expect([args, code, stderr]).toEqual([args, 1, expect.stringContaining('Permission denied')]);
  }
  const secretIn = (file: string): string => workspace.read(file).trim();

  /** A job that asks for more than there is, so that it can be submitted and never runs. */
  function jobFile(namespace: string): string {
    const name = `${namespace}.nomad.hcl`;
    workspace.write(
      `../${name}`,
      `job "waiting" {
  namespace = "${namespace}"
  group "main" {
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/true"
      }
      resources {
        memory = 99999999
      }
    }
  }
}`,
    );
    return join(workspace.folder, name);
  }
  const submit = (namespace: string): string[] => ['job', 'run', '-detach', jobFile(namespace)];

  /** By the workload identity of its tasks one job reads what another one may not. */
  async function readsTheBanner(job: string, other: string): Promise<void> {
    expect((await nomad.run('var', 'put', '-force', 'shared/banner', 'text=hello')).code).toBe(0);
    const ask = `NOMAD_ADDR=unix://$NOMAD_SECRETS_DIR/api.sock ${nomad.bin} var get -item=text shared/banner 2>&1 | grep -oE "hello|403"`;
    const identity = 'identity {\n        env = true\n      }';
    expect(await runBatch(live, job, ask, identity)).toBe('hello');
    expect(await runBatch(live, other, ask, identity)).toBe('403');
  }

  it('each is tried: here, by human-login.real.test.ts or by federation.real.test.ts', () => {
    const here = ['acl-guide', 'first-steps', 'secrets-engine', 'setup-vault', 'workload-identity'];
    const folders = readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).sort()).toEqual([...here, 'human-login', 'multi-region'].sort());
  });

  it('acl-guide: who looks may not write, who deploys may not drain, who has a team may not reach another', async () => {
    await applied('acl-guide');
    const dashboard = secretIn('secrets/dashboard.token');
    await may(dashboard, 'job', 'status', '-namespace', '*');
    await may(dashboard, 'node', 'status');
    await mayNot(dashboard, ...submit('default'));
    await mayNot(dashboard, 'acl', 'policy', 'apply', 'mine', jobFile('default'));

    const ci = secretIn('secrets/ci.token');
    await may(ci, ...submit('default'));
    await may(ci, 'job', 'status', 'waiting');
    await mayNot(ci, ...submit('other'));
    await mayNot(ci, 'node', 'status');
    await mayNot(ci, 'namespace', 'apply', 'mine');

    const lead = secretIn('secrets/team-lead.token');
    await may(lead, ...submit('team-blue'));
    await may(lead, 'var', 'put', '-namespace', 'team-blue', 'config/web', 'a=b');
    await may(lead, 'var', 'get', '-namespace', 'team-blue', 'config/web');
    await mayNot(lead, ...submit('default'));
    await mayNot(lead, 'var', 'put', '-namespace', 'other', 'config/web', 'a=b');
    for (const namespace of ['default', 'team-blue'])
      await nomad.run('job', 'stop', '-purge', '-detach', '-namespace', namespace, 'waiting');
  });

  it('acl-guide: who keeps the clients running sets nodes aside and sees the servers, and submits nothing', async () => {
    await applied('acl-guide');
    const made = await nomad.run('acl', 'token', 'create', '-policy=operations', '-json');
    const { AccessorID, SecretID } = JSON.parse(made.stdout) as { AccessorID: string; SecretID: string };
    const [node] = (await live.request<{ ID: string }[]>('GET', '/v1/nodes')).body;
    await may(SecretID, 'node', 'eligibility', '-disable', node?.ID ?? '');
    await may(SecretID, 'node', 'eligibility', '-enable', node?.ID ?? '');
    await may(SecretID, 'server', 'members');
    await may(SecretID, 'operator', 'autopilot', 'get-config');
    await mayNot(SecretID, ...submit('default'));
    await mayNot(SecretID, 'job', 'status');
    await nomad.run('acl', 'token', 'delete', AccessorID);
  });

  it('first-steps: who looks may not write, who deploys may, and the tasks of one job read its variables', async () => {
    await applied('first-steps');
    const dashboard = secretIn('secrets/dashboard.token');
    await may(dashboard, 'job', 'status');
    await mayNot(dashboard, ...submit('default'));
    const ci = secretIn('secrets/ci.token');
    await may(ci, ...submit('default'));
    await mayNot(ci, ...submit('other'));
    await nomad.run('job', 'stop', '-purge', '-detach', 'waiting');
    await readsTheBanner('web', 'else');
    await vault.run('kv', 'put', '-mount=secret', 'default/first/config', 'word=first-word');
    const template = `vault {}
      template {
        data        = "{{ with secret \\"secret/data/default/first/config\\" }}{{ .Data.data.word }}{{ end }}"
        destination = "local/word"
      }`;
    expect(await runBatch(live, 'first', 'cat local/word', template)).toBe('first-word');
  });

  it('setup-vault: a task reads what is its job’s, and nothing that is another one’s', async () => {
    await applied('setup-vault');
    for (const job of ['mine', 'theirs'])
      await vault.run('kv', 'put', '-mount=secret', `default/${job}/config`, `word=${job}-word`);
    const read = (job: string): string => `vault {}
      template {
        data        = "{{ with secret \\"secret/data/default/${job}/config\\" }}{{ .Data.data.word }}{{ end }}"
        destination = "local/word"
      }`;
    expect(await runBatch(live, 'mine', 'cat local/word', read('mine'))).toBe('mine-word');
    const ask = (path: string): string =>
      `${vault.bin} read secret/data/default/${path} 2>&1 | grep -oE "permission denied|No value found"`;
    const env = `vault {}\n      env {\n        VAULT_ADDR = "${vault.address}"\n      }`;
    const answers = await runBatch(live, 'asks', `${ask('theirs/config')}; ${ask('asks/config')}`, env);
    expect(answers.split('\n')).toEqual(['permission denied', 'No value found']);
  });

  it('workload-identity: only the tasks of the job that is named hold the policy', async () => {
    await applied('workload-identity');
    await readsTheBanner('web', 'else');
    const company = 'secret/data/company/billing';
    await vault.run('kv', 'put', '-mount=secret', 'company/billing', 'word=billing-word');
    const bill = (role: string): string => `vault {
        role = "${role}"
      }
      template {
        data        = "{{ with secret \\"${company}\\" }}{{ .Data.data.word }}{{ end }}"
        destination = "local/word"
      }`;
    expect(await runBatch(live, 'billing', 'cat local/word', bill('billing'))).toBe('billing-word');
  });

  it('secrets-engine: Vault gives out tokens that may do what their role says, until the lease ends', async () => {
    await applied('secrets-engine');
    const lease = async (role: string): Promise<{ id: string; token: string }> => {
      const { code, stdout, stderr } = await vault.run('read', '-format=json', `nomad/creds/${role}`);
      expect(code, stderr).toBe(0);
      const { lease_id: id, data } = JSON.parse(stdout) as { lease_id: string; data: { secret_id: string } };
      return { id, token: data.secret_id };
    };
    const { token: readonly } = await lease('readonly');
    await may(readonly, 'node', 'status');
    await mayNot(readonly, ...submit('default'));

    const pipeline = await lease('deploy');
    await may(pipeline.token, ...submit('default'));
    await mayNot(pipeline.token, ...submit('other'));
    await mayNot(pipeline.token, 'node', 'status');
    await nomad.run('job', 'stop', '-purge', '-detach', 'waiting');
    expect((await vault.run('lease', 'renew', pipeline.id)).code).toBe(0);
    await may(pipeline.token, 'job', 'status');
    expect((await vault.run('lease', 'revoke', '-sync', pipeline.id)).code).toBe(0);
    await mayNot(pipeline.token, 'job', 'status');

    const { token: admin } = await lease('namespace-admin');
    await may(admin, 'var', 'put', '-namespace', 'team-blue', 'config/db', 'a=b');
    await may(admin, 'var', 'purge', '-namespace', 'team-blue', 'config/db');
    await mayNot(admin, 'var', 'put', '-namespace', 'other', 'config/db', 'a=b');
  });
});
