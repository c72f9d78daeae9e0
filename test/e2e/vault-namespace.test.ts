import { beforeEach, describe, expect, it } from 'vitest';
import type { RequestEvent, Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from './sandbox-workspace.ts';
import { manifest, type Workspace } from './workspace.ts';

/** Only the sandbox has namespaces for these tests: what Vault Enterprise itself does is taken from its documentation. */
describe('a namespace that a VaultServer makes', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;
  const NAME = 'nomad-workloads';

  const server = (namespace = NAME, more = 'createNamespace: true', name = 'default'): string =>
    manifest(
      'VaultServer',
      name,
      [`address: ${sandbox.vault.address}`, `namespace: ${namespace}`, 'auth: { tokenEnv: VAULT_TOKEN }', more].join(
        '\n',
      ),
    );
  const integration = manifest('VaultJwtIntegration', 'nomad', '{}');
  /** Not called `default`, which is the environment's once no file declares it: that one leads to another namespace. */
  const elsewhere = (more = ''): void => {
    workspace.write('vault.yaml', server(NAME, `createNamespace: true${more}`, 'workloads'));
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'nomad', 'vaultRef: workloads'));
  };
  const mounts = (namespace = NAME): string[] =>
    Object.keys((sandbox.vault.server.snapshot(namespace) as { mounts: object }).mounts);
  const metadata = (namespace = NAME): unknown => sandbox.vault.server.namespace(namespace)?.custom_metadata;
  const OBJECT = `default/vault-namespace/${NAME}`;
  const stepOf = (plan: Awaited<ReturnType<Workspace['plan']>>): unknown[] =>
    plan.steps.filter((s) => s.object === OBJECT).map((s) => [s.action, s.reason, s.result?.status]);

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    sandbox.vault.server.isEnterprise = true;
    workspace.write('vault.yaml', server());
    workspace.write('integration.yaml', integration);
  });

  it('is planned, made before everything in it, marked as Nomad marks its own and as ours, and then nothing is to do', async () => {
    const before = await workspace.plan();
    expect([before.code, stepOf(before), before.summary['refuse']]).toEqual([0, [['create', 'New', undefined]], 0]);
    expect((await workspace.apply()).code).toBe(0);
    expect(metadata()).toEqual({
      'created-by': 'nomad-setup',
      'nomad-access': expect.stringMatching(/^[a-z2-7]{16}$/) as string,
    });
    expect(mounts()).toEqual(['token', 'jwt-nomad']);
    expect(mounts('')).toEqual(['token']);
    const after = await workspace.plan('--detailed-exitcode');
    expect([after.code, stepOf(after)]).toEqual([0, [['noop', 'InSync', undefined]]]);
  });

  it('is planned also where Vault refuses requests into a namespace that is not there as if the right were missing', async () => {
    const server403 = ({ target, phase, path }: RequestEvent): { status: number; body: unknown } | undefined =>
      target === 'vault' &&
      phase === 'before' &&
      !path.startsWith('/v1/sys/namespaces') &&
      sandbox.vault.server.namespace(NAME) === undefined
        ? { status: 403, body: { errors: ['permission denied'] } }
        : undefined;
    sandbox.onRequest = server403;
    expect((await workspace.plan()).summary['refuse']).toBe(0);
    expect((await workspace.apply()).code).toBe(0);
    expect(mounts()).toEqual(['token', 'jwt-nomad']);
  });

  it('is deleted by a destroy, after everything in it', async () => {
    await workspace.apply();
    const destroyed = await workspace.destroy();
    expect([destroyed.code, stepOf(destroyed)]).toEqual([0, [['delete', 'Removed', 'done']]]);
    expect(metadata()).toBeUndefined();
    expect(workspace.isRecorded()).toBe(false);
  });

  it('is deleted, and what is in it, once its VaultServer is gone from the manifests', async () => {
    elsewhere();
    await workspace.apply();
    workspace.remove('vault.yaml');
    workspace.remove('integration.yaml');
    workspace.write('keep.yaml', manifest('AclPolicy', 'kept', `rules: 'namespace "default" { policy = "read" }'`));
    expect((await workspace.apply('--allow-mass-delete')).code).toBe(0);
    expect(metadata()).toBeUndefined();
    expect(workspace.recorded()).toEqual(['default/acl-policy/kept']);
  });

  it.each([
    ['an auth mount', 'sys/auth/other', { type: 'jwt' }, 'auth mount other'],
    ['a secrets engine', 'sys/mounts/kv', { type: 'kv' }, 'secrets engine kv'],
    ['a policy', 'sys/policies/acl/theirs', { policy: 'path "x" { capabilities = ["read"] }' }, 'policy theirs'],
    ['a namespace', 'sys/namespaces/inner', {}, `namespace inner`],
  ])(
    'stays as long as %s that is not ours lives in it, and goes once that is gone',
    async (_what, path, body, said) => {
      await workspace.apply();
      const request = (method: string): Promise<Response> =>
        fetch(`${sandbox.vault.address}/v1/${path}`, {
          method,
          headers: { 'x-vault-token': sandbox.vault.token, 'x-vault-namespace': NAME },
          body: method === 'POST' ? JSON.stringify(body) : null,
        });
      expect((await request('POST')).ok).toBe(true);
      const refused = await workspace.destroy();
      expect([refused.code, stepOf(refused)]).toEqual([1, [['refuse', 'InUse', 'refused']]]);
      expect(refused.steps.find((s) => s.object === OBJECT)?.message).toContain(said);
      expect(metadata()).toBeDefined();
      expect(workspace.recorded()).toEqual([OBJECT]);
      await request('DELETE');
      expect((await workspace.destroy()).code).toBe(0);
      expect(metadata()).toBeUndefined();
    },
  );

  it('stays where something is put into it between the plan and its deletion', async () => {
    await workspace.apply();
    sandbox.onRequest = ({ target, phase, method, path }) => {
      if (target === 'vault' && phase === 'after' && method === 'DELETE' && path.startsWith('/v1/sys/auth/'))
        sandbox.vault.server.createNamespace(`${NAME}/late`);
      return undefined;
    };
    const destroyed = await workspace.destroy();
    expect([destroyed.code, stepOf(destroyed)]).toEqual([1, [['delete', 'Removed', 'failed']]]);
    expect(metadata()).toBeDefined();
  });

  it.each([
    ['by somebody else', {}],
    ['by nomad setup vault', { 'created-by': 'nomad-setup' }],
    ['by another installation of ours', { 'created-by': 'nomad-setup', 'nomad-access': 'aaaaaaaaaaaaaaaa' }],
  ])('that was made %s is used and left alone', async (_whom, marks) => {
    sandbox.vault.server.createNamespace(NAME, marks);
    const applied = await workspace.apply();
    expect([applied.code, stepOf(applied)]).toEqual([0, [['noop', 'Orphaned', 'unchanged']]]);
    expect([mounts(), metadata()]).toEqual([['token', 'jwt-nomad'], marks]);
    expect(workspace.recorded()).not.toContain(OBJECT);
    expect((await workspace.destroy()).code).toBe(0);
    expect([mounts(), metadata()]).toEqual([['token'], marks]);
  });

  it('that lost its marks, or was made again by somebody else, is not deleted', async () => {
    await workspace.apply();
    sandbox.vault.server.deleteNamespace(NAME);
    sandbox.vault.server.createNamespace(NAME, {});
    expect((await workspace.destroy()).code).toBe(0);
    expect(metadata()).toEqual({});
    expect(workspace.isRecorded()).toBe(false);
  });

  it('that is there when createNamespace is taken back stays, with all that is in it', async () => {
    await workspace.apply();
    workspace.write('vault.yaml', server(NAME, ''));
    const applied = await workspace.apply();
    expect([applied.code, stepOf(applied)]).toEqual([0, [['noop', 'Orphaned', 'unchanged']]]);
    expect(mounts()).toEqual(['token', 'jwt-nomad']);
    expect((await workspace.destroy()).code).toBe(0);
    expect(metadata()).toBeDefined();
  });

  it('is found again when the inventory was lost', async () => {
    await workspace.apply();
    workspace.remove('.nomad-access.state.json');
    const applied = await workspace.apply();
    expect([applied.code, stepOf(applied)]).toEqual([0, [['noop', 'Adopted', 'unchanged']]]);
    expect((await workspace.destroy()).code).toBe(0);
    expect(metadata()).toBeUndefined();
  });

  it.each(['before', 'after'] as const)(
    'is neither leaked nor taken for foreign when we are killed %s Vault makes it',
    async (phase) => {
      const running = workspace.start(['apply', '-f', 'manifests', '-y']);
      sandbox.onRequest = (event) => {
        const { target, method, path } = event;
        if (target !== 'vault' || event.phase !== phase || method === 'GET' || path !== `/v1/sys/namespaces/${NAME}`)
          return undefined;
        running.child.kill('SIGKILL');
        return 'drop';
      };
      expect((await running.outcome).signal).toBe('SIGKILL');
      sandbox.onRequest = undefined;
      expect(metadata() === undefined).toBe(phase === 'before');
      workspace.remove('.nomad-access.state.json.lock');
      expect((await workspace.destroy()).code).toBe(0);
      expect(metadata()).toBeUndefined();
    },
  );

  it('inside another one is made after it', async () => {
    workspace.write('vault.yaml', server('team/nomad'), server('team', 'createNamespace: true', 'team'));
    expect((await workspace.apply()).code).toBe(0);
    expect(mounts('team/nomad')).toEqual(['token', 'jwt-nomad']);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('that two VaultServers would make is an error of the manifests', async () => {
    workspace.write('vault.yaml', server(), server(NAME, 'createNamespace: true', 'second'));
    const { code, stdout, stderr } = await workspace.run('validate', '-f', 'manifests');
    expect([code, stdout + stderr]).toEqual([1, expect.stringContaining('only one resource can')]);
  });

  it('cannot be had from the Community Edition, which is said with what to do', async () => {
    sandbox.vault.server.isEnterprise = false;
    const planned = await workspace.plan();
    expect([planned.code, stepOf(planned)]).toEqual([1, [['refuse', 'Unavailable', undefined]]]);
    const message = planned.steps.find((s) => s.object === OBJECT)?.message;
    expect(message).toContain('need Vault Enterprise: remove createNamespace');
    expect((await workspace.apply()).code).toBe(1);
    expect(mounts('')).toEqual(['token']);
  });

  it('is put back with all that was in it, while we run, when somebody deletes it', async () => {
    elsewhere('\nsweepInterval: 1s');
    const running = workspace.start([
      'run',
      '--source',
      'directory',
      '-f',
      'manifests',
      '--listen',
      '127.0.0.1:0',
      '--allow-mass-delete',
    ]);
    const isWhole = (): boolean => metadata() !== undefined && mounts().includes('jwt-nomad');
    await expect.poll(isWhole, { timeout: 30_000 }).toBe(true);
    sandbox.vault.server.deleteNamespace(NAME);
    await expect.poll(isWhole, { timeout: 60_000 }).toBe(true);
    workspace.remove('vault.yaml');
    workspace.remove('integration.yaml');
    await expect.poll(() => metadata() === undefined, { timeout: 60_000 }).toBe(true);
    running.child.kill('SIGTERM');
    await running.outcome;
  }, 180_000);
});
