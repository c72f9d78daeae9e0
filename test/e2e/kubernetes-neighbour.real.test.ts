import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, HOME, policy, resource, until, useCluster, type Cluster } from './cluster.ts';
import { startGateway } from './gateway.ts';
import { ask, ASK, conditionOf, patch, policyWith, token, untilShown } from './kubernetes-objects.ts';
import type { RunningOperator } from './running.ts';

const COLLECTIONS = '/apis/nomad-access.io/v1alpha1/namespaces/default';
/** Vault gives lists that are empty back as null. */
const EMPTY_LISTS = `roles:
  - name: plain
    boundSubject: somebody
    boundAudiences: []
    boundClaims: {}
    claimMappings: {}
    oidcScopes: []
    allowedRedirectUris: []
    tokenPolicies: []
    tokenBoundCidrs: []`;

/** What other operators for Vault and Nomad do wrong. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('unlike others, it', () => {
  const rig = useCluster();
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  it('gives a policy to one of two resources that stand for it, and the other one can come and go', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policyWith('first', ['name: shared']));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'first');
    await cluster.apply(policyWith('second', ['name: shared'], 'write'));
    const conflict = await cluster.untilReason('Conflict', 'aclpolicy', 'second');
    expect(conditionOf(conflict)).toMatchObject({ status: 'False' });
    expect(conditionOf(conflict)?.message).toContain('AclPolicy default/first');
    await cluster.kubectl('delete', 'aclpolicy', 'second', '--timeout=60s');
    expect(await cluster.liveNomad.rulesOf('shared')).toContain('read');
    expect(conditionOf(await cluster.get('aclpolicy', 'first'))?.reason).toBe('InSync');
  });

  it('gives a role to one of two resources that stand for it, declared together, and then to the other one', async () => {
    const { cluster } = rig;
    const roles = async (): Promise<{ ID: string; Name: string; Description: string }[]> =>
      (await cluster.liveNomad.request<{ ID: string; Name: string; Description: string }[]>('GET', '/v1/acl/roles'))
        .body;
    await cluster.connect();
    await cluster.liveNomad.putPolicy('read', 'namespace "default" { policy = "read" }');
    await cluster.apply(
      resource('AclRole', 'first', 'name: shared\npolicies: [read]\ndescription: ours'),
      resource('AclRole', 'second', 'name: shared\npolicies: [read]\ndescription: ours'),
    );
    await cluster.operator();
    await cluster.waitReady('aclrole', 'first');
    expect(conditionOf(await cluster.untilReason('Conflict', 'aclrole', 'second'))?.message).toContain(
      'AclRole default/first',
    );
    const made = await roles();
    expect(made).toMatchObject([{ Name: 'shared', Description: 'ours' }]);
    await cluster.kubectl('delete', 'aclrole', 'first', '--timeout=60s');
    await cluster.untilReason('InSync', 'aclrole', 'second');
    expect(await roles(), 'those who have it keep it').toEqual(made);
    await cluster.kubectl('delete', 'aclrole', 'second', '--timeout=60s');
    expect(await roles()).toEqual([]);
  });

  it('gives a mount to one of two integrations, and the other one can come and go', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(resource('VaultJwtIntegration', 'first', '{}'));
    await cluster.operator();
    await cluster.waitReady('vaultjwtintegration', 'first');
    const before = await cluster.liveVault.everything();
    await cluster.apply(resource('VaultJwtIntegration', 'second', 'kvPath: other'));
    await cluster.untilReason('Conflict', 'vaultjwtintegration', 'second');
    await cluster.kubectl('delete', 'vaultjwtintegration', 'second', '--timeout=60s');
    expect(await cluster.liveVault.everything()).toEqual(before);
    // Deleting the one that has it, while the other one waits for it: the mount, and all who logged in by it, stay.
    await cluster.apply(resource('VaultJwtIntegration', 'second', '{}'));
    await cluster.untilReason('Conflict', 'vaultjwtintegration', 'second');
    await cluster.kubectl('delete', 'vaultjwtintegration', 'first', '--timeout=60s');
    await cluster.untilReason('InSync', 'vaultjwtintegration', 'second');
    expect(await cluster.liveVault.everything()).toEqual(before);
  });

  it.each([
    ['aclpolicy', 'readonly'],
    ['acltoken', 'ci'],
  ])('takes no other name for an %s that exists: admission refuses it, and says what to do', async (kind, name) => {
    const { cluster } = rig;
    await cluster.apply(policyWith('readonly', ['name: live']), token('ci', ['readonly'], ['name: live']));
    for (const changed of ['another', null]) {
      const change = JSON.stringify({ spec: { name: changed } });
      const { code, stderr } = await cluster.kubernetes.kubectl('patch', kind, name, '--type=merge', '-p', change);
      expect(code).not.toBe(0);
      expect(stderr).toContain('name is immutable: delete the resource and create another one');
    }
  });

  it('leaves alone what was there before, and different: it is neither overwritten nor deleted', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.liveNomad.putPolicy('readonly', 'namespace "default" { policy = "write" }');
    await cluster.liveVault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    await cluster.liveVault.request('POST', 'auth/jwt-nomad/config', {
      jwks_url: `${cluster.nomad.address}/.well-known/jwks.json`,
      bound_issuer: 'somebody',
    });
    await cluster.liveVault.request('POST', 'auth/jwt-nomad/role/nomad-workloads', {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: ['theirs'],
    });
    const [nomad, vault] = [await cluster.liveNomad.everything(), await cluster.liveVault.everything()];
    await cluster.apply(policy('readonly'), resource('VaultJwtIntegration', 'workloads', '{}'));
    await cluster.operator();
    await cluster.untilReason('Conflict', 'aclpolicy', 'readonly');
    const conflict = await cluster.untilReason('Conflict', 'vaultjwtintegration', 'workloads');
    expect(conditionOf(conflict, 'Stalled')?.status).toBe('True');
    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=60s');
    await cluster.kubectl('delete', 'vaultjwtintegration', 'workloads', '--timeout=60s');
    expect(await cluster.liveNomad.everything()).toEqual(nomad);
    expect(await cluster.liveVault.everything()).toEqual(vault);
  });

  it('does not write again and again what the servers give back as null: empty lists', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(
      policyWith('readonly', ['description: ""']),
      token('ci', ['readonly'], ['roles: []']),
      resource('AclToken', 'all', 'type: management\npolicies: []\nroles: []\nwriteSecretTo: { none: {} }'),
      resource('VaultJwtIntegration', 'workloads', EMPTY_LISTS),
      connection('NomadCluster', 'default', cluster.nomad.address, 'nomad', 'grants: { managementTokens: true }'),
    );
    const operator = await cluster.operator();
    const kinds = [
      ['aclpolicies', 'readonly'],
      ['acltokens', 'ci'],
      ['acltokens', 'all'],
      ['vaultjwtintegrations', 'workloads'],
    ] as const;
    for (const [kind, name] of kinds) await cluster.waitReady(kind, name);
    const before = await writes(operator);
    for (let i = 0; i < 5; i++)
      for (const [kind, name] of kinds) await answered(cluster, kind, name, `request ${String(i)}`);
    expect(await writes(operator)).toBe(before);
    for (const [kind, name] of kinds) expect((await cluster.get(kind, name))?.status?.lastDrift).toBeUndefined();
    // And a new operator finds nothing to do either.
    expect(await operator.stop()).toBe(0);
    const next = await cluster.operator();
    for (const [kind, name] of kinds) await answered(cluster, kind, name, 'to the next one');
    expect(await writes(next)).toBe(0);
  });

  it('destroys what a resource made before it failed', async () => {
    const { cluster } = rig;
    const gateway = await startGateway(cluster.vault.address);
    undo.push(() => gateway.close());
    gateway.decide(({ path, method }) => (path.includes('/role/') && method !== 'GET' ? 403 : 'pass'));
    await cluster.connect({ vault: gateway.address });
    await cluster.apply(
      resource('VaultJwtIntegration', 'workloads', `jwksUrl: ${cluster.nomad.address}/.well-known/jwks.json`),
      resource('AclPolicy', 'wrong', `rules: 'namespace "default" { policy = "nonsense" }'`),
      policy('right'),
    );
    await cluster.operator();
    await cluster.untilReason('Denied', 'vaultjwtintegration', 'workloads');
    expect(await cluster.liveVault.mounts()).toContain('jwt-nomad/');
    await cluster.untilReason('Rejected', 'aclpolicy', 'wrong');
    await cluster.waitReady('aclpolicy', 'right');
    await patch(cluster, 'aclpolicy', 'right', { spec: { rules: 'namespace "default" { policy = "nonsense" }' } });
    await cluster.untilReason('Rejected', 'aclpolicy', 'right');
    for (const name of ['wrong', 'right']) await cluster.kubectl('delete', 'aclpolicy', name, '--timeout=60s');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
    // The role can still not be touched: what was made of the rest goes all the same.
    await cluster.kubectl('delete', 'vaultjwtintegration', 'workloads', '--timeout=60s');
    expect(await cluster.liveVault.mounts()).toEqual(['token/']);
    expect((await cluster.liveVault.list('sys/policies/acl')).sort()).toEqual(['default', 'nomad-access', 'root']);
  });

  it('keeps the same few connections, logins and tokens over 5,000 passes', { timeout: 300_000 }, async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(await byAppRole(cluster));
    const policies = Array.from({ length: 40 }, (_, i) => `p${String(i)}`);
    const tokens = Array.from({ length: 9 }, (_, i) => `t${String(i)}`);
    await cluster.apply(
      ...policies.map((name) => policy(name)),
      ...tokens.map((name) => token(name, ['p0'])),
      resource('VaultJwtIntegration', 'workloads', '{}'),
    );
    const operator = await cluster.operator();
    const paths = [
      ...policies.map((name) => `${COLLECTIONS}/aclpolicies/${name}`),
      ...tokens.map((name) => `${COLLECTIONS}/acltokens/${name}`),
      `${COLLECTIONS}/vaultjwtintegrations/workloads`,
    ];
    const rounds = async (count: number, name: string): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const asked = `${name} ${String(i)}`;
        const change = { metadata: { annotations: { [ASK.reconcile]: asked } } };
        await Promise.all(paths.map((path) => ask(cluster, 'PATCH', path, change)));
        // All of a round must have been answered, or two requests would be one pass.
        await until(`all have answered ${asked}`, () => allAnswered(cluster, asked));
      }
    };
    await rounds(5, 'to warm up');
    const [sockets, made, before] = [socketsOf(operator.pid), await writes(operator), await held(cluster)];
    const passes = await passesOf(operator);
    await rounds(100, 'round');
    expect((await passesOf(operator)) - passes).toBeGreaterThanOrEqual(5_000);
    expect(socketsOf(operator.pid)).toBeLessThanOrEqual(sockets + 2);
    expect(await held(cluster)).toEqual(before);
    expect(await writes(operator)).toBe(made);
    expect(await operator.stop()).toBe(0);
    // Its login ends with it.
    expect((await held(cluster)).accessors).toBe(before.accessors - 1);
  });
});

/** What an operator that does not take care piles up. */
async function held({ liveVault, liveNomad }: Cluster): Promise<{ accessors: number; tokens: number }> {
  const [accessors, tokens] = await Promise.all([liveVault.list('auth/token/accessors'), liveNomad.tokens()]);
  return { accessors: accessors.length, tokens: tokens.length };
}

