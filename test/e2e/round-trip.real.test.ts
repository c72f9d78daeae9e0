import { chmodSync, cpSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

const RULES = 'rules: |\n  namespace "default" {\n    policy = "read"\n  }\n';
const ROLE = `roles:
  - name: tasks
    boundAudiences: [vault.io, other.io]
    claimMappings: { nomad_namespace: nomad_namespace, nomad_job_id: nomad_job_id }
    boundClaims: { nomad_namespace: [default, prod] }
    tokenPolicies: [default-tasks]
    tokenPeriod: 30m
policies:
  - name: default-tasks
    rules: |
      path "secret/data/{{identity.entity.aliases.{{accessor}}.metadata.nomad_job_id}}" { capabilities = ["read"] }
`;

describe.skipIf(!requireServers('nomad', 'vault'))('from manifests to the servers and back', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    liveNomad = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));
  beforeEach(() => {
    workspace = new Workspace({ nomad, vault });
  });
  afterEach(async () => {
    await workspace.destroy('--state', 'manifests/.nomad-access.state.json');
    workspace.dispose();
  });

  function declareAll(): void {
    workspace.write(
      'policy.yaml',
      manifest(
        'AclPolicy',
        'readonly',
        `description: looks only\n${RULES}jobAcl: { namespace: default, jobId: web, group: api }`,
      ),
    );
    workspace.write(
      'token.yaml',
      manifest(
        'AclToken',
        'dashboard',
        'policies: [readonly]\nexpirationTtl: 1h\nwriteSecretTo: { file: { path: secrets/dashboard } }',
      ),
    );
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', ROLE));
  }

  async function nothingToDo(): Promise<void> {
    const { code, stdout } = await workspace.run('plan', '-f', 'manifests', '--detailed-exitcode');
    expect(stdout).toContain('Nothing to do');
    expect(code).toBe(0);
  }

  it('a plan after an apply finds nothing to do, and says so by its exit code', async () => {
    declareAll();
    const before = await workspace.run('plan', '-f', 'manifests', '--detailed-exitcode');
    expect(before.code).toBe(2);
    expect((await workspace.apply()).code).toBe(0);
    await nothingToDo();
  });

  it('the examples apply, and a plan after it finds nothing to do', async () => {
    cpSync(join(import.meta.dirname, '../../manifests/examples/first-steps'), workspace.manifests, { recursive: true });
    expect((await workspace.apply()).code).toBe(0);
    await nothingToDo();
  });

  it('the secret in the file opens Nomad, with the rights of the policy and no more', async () => {
    declareAll();
    await workspace.apply();
    const secret = workspace.read('secrets/dashboard');
    expect(secret).toMatch(/^[0-9a-f-]{36}\n$/);
    const asDashboard = new LiveNomad({ address: nomad.address, token: secret.trim() });
    expect((await asDashboard.request('GET', '/v1/jobs')).status).toBe(200);
    expect((await asDashboard.request('GET', '/v1/acl/tokens')).status).toBe(403);
    expect((await asDashboard.request('DELETE', '/v1/job/none')).status).toBe(403);
  });

  it.each([
    ['seconds in place of a Go duration', ROLE.replace('tokenPeriod: 30m', 'tokenPeriod: 1800')],
    ['another Go spelling of the duration', ROLE.replace('tokenPeriod: 30m', 'tokenPeriod: 0h30m0s')],
    [
      'lists in another order',
      ROLE.replace('[vault.io, other.io]', '[other.io, vault.io]').replace('[default, prod]', '[prod, default]'),
    ],
    [
      'one string in place of a list of one',
      ROLE.replace('tokenPolicies: [default-tasks]', 'tokenPolicies: default-tasks'),
    ],
    [
      'keys in another order',
      ROLE.replace(
        '{ nomad_namespace: nomad_namespace, nomad_job_id: nomad_job_id }',
        '{ nomad_job_id: nomad_job_id, nomad_namespace: nomad_namespace }',
      ),
    ],
  ])('%s is no change', async (_what, spelling) => {
    declareAll();
    await workspace.apply();
    expect(spelling).not.toBe(ROLE);
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', spelling));
    await nothingToDo();
  });

  it('line ends, outer white space and 60m for 1h are no change', async () => {
    declareAll();
    await workspace.apply();
    workspace.write(
      'policy.yaml',
      manifest(
        'AclPolicy',
        'readonly',
        'description: looks only\nrules: "\\r\\nnamespace \\"default\\" {\\r\\n  policy = \\"read\\"\\r\\n}\\r\\n\\r\\n"\njobAcl: { group: api, jobId: web, namespace: default }',
      ),
    );
    workspace.write(
      'token.yaml',
      manifest(
        'AclToken',
        'dashboard',
        'policies: [readonly]\nexpirationTtl: 3600\nwriteSecretTo: { file: { path: ./secrets/dashboard } }',
      ),
    );
    await nothingToDo();
  });

  interface Drift {
    readonly field: string;
    readonly change: () => Promise<unknown>;
  }
  const token = async (): Promise<Record<string, unknown>> => {
    const stub = (await liveNomad.tokens()).find((t) => t.Name.startsWith('dashboard'));
    return liveNomad.token(stub?.AccessorID ?? '');
  };
  const changePolicy = (change: Record<string, unknown>) => async () => {
    const { body } = await liveNomad.request<Record<string, unknown>>('GET', '/v1/acl/policy/readonly');
    return liveNomad.request('PUT', '/v1/acl/policy/readonly', { ...body, ...change });
  };
  const changeToken = (change: Record<string, unknown>) => async () => {
    const whole = await token();
    return liveNomad.request('PUT', `/v1/acl/token/${String(whole['AccessorID'])}`, { ...whole, ...change });
  };
  const changeRole = (change: Record<string, unknown>) => () =>
    liveVault.request('POST', 'auth/jwt-nomad/role/tasks', {
      role_type: 'jwt',
      user_claim: '/nomad_job_id',
      ...change,
    });
  const changeConfig = (change: Record<string, unknown>) => async () => {
    const { jwks_url, jwt_supported_algs, default_role } = (await liveVault.data('auth/jwt-nomad/config')) ?? {};
    return liveVault.request('POST', 'auth/jwt-nomad/config', {
      jwks_url,
      jwt_supported_algs,
      default_role,
      ...change,
    });
  };
  const role = (field: string): string => `spec.roles.tasks.${field}`;

  const drifts: Drift[] = [
    { field: 'spec.description', change: changePolicy({ Description: 'changed' }) },
    { field: 'spec.rules', change: changePolicy({ Rules: 'namespace "default" { policy = "write" }' }) },
    {
      field: 'spec.jobAcl.namespace',
      change: changePolicy({ JobACL: { Namespace: 'other', JobID: 'web', Group: 'api' } }),
    },
    {
      field: 'spec.jobAcl.jobId',
      change: changePolicy({ JobACL: { Namespace: 'default', JobID: 'x', Group: 'api' } }),
    },
    {
      field: 'spec.jobAcl.group',
      change: changePolicy({ JobACL: { Namespace: 'default', JobID: 'web', Group: 'x' } }),
    },
    {
      field: 'spec.jobAcl.task',
      change: changePolicy({ JobACL: { Namespace: 'default', JobID: 'web', Group: 'api', Task: 't' } }),
    },
    { field: 'spec.name', change: changeToken({ Name: 'renamed by hand' }) },
    { field: 'spec.policies', change: changeToken({ Policies: ['readonly', 'more'] }) },
    { field: 'spec.type', change: changeToken({ Type: 'management', Policies: [] }) },
    { field: 'spec.supportedAlgs', change: changeConfig({ jwt_supported_algs: ['ES256'] }) },
    { field: 'spec.boundIssuer', change: changeConfig({ bound_issuer: 'somebody' }) },
    { field: 'spec.defaultRole', change: changeConfig({ default_role: 'another' }) },
    { field: 'spec.jwksUrl', change: () => changeConfig({ jwks_url: `${nomad.address}/.well-known/jwks.json?x=1` })() },
    {
      field: 'spec.policies.default-tasks.rules',
      change: () =>
        liveVault.request('POST', 'sys/policies/acl/default-tasks', {
          policy: 'path "secret/*" { capabilities = ["sudo"] }',
        }),
    },
    { field: role('boundAudiences'), change: changeRole({ bound_audiences: ['evil.io'] }) },
    { field: role('boundSubject'), change: changeRole({ bound_subject: 'me' }) },
    { field: role('boundClaims'), change: changeRole({ bound_claims: { nomad_namespace: 'x' } }) },
    { field: role('boundClaimsType'), change: changeRole({ bound_claims_type: 'glob' }) },
    { field: role('userClaim'), change: changeRole({ user_claim: '/nomad_task' }) },
    { field: role('userClaimJsonPointer'), change: changeRole({ user_claim_json_pointer: false }) },
    { field: role('groupsClaim'), change: changeRole({ groups_claim: 'groups' }) },
    { field: role('claimMappings'), change: changeRole({ claim_mappings: { a: 'b' } }) },
    { field: role('clockSkewLeeway'), change: changeRole({ clock_skew_leeway: 30 }) },
    { field: role('expirationLeeway'), change: changeRole({ expiration_leeway: 30 }) },
    { field: role('notBeforeLeeway'), change: changeRole({ not_before_leeway: 30 }) },
    { field: role('maxAge'), change: changeRole({ max_age: 30 }) },
    {
      field: role('roleType'),
      change: changeRole({ role_type: 'oidc', allowed_redirect_uris: ['http://127.0.0.1/x'] }),
    },
    { field: role('oidcScopes'), change: changeRole({ oidc_scopes: ['x'] }) },
    { field: role('allowedRedirectUris'), change: changeRole({ allowed_redirect_uris: ['http://127.0.0.1/x'] }) },
    { field: role('verboseOidcLogging'), change: changeRole({ verbose_oidc_logging: true }) },
    { field: role('tokenPolicies'), change: changeRole({ token_policies: ['root-like'] }) },
    { field: role('tokenTtl'), change: changeRole({ token_ttl: 60 }) },
    { field: role('tokenMaxTtl'), change: changeRole({ token_max_ttl: 600 }) },
    { field: role('tokenExplicitMaxTtl'), change: changeRole({ token_explicit_max_ttl: 600 }) },
    { field: role('tokenPeriod'), change: changeRole({ token_period: 60 }) },
    { field: role('tokenNoDefaultPolicy'), change: changeRole({ token_no_default_policy: true }) },
    { field: role('tokenNumUses'), change: changeRole({ token_num_uses: 3 }) },
    { field: role('tokenType'), change: changeRole({ token_type: 'default' }) },
    { field: role('tokenBoundCidrs'), change: changeRole({ token_bound_cidrs: ['10.0.0.0/8'] }) },
  ];

  const pathsOf = (plan: PlanOutput): string[] => plan.steps.flatMap((s) => s.changes.map((c) => c.path));

  it('a change by hand to any managed field shows with its path and is put back', async () => {
    declareAll();
    await workspace.apply();
    const before = [
      await liveNomad.request('GET', '/v1/acl/policy/readonly'),
      await liveVault.data('auth/jwt-nomad/role/tasks'),
    ];
    for (const { field, change } of drifts) {
      await change();
      const plan = await workspace.plan();
      expect(pathsOf(plan), field).toContain(field);
      expect(plan.summary['update'], field).toBe(1);
      expect((await workspace.apply()).code, field).toBe(0);
    }
    await nothingToDo();
    const { body: policy } = await liveNomad.request<Record<string, unknown>>('GET', '/v1/acl/policy/readonly');
    expect(policy).toMatchObject({ Rules: 'namespace "default" {\n  policy = "read"\n}\n', JobACL: { JobID: 'web' } });
    expect(withoutNulls(await liveVault.data('auth/jwt-nomad/role/tasks'))).toEqual(withoutNulls(before[1]));
  }, 600_000);

  it('a token that somebody gave other roles, or made immortal, is put right', async () => {
    await liveNomad.request('PUT', '/v1/acl/policy/more', { Name: 'more', Rules: '' });
    const links = [{ Name: 'more' }];
    const roles = await Promise.all(
      ['viewers', 'others'].map((Name) =>
        liveNomad.request<{ ID: string; Name: string }>('PUT', '/v1/acl/role', { Name, Policies: links }),
      ),
    );
    const spec = 'roles: [viewers]\nexpirationTtl: 1h\nwriteSecretTo: { file: { path: secrets/dashboard } }';
    workspace.write('token.yaml', manifest('AclToken', 'dashboard', spec));
    await workspace.apply();
    const first = await token();
    await changeToken({ Roles: [{ Name: 'others' }] })();
    expect(pathsOf(await workspace.plan())).toEqual(['spec.roles']);
    expect((await workspace.apply()).code).toBe(0);
    expect(await token()).toMatchObject({ AccessorID: first['AccessorID'], Roles: [{ Name: 'viewers' }] });
    await changeToken({ ExpirationTime: null })();
    expect((await token())['ExpirationTime']).toBeNull();
    const plan = await workspace.plan();
    expect(plan.summary).toMatchObject({ replace: 1, update: 1, delete: 1 });
    expect(pathsOf(plan)).toContain('spec.expirationTtl');
    expect((await workspace.apply()).code).toBe(0);
    const second = await token();
    expect(second['AccessorID']).not.toBe(first['AccessorID']);
    expect(second['ExpirationTime']).not.toBeNull();
    expect(workspace.read('secrets/dashboard').trim()).toBe(second['SecretID']);
    await nothingToDo();
    expect((await workspace.destroy()).code).toBe(0);
    for (const { body } of roles) await liveNomad.request('DELETE', `/v1/acl/role/${body.ID}`);
    await liveNomad.request('DELETE', '/v1/acl/policy/more');
  });

  it('a secret file that somebody overwrote, or let others read, is put right', async () => {
    declareAll();
    await workspace.apply();
    const path = join(workspace.manifests, 'secrets/dashboard');
    const secret = workspace.read('secrets/dashboard');
    for (const change of [
      () => {
        writeFileSync(path, 'mine');
      },
      () => {
        chmodSync(path, 0o644);
      },
    ]) {
      change();
      const plan = await workspace.plan();
      expect(pathsOf(plan)).toEqual(['spec.writeSecretTo.file']);
      expect(JSON.stringify(plan)).not.toContain(secret.trim());
      expect((await workspace.apply()).code).toBe(0);
      expect([workspace.read('secrets/dashboard'), statSync(path).mode & 0o777]).toEqual([secret, 0o600]);
    }
    await nothingToDo();
  });

  it('a file of somebody else’s is neither overwritten nor deleted, whatever the adoption policy', async () => {
    workspace.write('secrets/dashboard', 'precious');
    const spec = 'policies: [one]\nadoptionPolicy: Always\nwriteSecretTo: { file: { path: secrets/dashboard } }';
    workspace.write('token.yaml', manifest('AclToken', 'dashboard', spec));
    const { code, steps } = await workspace.apply();
    expect([code, steps.find((s) => s.object.startsWith('local'))?.reason]).toEqual([1, 'Conflict']);
    expect(workspace.read('secrets/dashboard')).toBe('precious');
    await workspace.destroy();
    expect(workspace.read('secrets/dashboard')).toBe('precious');
  });

  it('a token that the inventory lost is taken and replaced where its TTL was changed meanwhile', async () => {
    declareAll();
    await workspace.apply();
    const first = await token();
    workspace.remove('.nomad-access.state.json');
    workspace.write(
      'token.yaml',
      manifest(
        'AclToken',
        'dashboard',
        'policies: [readonly]\nexpirationTtl: 2h\nwriteSecretTo: { file: { path: secrets/dashboard } }',
      ),
    );
    const { code, steps } = await workspace.apply();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect(steps.filter((s) => s.object.includes('acl-token')).map((s) => `${s.action} ${s.reason}`)).toEqual([
      'noop Adopted',
      'replace Immutable',
    ]);
    const secret = workspace.read('secrets/dashboard').trim();
    expect(secret).not.toBe(first['SecretID']);
    expect((await workspace.apply()).steps.filter((s) => s.action !== 'noop').map((s) => s.action)).toEqual(['delete']);
    const remaining = (await liveNomad.tokens()).filter((t) => t.Name.startsWith('dashboard'));
    expect(remaining).toHaveLength(1);
    const second = await token();
    expect(second['AccessorID']).not.toBe(first['AccessorID']);
    expect(second['SecretID']).toBe(secret);
    await nothingToDo();
  });

  it('a client token as operator is refused: to it, all policies but its own would look deleted', async () => {
    declareAll();
    await workspace.apply();
    const whole = { Name: 'weak', Type: 'client', Policies: ['readonly'] };
    const weak = (await liveNomad.request<{ AccessorID: string; SecretID: string }>('POST', '/v1/acl/token', whole))
      .body;
    workspace.retarget({ nomad: { address: nomad.address, token: weak.SecretID }, vault });
    workspace.remove('policy.yaml');
    const { code, steps } = await workspace.apply();
    const policy = steps.find((s) => s.object === 'default/acl-policy/readonly');
    expect([code, policy?.action, policy?.reason]).toEqual([1, 'refuse', 'Denied']);
    expect(policy?.message).toContain('give a management token');
    workspace.retarget({ nomad, vault });
    await liveNomad.request('DELETE', `/v1/acl/token/${weak.AccessorID}`);
    expect((await workspace.apply()).summary).toMatchObject({ delete: 1 });
  });

  it('a changed token keeps its expiration', async () => {
    declareAll();
    await workspace.apply();
    const { ExpirationTime, SecretID } = await token();
    await changeToken({ Policies: ['more'] })();
    await workspace.apply();
    expect(await token()).toMatchObject({ ExpirationTime, SecretID, Policies: ['readonly'] });
  });

  it('an object deleted by hand is made again, and a deleted secret is written again', async () => {
    declareAll();
    await workspace.apply();
    const first = await token();
    await liveNomad.request('DELETE', `/v1/acl/token/${String(first['AccessorID'])}`);
    await liveNomad.request('DELETE', '/v1/acl/policy/readonly');
    await liveVault.request('DELETE', 'auth/jwt-nomad/role/tasks');
    expect((await workspace.apply()).code).toBe(0);
    const second = await token();
    expect(second['AccessorID']).not.toBe(first['AccessorID']);
    expect(workspace.read('secrets/dashboard').trim()).toBe(second['SecretID']);
    rmSync(join(workspace.manifests, 'secrets/dashboard'));
    expect((await workspace.apply()).code).toBe(0);
    expect(workspace.read('secrets/dashboard').trim()).toBe(second['SecretID']);
    await nothingToDo();
  });

  it('a field that Nomad cannot change in place replaces the token: new secret first, old token last', async () => {
    declareAll();
    await workspace.apply();
    const first = await token();
    workspace.write(
      'token.yaml',
      manifest(
        'AclToken',
        'dashboard',
        'policies: [readonly]\nglobal: true\nexpirationTtl: 1h\nwriteSecretTo: { file: { path: secrets/dashboard } }',
      ),
    );
    const plan = await workspace.plan();
    expect(plan.summary).toMatchObject({ replace: 1, delete: 1, update: 1 });
    expect((await workspace.apply()).code).toBe(0);
    const tokens = (await liveNomad.tokens()).filter((t) => t.Name.startsWith('dashboard'));
    expect(tokens).toHaveLength(1);
    const second = await token();
    expect(second['Global']).toBe(true);
    expect(second['AccessorID']).not.toBe(first['AccessorID']);
    expect(workspace.read('secrets/dashboard').trim()).toBe(second['SecretID']);
    await nothingToDo();
  });

  it('a removed file deletes what it declared and nothing else', async () => {
    declareAll();
    await workspace.apply();
    workspace.remove('token.yaml');
    const { steps } = await workspace.apply();
    expect(steps.filter((s) => s.action === 'delete').map((s) => s.object.split('/')[1])).toEqual([
      'acl-token',
      'file',
    ]);
    expect((await liveNomad.tokens()).map((t) => t.Name)).toEqual(['Bootstrap Token']);
    expect((await liveNomad.request('GET', '/v1/acl/policy/readonly')).status).toBe(200);
    expect(() => workspace.read('secrets/dashboard')).toThrow(/ENOENT/);
  });

  it('deletionPolicy Orphan leaves the object where it is', async () => {
    workspace.write('policy.yaml', manifest('AclPolicy', 'kept', `${RULES}deletionPolicy: Orphan`));
    await workspace.apply();
    workspace.remove('policy.yaml');
    workspace.write('other.yaml', manifest('AclPolicy', 'other', RULES));
    const { steps } = await workspace.apply();
    expect(steps.find((s) => s.object === 'default/acl-policy/kept')).toMatchObject({
      action: 'noop',
      reason: 'Orphaned',
    });
    expect((await liveNomad.request('DELETE', '/v1/acl/policy/kept')).status).toBe(200);
  });

  it('suspend stops everything, deletion too', async () => {
    workspace.write('policy.yaml', manifest('AclPolicy', 'paused', RULES));
    await workspace.apply();
    workspace.write('policy.yaml', manifest('AclPolicy', 'paused', `${RULES}suspend: true`));
    await workspace.apply();
    await liveNomad.request('PUT', '/v1/acl/policy/paused', { Name: 'paused', Rules: '' });
    expect((await workspace.apply()).steps).toMatchObject([{ action: 'noop', reason: 'Suspended' }]);
    workspace.remove('policy.yaml');
    workspace.write('other.yaml', manifest('AclPolicy', 'other', RULES));
    await workspace.apply();
    expect((await liveNomad.request('GET', '/v1/acl/policy/paused')).status).toBe(200);
    workspace.write('policy.yaml', manifest('AclPolicy', 'paused', RULES));
    expect((await workspace.apply()).code).toBe(0);
  });

  it('destroy leaves both servers as they were, object by object', async () => {
    const before = [await liveNomad.everything(), await liveVault.everything()];
    declareAll();
    await workspace.apply();
    expect([await liveNomad.everything(), await liveVault.everything()]).not.toEqual(before);
    expect((await workspace.destroy()).code).toBe(0);
    expect([await liveNomad.everything(), await liveVault.everything()]).toEqual(before);
  });
});

/** What was never set reads back as null, what was cleared as an empty list: both mean the same to Vault. */
function withoutNulls(role: unknown): unknown {
  return Object.fromEntries(Object.entries(role as object).map(([field, value]) => [field, value ?? []]));
}
