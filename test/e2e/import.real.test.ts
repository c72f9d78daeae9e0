import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad } from './live.ts';
import { nomadSetupVault } from './nomad-setup-vault.ts';
import { Workspace, type PlanOutput } from './workspace.ts';

const COUNT = 1000;
const ENGINE_TOKEN = { Name: 'of Vault', Type: 'management' };
const BARE = join(import.meta.dirname, '../bench/bare.mjs');

describe.skipIf(!requireServers('nomad', 'vault'))('import of a cluster that others have filled', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let live: LiveNomad;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad, vault });
    const env = { ...process.env, NOMAD_ADDR: nomad.address, NOMAD_TOKEN: nomad.token, BENCH_COUNT: String(COUNT) };
    const filled = spawnSync(process.execPath, [BARE, 'create'], { env, encoding: 'utf8' });
    expect([filled.status, filled.stderr]).toEqual([0, '']);
    const setup = await nomadSetupVault(nomad, vault, `${nomad.address}/.well-known/jwks.json`);
    expect(setup.code, setup.stderr).toBe(0);
    const engineToken = (await live.request<{ SecretID: string }>('POST', '/v1/acl/token', ENGINE_TOKEN)).body.SecretID;
    for (const args of [
      ['secrets', 'enable', 'nomad'],
      ['write', 'nomad/config/access', `address=${nomad.address}`, `token=${engineToken}`],
      ['write', 'nomad/config/lease', 'ttl=1h', 'max_ttl=4h'],
      ['write', 'nomad/role/reader', 'policies=bench-1'],
    ])
      expect((await vault.run(...args)).code).toBe(0);
    expect((await vault.run('read', 'nomad/creds/reader')).code).toBe(0);
    await live.request('PUT', '/v1/acl/policy/Job-Policy', {
      Name: 'Job-Policy',
      Rules: '# tabs\tand\r\nlines\nnamespace "a" {\n\tpolicy = "read"\n}'.replace('lines\n', ''),
      JobACL: { Namespace: 'default', JobID: 'web', Group: 'api', Task: 'main' },
    });
    await nomad.run(
      'acl',
      'role',
      'create',
      '-name=On-Call',
      '-description=at  night',
      '-policy=bench-1',
      '-policy=bench-0',
    );
    for (const body of [
      { Name: 'admin', Type: 'management', Global: true },
      { Name: 'same name', Type: 'client', Policies: ['bench-0', 'gone', 'gone'] },
      { Name: 'same name', Type: 'client', Policies: ['bench-1'], ExpirationTTL: '3h' },
      { Name: '', Type: 'client', Policies: ['bench-2'] },
      { Name: 'night', Type: 'client', Roles: [{ Name: 'On-Call' }], Policies: ['bench-2'] },
      { Name: 'n'.repeat(256), Type: 'client', Policies: ['bench-3'] },
    ])
      expect((await live.request('POST', '/v1/acl/token', body)).status).toBe(200);
    await nomad.run(
      ...['acl', 'auth-method', 'create', '-name=CI', '-type=JWT', '-max-token-ttl=1h30m', '-token-locality=global'],
      `-config=${JSON.stringify({ JWKSURL: 'http://127.0.0.1:9/', BoundAudiences: ['a', 'b'], ClockSkewLeeway: 9e10, ListClaimMappings: { 'https://a/groups': 'groups' } })}`,
    );
    for (const rule of [
      [
        '-bind-type=role',
        '-bind-name=team-${value.team}',
        '-selector="ops" in list.groups',
        `-description=Two  spaces ${'d'.repeat(244)}`,
      ],
      ['-bind-type=policy', '-bind-name=bench-1'],
      ['-bind-type=policy', '-bind-name=bench-1', '-selector=value.a == "b"'],
      ['-bind-type=management', '-selector="admins" in list.groups'],
    ])
      expect((await nomad.run('acl', 'binding-rule', 'create', '-auth-method=CI', ...rule)).code).toBe(0);
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  /** With the indexes that any write moves, but for a token that we made. */
  const lists = async (): Promise<unknown[]> =>
    Promise.all(
      ['policies', 'roles', 'tokens', 'auth-methods', 'binding-rules'].map(async (list) => {
        const { body } = await live.request<{ Name?: string }[]>('GET', `/v1/acl/${list}`);
        return body.filter(({ Name }) => Name?.includes(' [na:') !== true);
      }),
    );

  it('gives manifests of which a plan over the same servers says nothing to do, but to give the engine a token of its own', async () => {
    const before = await lists();
    const { code, stdout, stderr } = await workspace.run('import', '--out', 'found');
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /AclPolicy: 1001\nAclRole: 1\nAclToken: 1006\nAclAuthMethod: 1\nAclBindingRule: 4\nVaultJwtIntegration: 1\nVaultNomadSecretsEngine: 1\nVaultNomadRole: 1\n/,
      ),
    ]);
    expect(stderr.trim().split('\n').sort()).toEqual([
      expect.stringMatching(/^left out: AclToken Bootstrap Token \([^)]*\) on default: it is the token that/),
      expect.stringMatching(/^left out: AclToken n{256} on default: no manifest can say it: spec.name /),
      expect.stringMatching(/^left out: AclToken vault-reader-.* on default: Vault’s Nomad secrets engine made it/),
      expect.stringMatching(/^look at found\/acl-tokens\/same-name.*yaml: It ends at .*: delete this manifest then/),
      expect.stringMatching(/^look at found\/vault-nomad-secrets-engines\/nomad.yaml: Vault does not tell which/),
    ]);
    const plan = await workspace.run('plan', '-f', 'found', '-o', 'json');
    const { steps, summary } = JSON.parse(plan.stdout) as PlanOutput;
    const standing = 1001 + 1 + 1006 + 1 + 4 + 4;
    expect(summary).toMatchObject({ noop: standing + 3, create: 1, update: 1, replace: 0, delete: 0, refuse: 0 });
    const told = (kind: string): boolean => kind !== 'VaultNomadSecretsEngine';
    const outline = new Set(steps.filter((s) => told(s.kind)).map((s) => `${s.action} ${s.reason}`));
    expect(outline).toEqual(new Set(['noop Adopted']));
    expect((await workspace.run('apply', '-f', 'found', '-y')).code).toBe(0);
    expect(await lists(), 'taking over writes nothing').toEqual(before);
    expect((await workspace.run('plan', '-f', 'found', '--detailed-exitcode')).code).toBe(0);
    expect(existsSync(join(workspace.folder, 'found/vault-jwt-integrations/jwt-nomad.yaml'))).toBe(true);
  });

  it('writes no secret', async () => {
    const tokens = await Promise.all((await live.tokens()).slice(0, 50).map((t) => live.token(t.AccessorID)));
    const all = spawnSync('grep', ['-rhoE', '[0-9a-f-]{36}', join(workspace.folder, 'found')], { encoding: 'utf8' });
    const found = new Set(all.stdout.split('\n'));
    expect(found.size).toBeGreaterThan(1000);
    for (const { SecretID } of tokens) expect(found.has(String(SecretID))).toBe(false);
  });
});
