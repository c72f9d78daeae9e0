import { spawnSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { cleanEnvironment } from '../servers/command.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { startOperator, type RunningOperator } from './running.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

const POLICY = manifest('AclPolicy', 'readonly', `rules: 'namespace "default" { policy = "read" }'`);
const ENGINE = manifest('VaultNomadSecretsEngine', 'nomad', 'lease: { ttl: 1h, maxTtl: 8h }');
const ROLE = manifest('VaultNomadRole', 'deploy', 'engine: nomad\npolicies: [readonly]');
const CERTIFICATE = '-----BEGIN CERTIFICATE-----';
const TASK = { Name: 'x', Driver: 'raw_exec', Config: { command: 'true' } };
const JOB = { ID: 'x', Name: 'x', Type: 'batch', TaskGroups: [{ Name: 'x', Tasks: [TASK] }] };
const PATIENCE = { timeout: 60_000, interval: 100 };

/** What `vault read nomad/creds/...` gives. */
interface Lease {
  readonly lease_id: string;
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly data: { readonly accessor_id: string; readonly secret_id: string };
}

describe.skipIf(!requireServers('nomad', 'vault'))('the Nomad secrets engine of Vault', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;
  let operator: RunningOperator | undefined;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    liveNomad = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));
  beforeEach(() => {
    workspace = new Workspace({ nomad, vault });
    workspace.write('policy.yaml', POLICY);
    workspace.write('engine.yaml', ENGINE);
    workspace.write('role.yaml', ROLE);
  });
  afterEach(async () => {
    await operator?.stop();
    operator = undefined;
    await liveVault.request('PUT', 'sys/leases/revoke-force/nomad/creds');
    await liveVault.request('DELETE', 'sys/mounts/nomad');
    await liveNomad.clear();
    for (const text of workspace.printed) expect(text).not.toContain(nomad.token);
    workspace.dispose();
  });

  /** The `vault` command, as a person uses it. */
  function command(...args: string[]): { status: number | null; stdout: string; stderr: string } {
    const env = cleanEnvironment({ VAULT_ADDR: vault.address, VAULT_TOKEN: vault.token, HOME: '/nonexistent' });
    return spawnSync(vault.bin, args, { env, encoding: 'utf8' });
  }
  function lease(role = 'deploy'): Lease {
    const { status, stdout, stderr } = command('read', '-format=json', `nomad/creds/${role}`);
    expect(status, stderr).toBe(0);
    return JSON.parse(stdout) as Lease;
  }
  const asToken = async (secret: string, method: string, path: string, body?: unknown): Promise<number> => {
    const reply = await fetch(`${nomad.address}${path}`, {
      method,
      headers: { 'x-nomad-token': secret },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return reply.status;
  };
  const managementTokens = async (): Promise<{ AccessorID: string; Name: string }[]> =>
    (await liveNomad.tokens()).filter((t) => t.Type === 'management' && t.Name !== 'Bootstrap Token');
  const wrong = ({ steps }: PlanOutput): unknown[] =>
    steps.filter((s) => s.action === 'refuse' || (s.result && !['done', 'unchanged'].includes(s.result.status)));

  async function applied(): Promise<void> {
    const output = await workspace.apply();
    expect(wrong(output)).toEqual([]);
    expect(output.code).toBe(0);
  }
  async function nothingToDo(): Promise<void> {
    const output = await workspace.plan('--detailed-exitcode');
    expect(output.steps.filter((s) => s.action !== 'noop')).toEqual([]);
    expect(output.code).toBe(0);
  }
  async function leftNothing(): Promise<void> {
    expect(await liveVault.data('sys/mounts')).not.toHaveProperty('nomad/');
    expect(await liveVault.list('sys/leases/lookup/nomad/creds')).toEqual([]);
    expect((await liveNomad.tokens()).map((t) => t.Name)).toEqual(['Bootstrap Token']);
    expect(workspace.isRecorded()).toBe(false);
  }

  it('gives out tokens that may do what the role says and no more, for as long as their lease lives', async () => {
    await applied();
    await nothingToDo();
    const { data, lease_id, lease_duration, renewable } = lease();
    expect({ lease_duration, renewable }).toEqual({ lease_duration: 3600, renewable: true });
    expect(await asToken(data.secret_id, 'GET', '/v1/jobs')).toBe(200);
    expect(await asToken(data.secret_id, 'PUT', '/v1/jobs', { Job: JOB })).toBe(403);
    expect(command('lease', 'renew', '-increment=10m', lease_id).stdout).toContain('10m');
    expect(command('lease', 'revoke', '-sync', lease_id).status).toBe(0);
    expect(await asToken(data.secret_id, 'GET', '/v1/jobs')).toBe(403);
  });

  it('its management token is marked, is on Nomad once, and is in no output, inventory or plan', async () => {
    await applied();
    const [token, ...others] = await managementTokens();
    expect(others).toEqual([]);
    expect(token?.Name).toMatch(/^nomad \[na:[a-z2-7]{16}\.1\]$/);
    const secret = String((await liveNomad.token(token?.AccessorID ?? ''))['SecretID']);
    for (const text of [...workspace.printed, JSON.stringify(workspace.inventory())])
      expect(text).not.toContain(secret);
  });

  it('goes with every lease, its roles and its token', async () => {
    await applied();
    const { data } = lease();
    const { steps, code } = await workspace.destroy();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect(steps.find((s) => s.object === 'default/secrets-mount/nomad')?.message).toContain('revokes 1 lease');
    expect(await asToken(data.secret_id, 'GET', '/v1/jobs')).toBe(403);
    await leftNothing();
  });

  it('stays whole while Nomad does not know the token of a lease any more, and says what to do', async () => {
    await applied();
    const { data } = lease();
    await liveNomad.request('DELETE', `/v1/acl/token/${data.accessor_id}`);
    const refused = await workspace.destroy();
    expect(refused.code).toBe(1);
    const mount = refused.steps.find((s) => s.object === 'default/secrets-mount/nomad');
    expect(mount?.result?.message).toContain('vault lease revoke -force -prefix nomad/creds');
    expect(await liveVault.data('nomad/config/access')).toMatchObject({ address: nomad.address });
    expect(await managementTokens()).toHaveLength(1);

    expect(command('lease', 'revoke', '-force', '-prefix', 'nomad/creds').status).toBe(0);
    expect((await workspace.destroy()).code).toBe(0);
    await leftNothing();
  });

  it('that somebody could only half disable says so and what to do, and is made anew then', async () => {
    await applied();
    const { data } = lease();
    await liveNomad.request('DELETE', `/v1/acl/token/${data.accessor_id}`);
    expect(command('secrets', 'disable', 'nomad').status).not.toBe(0);
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    for (const object of ['nomad-access/nomad', 'nomad-lease/nomad'])
      expect(steps.find((s) => s.object === `default/${object}`)?.result?.message).toMatch(
        /nomad is half disabled.*\(vault lease revoke -force -prefix nomad; vault secrets disable nomad\)/,
      );
    expect(command('lease', 'revoke', '-force', '-prefix', 'nomad').status).toBe(0);
    command('secrets', 'disable', 'nomad');
    await applied();
    lease();
    await nothingToDo();
    expect(await managementTokens()).toHaveLength(1);
  });

  it('a role that is moved to another engine is refused, and says which field it is', async () => {
    await applied();
    workspace.write('other.yaml', manifest('VaultNomadSecretsEngine', 'other', 'path: other'));
    workspace.write('role.yaml', ROLE.replace('engine: nomad', 'engine: other'));
    const { steps } = await workspace.plan();
    expect(steps.find((s) => s.kind === 'VaultNomadRole')).toMatchObject({
      reason: 'Immutable',
      message: expect.stringContaining('spec.engine') as string,
    });
  });

  it('is put back whatever somebody changes by hand, and gets a new token when its own was deleted', async () => {
    await applied();
    const often = `address: ${vault.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: 1s`;
    workspace.write('vault.yaml', manifest('VaultServer', 'default', often));
    operator = await startOperator(['--source', 'directory', '-f', 'manifests'], workspace.environment(), {
      cwd: workspace.folder,
    });
    const [token] = await managementTokens();
    await liveVault.request('PUT', 'nomad/role/deploy', { type: 'client', policies: ['other'], global: true });
    await liveVault.request('PUT', 'nomad/config/lease', { ttl: 60 });
    await liveVault.request('PUT', 'nomad/config/access', { address: 'http://127.0.0.1:1', max_token_name_length: 20 });
    await liveNomad.request('DELETE', `/v1/acl/token/${token?.AccessorID ?? ''}`);
    await vi.waitFor(async () => {
      expect(await liveVault.data('nomad/role/deploy')).toEqual({
        type: 'client',
        policies: ['readonly'],
        global: false,
      });
      expect(await liveVault.data('nomad/config/lease')).toEqual({ ttl: 3600, max_ttl: 28_800 });
      expect(await liveVault.data('nomad/config/access')).toMatchObject({
        address: nomad.address,
        max_token_name_length: 0,
      });
      expect(await managementTokens()).toHaveLength(1);
      expect(command('read', 'nomad/creds/deploy').status).toBe(0);
    }, PATIENCE);
    await liveVault.request('PUT', 'sys/leases/revoke-prefix/nomad/creds');
    await liveVault.request('DELETE', 'sys/mounts/nomad');
    await vi.waitFor(() => {
      expect(command('read', 'nomad/creds/deploy').status).toBe(0);
    }, PATIENCE);
    expect(await operator.stop()).toBe(0);
    operator = undefined;
    await nothingToDo();
  });

  it('is found again after the inventory is lost: with the same token, handed over once more', async () => {
    await applied();
    const before = await managementTokens();
    workspace.remove('.nomad-access.state.json');
    await applied();
    await nothingToDo();
    expect(await managementTokens()).toEqual(before);
    lease();
  });

  it('is taken over from the vault command where all that Vault tells is equal, and then has a token of ours', async () => {
    const theirs = (
      await liveNomad.request<{ AccessorID: string; SecretID: string }>('POST', '/v1/acl/token', {
        Name: 'by hand',
        Type: 'management',
      })
    ).body;
    command('secrets', 'enable', 'nomad');
    command('write', 'nomad/config/access', `address=${nomad.address}`, `token=${theirs.SecretID}`);
    command('write', 'nomad/config/lease', 'ttl=1h', 'max_ttl=8h');
    command('write', 'nomad/role/deploy', 'policies=readonly');
    const planned = await workspace.plan();
    expect(planned.steps.filter((s) => s.reason === 'Adopted').map((s) => `${s.action} ${s.object}`)).toEqual([
      'noop default/secrets-mount/nomad',
      'update default/nomad-access/nomad',
      'noop default/nomad-lease/nomad',
      'noop default/nomad-role/nomad/deploy',
    ]);
    await applied();
    expect(await managementTokens()).toHaveLength(2);
    await liveNomad.request('DELETE', `/v1/acl/token/${theirs.AccessorID}`);
    lease();
    await nothingToDo();
  });

  it.each([
    ['its address', 'nomad/config/access', { address: 'http://127.0.0.1:1', token: 'x' }],
    ['its leases', 'nomad/config/lease', { ttl: 5, max_ttl: 6 }],
  ])('is left alone where somebody else made it with %s different: nothing is made on Nomad', async (_, path, body) => {
    await liveVault.request('PUT', 'sys/mounts/nomad', { type: 'nomad' });
    await liveVault.request('PUT', path, body);
    const before = await liveVault.data(path);
    const output = await workspace.apply();
    expect(output.code).toBe(1);
    expect(output.steps.find((s) => s.object === 'default/secrets-mount/nomad')).toMatchObject({ reason: 'Conflict' });
    expect(await liveVault.data(path)).toEqual(before);
    expect(await managementTokens()).toEqual([]);
    expect(await liveVault.list('nomad/role')).toEqual([]);
    workspace.write('engine.yaml', ENGINE.replace('spec:', 'spec:\n  adoptionPolicy: Always'));
    await applied();
    lease();
  });

  it('does not take the place of another secrets engine at its path', async () => {
    await liveVault.request('PUT', 'sys/mounts/nomad', { type: 'kv' });
    const output = await workspace.apply();
    expect(output.code).toBe(1);
    expect(output.steps.find((s) => s.object === 'default/secrets-mount/nomad')?.action).toBe('refuse');
    expect(await managementTokens()).toEqual([]);
  });

  it('stays, with its token, while it carries roles of others', async () => {
    await applied();
    await liveVault.request('PUT', 'nomad/role/theirs', { policies: ['readonly'] });
    const { steps, code } = await workspace.destroy();
    expect(code).toBe(1);
    expect(steps.find((s) => s.object === 'default/secrets-mount/nomad')?.message).toContain('theirs');
    expect(await managementTokens()).toHaveLength(1);
    lease('theirs');
    await liveVault.request('DELETE', 'nomad/role/theirs');
    await liveVault.request('PUT', 'sys/leases/revoke-prefix/nomad/creds');
    expect((await workspace.destroy()).code).toBe(0);
    await leftNothing();
  });

  it('a role goes from client to management and back', async () => {
    await applied();
    workspace.write('role.yaml', manifest('VaultNomadRole', 'deploy', 'engine: nomad\ntype: management\nglobal: true'));
    await applied();
    expect(await asToken(lease().data.secret_id, 'GET', '/v1/acl/tokens')).toBe(200);
    workspace.write('role.yaml', ROLE);
    await applied();
    expect(await asToken(lease().data.secret_id, 'GET', '/v1/acl/tokens')).toBe(403);
    await nothingToDo();
  });

  it('a role without its engine waits, and says for what', async () => {
    workspace.remove('engine.yaml');
    const output = await workspace.apply();
    expect(output.code).toBe(1);
    const role = output.steps.find((s) => s.kind === 'VaultNomadRole');
    expect(role).toMatchObject({ action: 'refuse', reason: 'Waiting' });
    expect(role?.message).toContain('there is no VaultNomadSecretsEngine default/nomad');
  });

  it('an engine declared later brings its waiting roles along', async () => {
    workspace.remove('engine.yaml');
    operator = await startOperator(['--source', 'directory', '-f', 'manifests'], workspace.environment(), {
      cwd: workspace.folder,
    });
    await vi.waitFor(async () => {
      expect(await liveNomad.policyNames()).toContain('readonly');
    }, PATIENCE);
    workspace.write('engine.yaml', ENGINE);
    await vi.waitFor(() => {
      expect(command('read', 'nomad/creds/deploy').status).toBe(0);
    }, PATIENCE);
  });

  it('needs the grant of management tokens, without which nothing of it is made', async () => {
    const cluster = `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }\ngrants: {}`;
    workspace.write('cluster.yaml', manifest('NomadCluster', 'default', cluster));
    const output = await workspace.apply();
    expect(output.code).toBe(1);
    expect(output.steps.find((s) => s.object.includes('/acl-token/'))).toMatchObject({ reason: 'NotGranted' });
    expect(await managementTokens()).toEqual([]);
    workspace.write(
      'cluster.yaml',
      manifest('NomadCluster', 'default', `${cluster.slice(0, -2)}{ managementTokens: true }`),
    );
    await applied();
    workspace.write(
      'role.yaml',
      manifest('VaultNomadRole', 'deploy', 'engine: nomad\npolicies: [readonly]\nglobal: true'),
    );
    expect((await workspace.plan()).steps.find((s) => s.kind === 'VaultNomadRole')?.message).toContain(
      'grants.globalTokens',
    );
  });

  it('gets no management token as long as Vault can’t get it', async () => {
    const access = `access: { clientCert: "${CERTIFICATE}", clientKey: { env: NOMAD_ACCESS_SECRET_NOWHERE } }`;
    workspace.write('engine.yaml', manifest('VaultNomadSecretsEngine', 'nomad', access));
    const { code, steps } = await workspace.apply();
    expect([code, steps.find((s) => s.object.includes('/acl-token/'))]).toMatchObject([
      1,
      { reason: 'Blocked', message: expect.stringContaining('NOMAD_ACCESS_SECRET_NOWHERE') as string },
    ]);
    expect(await managementTokens()).toEqual([]);
    workspace.write('engine.yaml', ENGINE);
    await applied();
    expect(await managementTokens()).toHaveLength(1);
  });

  it('that has nothing about leases is as one that leaves them to Vault', async () => {
    const { body } = await liveNomad.request<{ SecretID: string }>('POST', '/v1/acl/token', { Type: 'management' });
    command('secrets', 'enable', 'nomad');
    command('write', 'nomad/config/access', `address=${nomad.address}`, `token=${body.SecretID}`);
    workspace.write('engine.yaml', manifest('VaultNomadSecretsEngine', 'nomad'));
    const lease = (output: PlanOutput): unknown => output.steps.find((s) => s.object === 'default/nomad-lease/nomad');
    expect(lease(await workspace.plan())).toMatchObject({ action: 'noop', reason: 'Adopted' });
    await applied();
    await nothingToDo();
    workspace.write('engine.yaml', ENGINE);
    await applied();
    expect(await liveVault.data('nomad/config/lease')).toEqual({ ttl: 3600, max_ttl: 28_800 });
    workspace.write('engine.yaml', manifest('VaultNomadSecretsEngine', 'nomad'));
    await applied();
    expect(await liveVault.data('nomad/config/lease')).toEqual({ ttl: 0, max_ttl: 0 });
    await nothingToDo();
    await workspace.destroy();
  });

  it('that the vault command made is imported with its roles: only its management token is made and handed over', async () => {
    for (const file of ['policy.yaml', 'engine.yaml', 'role.yaml']) workspace.remove(file);
    await liveNomad.putPolicy('readonly', 'namespace "default" { policy = "read" }');
    const theirs = (await liveNomad.request<{ SecretID: string }>('POST', '/v1/acl/token', { Type: 'management' }))
      .body;
    for (const [what, ...args] of [
      ['secrets', 'enable', '-path=team/nomad', 'nomad'],
      ['write', 'team/nomad/config/access', `address=${nomad.address}`, `token=${theirs.SecretID}`],
      ['write', 'team/nomad/config/lease', 'ttl=1h', 'max_ttl=4h'],
      ['write', 'team/nomad/role/Reader', 'policies=readonly'],
      ['write', 'team/nomad/role/admin', 'type=management', 'global=true'],
    ])
      expect(command(what ?? '', ...args).status).toBe(0);
    const before = JSON.parse(command('read', '-format=json', 'team/nomad/creds/Reader').stdout) as Lease;
    const { code, stderr } = await workspace.run(
      'import',
      '--out',
      'found',
      '--kind',
      'VaultNomadSecretsEngine',
      '--kind',
      'VaultNomadRole',
    );
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('gets one of its own');
    const args = ['-f', 'found', '-o', 'json'];
    const outline = (out: string): string[] =>
      (JSON.parse(out) as PlanOutput).steps
        .map((s) => `${s.action} ${s.object.replace(/ \[.*/, '')} ${s.reason}`)
        .sort();
    expect(outline((await workspace.run('plan', ...args)).stdout)).toEqual([
      'create default/acl-token/team/nomad New',
      'noop default/nomad-lease/team/nomad Adopted',
      'noop default/nomad-role/team/nomad/Reader Adopted',
      'noop default/nomad-role/team/nomad/admin Adopted',
      'noop default/secrets-mount/team/nomad Adopted',
      'update default/nomad-access/team/nomad Adopted',
    ]);
    expect((await workspace.run('apply', '-f', 'found', '-y')).code).toBe(0);
    expect((await workspace.run('plan', ...args, '--detailed-exitcode')).code).toBe(0);
    expect(await asToken(before.data.secret_id, 'GET', '/v1/jobs')).toBe(200);
    expect(command('lease', 'revoke', '-sync', before.lease_id).status).toBe(0);
    expect(await asToken(before.data.secret_id, 'GET', '/v1/jobs')).toBe(403);
    expect((await workspace.run('destroy', '-f', 'found', '-y')).code).toBe(0);
  });
});
