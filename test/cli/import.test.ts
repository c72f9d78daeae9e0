import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { startSandbox } from '../../src/sandbox/index.ts';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';

const RULES = 'namespace "default" {\n  policy = "read"\n}\n';
const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

describe('import', () => {
  const setting = useSandbox();
  let nomad: LiveNomad;
  let workspace: Workspace;

  beforeEach(() => {
    nomad = new LiveNomad(setting.sandbox.nomad);
    workspace = setting.workspace;
  });

  const token = (body: object): Promise<unknown> =>
    nomad.request('POST', '/v1/acl/token', { Type: 'client', Policies: ['one'], ...body });
  const imported = (...args: string[]): ReturnType<Workspace['run']> =>
    workspace.run('import', '--out', 'found', ...args);
  const files = (): string[] =>
    readdirSync(join(workspace.folder, 'found'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.yaml'))
      .sort();
  const reasons = async (): Promise<string[]> => {
    const { stdout } = await workspace.run('plan', '-f', 'found', '-o', 'json');
    const { steps } = JSON.parse(stdout) as { steps: { action: string; reason: string }[] };
    return [...new Set(steps.map(({ action, reason }) => `${action} ${reason}`))];
  };

  it('makes manifests of all that is there, of which a plan says nothing to do', async () => {
    await nomad.putPolicy('one', RULES);
    await nomad.request('PUT', '/v1/acl/policy/Two', {
      Name: 'Two',
      Description: 'for a job',
      Rules: RULES,
      JobACL: { Namespace: 'default', JobID: 'web', Group: 'api' },
    });
    await token({ Name: 'ci' });
    await token({ Name: 'ci', Global: true, ExpirationTTL: '1h' });
    await nomad.request('POST', '/v1/acl/token', { Name: 'admin', Type: 'management' });
    await nomad.request('POST', '/v1/acl/role', {
      Name: 'On-Call',
      Description: 'at night',
      Policies: [{ Name: 'one' }, { Name: 'Two' }],
    });
    await token({ Name: 'night', Policies: null, Roles: [{ Name: 'On-Call' }] });
    const { code, stderr } = await imported();
    expect([code, stderr]).toEqual([0, expect.stringContaining('left out: AclToken Bootstrap Token')]);
    expect(files().map((file) => file.replace(/-[0-9a-f]{8}/, '-ID'))).toEqual([
      'acl-policies/one.yaml',
      'acl-policies/two.yaml',
      'acl-roles/on-call.yaml',
      'acl-tokens/admin.yaml',
      'acl-tokens/ci-ID.yaml',
      'acl-tokens/ci.yaml',
      'acl-tokens/night.yaml',
    ]);
    expect(await reasons()).toEqual(['noop Adopted']);
  });

  it('gives nothing away: no SecretID is in a manifest or in the output', async () => {
    await nomad.putPolicy('one', RULES);
    await token({ Name: 'ci' });
    await imported();
    const secrets = setting.sandbox.nomad.server.snapshot().tokens.map((t) => t.SecretID);
    const texts = [...workspace.printed, ...files().map((file) => workspace.read(`../found/${file}`))];
    for (const secret of secrets) expect(texts.filter((text) => text.includes(secret))).toEqual([]);
  });

  it('knows a token of ours by its marker, whose manifest was lost, and takes it over again', async () => {
    workspace.write('p.yaml', manifest('AclPolicy', 'one', `rules: 'node { policy = "read" }'`));
    workspace.write('t.yaml', manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { none: {} }'));
    expect((await workspace.apply()).code).toBe(0);
    const { stderr } = await imported('--kind', 'AclToken');
    expect(files()).toEqual(['acl-tokens/ci.yaml']);
    expect(stderr).toContain('look at found/acl-tokens/ci.yaml: Where its secret is kept is not known');
    expect(workspace.read('../found/acl-tokens/ci.yaml')).not.toContain('accessorId');
    expect(await reasons()).toEqual(['noop Adopted']);
  });

  it('leaves a token alone that another installation or another resource made', async () => {
    workspace.write('p.yaml', manifest('AclPolicy', 'one', `rules: 'node { policy = "read" }'`));
    workspace.write('t.yaml', manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { none: {} }'));
    expect((await workspace.apply()).code).toBe(0);
    const { stderr } = await imported('--kind', 'AclToken', '--owner', 'another');
    expect(stderr).toMatch(
      /left out: AclToken ci \[na:.*carries the marker of a resource of another name, namespace or/,
    );
  });

  it('says which role of a token was deleted, takes the token over as it is, and then without it', async () => {
    await nomad.putPolicy('one', RULES);
    const role = { Name: 'gone', Policies: [{ Name: 'one' }] };
    const { ID } = (await nomad.request<{ ID: string }>('POST', '/v1/acl/role', role)).body;
    await token({ Name: 'ci', Roles: [{ ID }] });
    await nomad.request('DELETE', `/v1/acl/role/${ID}`);
    const { stderr } = await imported('--kind', 'AclToken');
    const text = workspace.read('../found/acl-tokens/ci.yaml');
    expect(`${stderr}${text}`).toContain(`The role ${ID} was deleted`);
    workspace.write('ci.yaml', text);
    expect(await workspace.apply()).toMatchObject({ code: 0, steps: [{ action: 'noop', reason: 'Adopted' }] });
    workspace.write(
      'ci.yaml',
      text.replace(new RegExp(`^.*- ${ID}\n`, 'm'), '').replace(/roles:\n(?!\s*-)/, 'roles: []\n'),
    );
    expect(await workspace.apply()).toMatchObject({ code: 0, steps: [{ action: 'update' }] });
    const left = setting.sandbox.nomad.server.snapshot().tokens.find((t) => t.Name === 'ci');
    expect(left?.Roles ?? []).toEqual([]);
  });

  it('takes only the kinds and names that were asked for', async () => {
    for (const name of ['team-a', 'team-b', 'other']) await nomad.putPolicy(name, RULES);
    await token({ Name: 'team-a', Policies: ['team-a'] });
    expect((await imported('--kind', 'AclPolicy', '--name', 'team-*')).code).toBe(0);
    expect(files()).toEqual(['acl-policies/team-a.yaml', 'acl-policies/team-b.yaml']);
  });

  it('makes an integration of a JWT mount for workloads, and says why another one is none', async () => {
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads', 'path: jwt-team\nkvPath: kv'));
    expect((await workspace.apply()).code).toBe(0);
    const vault = new LiveVault(setting.sandbox.vault);
    await vault.request('POST', 'sys/auth/jwt-github', { type: 'jwt' });
    await vault.request('POST', 'auth/jwt-github/config', {
      jwt_validation_pubkeys: [],
      jwks_url: `${setting.sandbox.nomad.address}/.well-known/jwks.json`,
    });
    await vault.request('POST', 'auth/jwt-github/role/ci', {
      role_type: 'jwt',
      user_claim: 'repository',
      bound_audiences: ['x'],
    });
    const { code, stderr } = await imported('--kind', 'VaultJwtIntegration');
    expect(code).toBe(0);
    expect(files()).toEqual(['vault-jwt-integrations/jwt-team.yaml']);
    expect(stderr).toContain(
      'left out: VaultJwtIntegration jwt-github on default: none of its roles looks for a claim',
    );
    expect(await reasons()).toEqual(['noop Adopted']);
    expect(workspace.read('../found/vault-jwt-integrations/jwt-team.yaml')).toMatch(
      /spec:\n {2}path: jwt-team\n {2}kvPath: kv\n$/,
    );
  });

  it('makes an integration of a mount without a default role, which stays without one', async () => {
    const vault = new LiveVault(setting.sandbox.vault);
    await vault.request('POST', 'sys/auth/jwt-bare', { type: 'jwt' });
    await vault.request('POST', 'auth/jwt-bare/config', {
      jwks_url: `${setting.sandbox.nomad.address}/.well-known/jwks.json`,
    });
    await vault.request('PUT', 'sys/policies/acl/tasks', { policy: 'path "x" { capabilities = ["read"] }' });
    await vault.request('POST', 'auth/jwt-bare/role/tasks', {
      role_type: 'jwt',
      user_claim: 'nomad_job_id',
      bound_audiences: ['vault.io'],
      token_policies: ['tasks'],
    });
    expect((await imported('--kind', 'VaultJwtIntegration')).code).toBe(0);
    expect(workspace.read('../found/vault-jwt-integrations/jwt-bare.yaml')).toContain('defaultRole: ""');
    expect(await reasons()).toEqual(['noop Adopted']);
    const { stdout } = await workspace.run('agent-config', '-f', 'found');
    expect(stdout).toContain('create_from_role = "tasks"');
  });

  it('takes the connections that manifests declare, and refers to them', async () => {
    await nomad.putPolicy('one', RULES);
    const { address } = setting.sandbox.nomad;
    workspace.write(
      'nomad.yaml',
      manifest('NomadCluster', 'prod', `address: ${address}\nauth: { tokenEnv: NOMAD_TOKEN }`),
    );
    expect((await imported('-f', 'manifests', '--kind', 'AclPolicy', '--name', 'one')).code).toBe(0);
    expect(workspace.read('../found/acl-policies/one.yaml')).toContain('nomadRef: prod');
    const plan = await workspace.run('plan', '-f', 'manifests', '-f', 'found', '--state', 'state.json', '-o', 'json');
    expect((JSON.parse(plan.stdout) as { steps: { reason: string }[] }).steps.map((s) => s.reason)).toEqual([
      'Adopted',
    ]);
  });

  it('of several clusters and Vaults is one folder, in which the same names are told apart by the connection', async () => {
    const west = await startSandbox();
    const sides = { east: setting.sandbox, west };
    const fill = async ({ nomad: at, vault }: typeof west): Promise<void> => {
      const live = new LiveNomad(at);
      await live.putPolicy('one', RULES);
      await live.request('POST', '/v1/acl/token', { Name: 'ci', Type: 'client', Policies: ['one'] });
      const liveVault = new LiveVault(vault);
      for (const mount of ['team/nomad', 'team-nomad']) {
        await liveVault.request('POST', `sys/mounts/${mount}`, { type: 'nomad' });
        await liveVault.request('POST', `${mount}/config/access`, { address: at.address, token: at.token });
        await liveVault.request('POST', `${mount}/role/reader`, { policies: ['one'] });
      }
    };
    await Promise.all(Object.values(sides).map(fill));
    workspace.write(
      'connections.yaml',
      ...Object.entries(sides).flatMap(([name, side]) => [
        manifest('NomadCluster', name, `address: ${side.nomad.address}\nauth: { tokenEnv: NOMAD_${name} }`),
        manifest('VaultServer', name, `address: ${side.vault.address}\nauth: { tokenEnv: VAULT_${name} }`),
      ]),
    );
    const env = Object.fromEntries(
      Object.entries(sides).flatMap(([name, { nomad: n, vault }]) => [
        [`NOMAD_${name}`, n.token],
        [`VAULT_${name}`, vault.token],
      ]),
    );
    const allowed = [west.nomad.address, west.vault.address].flatMap((address) => ['--allow-address', address]);
    const run = (...args: string[]): ReturnType<Workspace['run']> =>
      workspace.start([...args, '-f', 'manifests', ...allowed], env).outcome;
    const { code, stderr } = await run('import', '--out', 'found');
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    expect(files()).toEqual([
      'acl-policies/one-west.yaml',
      'acl-policies/one.yaml',
      'acl-tokens/ci-west.yaml',
      'acl-tokens/ci.yaml',
      'vault-nomad-roles/reader-team-nomad-east-2.yaml',
      'vault-nomad-roles/reader-team-nomad-west-2.yaml',
      'vault-nomad-roles/reader-west.yaml',
      'vault-nomad-roles/reader.yaml',
      ...['east', 'west'].flatMap((side) => [
        `vault-nomad-secrets-engines/team-nomad-${side}-2.yaml`,
        `vault-nomad-secrets-engines/team-nomad-${side}.yaml`,
      ]),
    ]);
    const { stdout } = await run('plan', '-f', 'found', '--state', 'state.json', '-o', 'json');
    await west.close();
    const { steps } = JSON.parse(stdout) as { steps: { action: string; kind: string; reason: string }[] };
    // Vault does not tell an engine's management token: it gets one of its own.
    expect(new Set(steps.map((s) => `${s.action} ${s.kind} ${s.reason}`))).toEqual(
      new Set([
        'noop AclPolicy Adopted',
        'noop AclToken Adopted',
        'noop VaultNomadRole Adopted',
        'noop VaultNomadSecretsEngine Adopted',
        'create VaultNomadSecretsEngine New',
        'update VaultNomadSecretsEngine Adopted',
      ]),
    );
  });

  it('names another variable for each secret, so that none is sent to where another one belongs', async () => {
    for (const Name of ['sso', 'SSO', 'sso-2']) {
      const Config = { OIDCDiscoveryURL: 'http://127.0.0.1:9', OIDCClientID: Name, OIDCClientSecret: 'x'.repeat(32) };
      const body = { Name, Type: 'OIDC', TokenLocality: 'local', MaxTokenTTL: '1h', Config };
      expect((await nomad.request('PUT', `/v1/acl/auth-method/${Name}`, body)).status).toBe(200);
    }
    const vault = new LiveVault(setting.sandbox.vault);
    const { address, token: secret } = setting.sandbox.nomad;
    for (const mount of ['nomad', 'team/nomad']) {
      await vault.request('POST', `sys/mounts/${mount}`, { type: 'nomad' });
      const access = { address, token: secret, client_cert: CERTIFICATE, client_key: 'key' };
      expect((await vault.request('POST', `${mount}/config/access`, access)).status).toBe(204);
    }
    expect((await imported('--kind', 'AclAuthMethod', '--kind', 'VaultNomadSecretsEngine')).code).toBe(0);
    const named = files().flatMap((file) => workspace.read(`../found/${file}`).match(/(?<=env: )\w+/g) ?? []);
    expect(named.sort()).toEqual([
      'NOMAD_ACCESS_SECRET_NOMAD_CLIENT_KEY',
      'NOMAD_ACCESS_SECRET_SSO_2_2_OIDCCLIENTSECRET',
      'NOMAD_ACCESS_SECRET_SSO_2_OIDCCLIENTSECRET',
      'NOMAD_ACCESS_SECRET_SSO_OIDCCLIENTSECRET',
      'NOMAD_ACCESS_SECRET_TEAM_NOMAD_CLIENT_KEY',
    ]);
  });

  it('leaves out a token that has expired, and says of one that will when its manifest is to go', async () => {
    const past = await startSandbox({ clock: () => Date.now() - 2 * 3_600_000 });
    try {
      const live = new LiveNomad(past.nomad);
      for (const [Name, ExpirationTTL] of [
        ['over', '1h'],
        ['ending', '3h'],
      ])
        await live.request('POST', '/v1/acl/token', { Name, Type: 'client', Policies: ['one'], ExpirationTTL });
      workspace.retarget({ nomad: past.nomad });
      const { code, stderr } = await imported('--kind', 'AclToken');
      expect([code, files()]).toEqual([0, ['acl-tokens/ending.yaml']]);
      expect(stderr).toMatch(/left out: AclToken over \(.*\) on default: it expired at .*, and Nomad deletes it/);
      expect(stderr).toMatch(/ending\.yaml: It ends at .*: delete this manifest then/);
      expect(await reasons()).toEqual(['noop Adopted']);
    } finally {
      await past.close();
    }
  });

  it('takes tokens whatever they are called, and calls each what a manifest and a file may be called', async () => {
    const names = [
      '- a',
      'a: b # c',
      '"quoted\\',
      'two\nlines\r\n',
      '  ',
      '{{accessor}} ${x}',
      '☃',
      'null',
      '..',
      '../../up',
      '😀',
    ];
    for (const Name of [...names, ...names]) await token({ Name });
    const { code } = await imported('--kind', 'AclToken');
    expect([code, files().length]).toEqual([0, 2 * names.length]);
    for (const file of files()) expect(file).toMatch(/^acl-tokens\/[a-z0-9][a-z0-9.-]*\.yaml$/);
    expect(await reasons()).toEqual(['noop Adopted']);
  });

  it('overwrites nothing', async () => {
    await nomad.putPolicy('one', RULES);
    workspace.write('mine.yaml', '# mine');
    const { code, stderr } = await workspace.run('import', '--out', 'manifests');
    expect([code, stderr.trim()]).toEqual([
      1,
      'Error: manifests is not empty: name a new folder, nothing is overwritten',
    ]);
    expect(workspace.read('mine.yaml')).toBe('# mine');
  });

  it.each([
    [['--kind', 'AclPolice'], /--kind AclPolice: give one of AclPolicy, AclRole, AclToken/],
    [['-f', 'nowhere'], /^nowhere: there is no such file or folder/],
  ] as const)('%j is refused with what to do', async (args, text) => {
    const { code, stderr } = await imported(...args);
    expect([code, stderr]).toEqual([1, expect.stringMatching(text)]);
  });

  it('says so where a server is not asked, and fails where none is', async () => {
    const { sandbox } = setting;
    workspace.retarget({ nomad: sandbox.nomad });
    await nomad.putPolicy('one', RULES);
    const { code, stderr } = await imported();
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining('VaultServer is left out: neither a manifest declares'),
    ]);
    workspace.retarget({});
    const none = await workspace.run('import', '--out', 'elsewhere');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('nothing to look at')]);
  });

  it('is not content with a token that sees only part of what there is', async () => {
    await nomad.putPolicy('one', RULES);
    const client = await nomad.request<{ SecretID: string }>('POST', '/v1/acl/token', {
      Name: 'weak',
      Type: 'client',
      Policies: ['one'],
    });
    workspace.retarget({ nomad: { address: setting.sandbox.nomad.address, token: client.body.SecretID } });
    const { code, stderr } = await imported();
    expect([code, stderr]).toEqual([1, expect.stringContaining('give a management token')]);
  });
});