function socketsOf(pid: number): number {
  const folder = `/proc/${String(pid)}/fd`;
  return readdirSync(folder).filter((fd) => linkOf(`${folder}/${fd}`).startsWith('socket:')).length;
}

/** @returns nothing for one that was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** A VaultServer that logs in by AppRole, and the Secret with its SecretID. */
async function byAppRole({ liveVault, vault }: Cluster): Promise<string> {
  await liveVault.request('POST', 'sys/auth/approle', { type: 'approle' });
  await liveVault.request('POST', 'auth/approle/role/nomad-access', {
    token_policies: ['nomad-access'],
    token_ttl: '1h',
  });
  const roleId = String((await liveVault.data('auth/approle/role/nomad-access/role-id'))?.['role_id']);
  const { body } = await liveVault.request<{ data: { secret_id: string } }>(
    'POST',
    'auth/approle/role/nomad-access/secret-id',
    {},
  );
  const spec = {
    address: vault.address,
    sweepInterval: '1s',
    auth: { approle: { roleId, secretIdSecretRef: { namespace: HOME, name: 'approle' } } },
  };
  const documents = [
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'approle', namespace: HOME },
      stringData: { 'secret-id': body.data.secret_id },
    },
    { apiVersion: 'nomad-access.io/v1alpha1', kind: 'VaultServer', metadata: { name: 'default' }, spec },
  ];
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}

async function answered(cluster: Cluster, kind: string, name: string, asked: string): Promise<void> {
  const change = { metadata: { annotations: { [ASK.reconcile]: asked } } };
  expect((await ask(cluster, 'PATCH', `${COLLECTIONS}/${kind}/${name}`, change)).status).toBe(200);
  await untilShown(cluster, kind, name, 'answers', ({ status }) => status?.lastReconcileRequest === asked);
}

async function allAnswered(cluster: Cluster, asked: string): Promise<true | undefined> {
  const kinds = ['aclpolicies', 'acltokens', 'vaultjwtintegrations'];
  const lists = await Promise.all(kinds.map((kind) => ask(cluster, 'GET', `${COLLECTIONS}/${kind}`)));
  const items = lists.flatMap(
    ({ body }) => (body as { items: { status?: { lastReconcileRequest?: string } }[] }).items,
  );
  return items.every(({ status }) => status?.lastReconcileRequest === asked) ? true : undefined;
}

/** Requests to Nomad and Vault that change something. */
async function writes(operator: RunningOperator): Promise<number> {
  return sumOf(
    operator,
    (line) => /^nomad_access_requests_total\{target="(nomad|vault)"/.test(line) && !/verb="(GET|LIST|READ)"/.test(line),
  );
}

async function passesOf(operator: RunningOperator): Promise<number> {
  return sumOf(operator, (line) => line.startsWith('controller_runtime_reconcile_total{'));
}

async function sumOf(operator: RunningOperator, isMeant: (line: string) => boolean): Promise<number> {
  const lines = (await operator.get('/metrics')).text.split('\n').filter(isMeant);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
