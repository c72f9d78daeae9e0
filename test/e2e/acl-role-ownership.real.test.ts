import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { Counter, startProxy, type Hook, type Proxy } from './proxy.ts';
import { manifest, Workspace } from './workspace.ts';

interface Role {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Policies: readonly { readonly Name: string }[];
}

const READ = 'namespace "default" { policy = "read" }';
const pass: Hook = () => 'pass';

/** Nomad has each name of a role once, and gives the ID: what a create left behind can be told by its name alone. */
describe.skipIf(!requireServers('nomad'))('whose a role is', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let proxy: Proxy;
  let hook: Hook;
  let workspace: Workspace;
  /** The writes that reached Nomad, in their order. */
  let writes: string[];

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    proxy = await startProxy(nomad.address, new Counter(), () => async (boundary) => {
      const { phase, method, path } = boundary;
      if (phase === 'after' && method !== 'GET') writes.push(`${method} ${path.replace(/^\/v1\/acl\//, '')}`);
      return hook(boundary);
    });
  });
  afterAll(async () => {
    await proxy.close();
    await nomad.stop();
  });
  beforeEach(() => {
    hook = pass;
    writes = [];
    workspace = new Workspace({ nomad: { address: proxy.address, token: nomad.token } });
    workspace.write('policy.yaml', manifest('AclPolicy', 'read', `rules: '${READ}'`));
    workspace.write('role.yaml', manifest('AclRole', 'viewers', 'policies: [read]'));
  });
  afterEach(async () => {
    workspace.dispose();
    for (const { ID } of await roles()) await live.request('DELETE', `/v1/acl/role/${ID}`);
    await live.clear();
  });

  const roles = async (): Promise<Role[]> => (await live.request<Role[]>('GET', '/v1/acl/roles')).body;
  async function only(): Promise<Role> {
    const all = await roles();
    expect(all).toHaveLength(1);
    return all[0] ?? expect.fail();
  }
  const make = async (name: string, policy: string): Promise<Role> =>
    (await live.request<Role>('POST', '/v1/acl/role', { Name: name, Policies: [{ Name: policy }] })).body;
  const token = (): void => {
    workspace.write('token.yaml', manifest('AclToken', 'ci', 'roles: [viewers]\nwriteSecretTo: { none: {} }'));
  };
  /** The command is killed at a boundary of the request that makes the role. */
  async function killedAt(at: 'before' | 'after'): Promise<void> {
    const { child, outcome } = workspace.start(['apply', '-f', 'manifests', '-y']);
    hook = ({ phase, method, path }) => {
      if (phase !== at || method === 'GET' || path !== '/v1/acl/role') return 'pass';
      child.kill('SIGKILL');
      return 'cut';
    };
    expect((await outcome).signal).toBe('SIGKILL');
    hook = pass;
  }

  it.each(['before', 'after'] as const)('is known after a crash right %s it was made', async (at) => {
    await killedAt(at);
    expect(await roles()).toHaveLength(at === 'after' ? 1 : 0);
    expect((await workspace.apply()).code).toBe(0);
    const { ID } = await only();
    expect((await workspace.plan()).steps.map((s) => `${s.action} ${s.reason}`)).toEqual([
      'noop InSync',
      'noop InSync',
    ]);
    expect(workspace.inventory().objects.find(({ key }) => key.type === 'acl-role')).toMatchObject({
      state: 'owned',
      id: ID,
      adopted: false,
    });
  });

  it('is known after a crash, when its manifest is gone by then, and it is deleted', async () => {
    await killedAt('after');
    await only();
    workspace.remove('role.yaml');
    expect((await workspace.apply()).code).toBe(0);
    expect(await roles()).toEqual([]);
    expect(workspace.recorded()).toEqual(['default/acl-policy/read']);
  });

  it('is nobody’s of ours where somebody made another one of that name during a crash: it stays as it is', async () => {
    await killedAt('before');
    await live.putPolicy('theirs', READ);
    const theirs = await make('viewers', 'theirs');
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps.find((s) => s.kind === 'AclRole')).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    await workspace.destroy();
    expect(await only()).toEqual(theirs);
  });

  it.each(['before', 'after'] as const)('is the same where a connection broke %s it was made', async (at) => {
    let isCut = false;
    hook = ({ phase, method, path }) => {
      if (isCut || phase !== at || method === 'GET' || path !== '/v1/acl/role') return 'pass';
      isCut = true;
      return 'cut';
    };
    const { code, steps } = await workspace.apply();
    expect([isCut, code], JSON.stringify(steps)).toEqual([true, 0]);
    await only();
    expect((await workspace.plan()).steps.map((s) => s.reason)).toEqual(['InSync', 'InSync']);
  });

  it('can be told, too, where ours was renamed and another one has its name: neither is touched', async () => {
    await workspace.apply();
    const ours = await only();
    await live.request('PUT', `/v1/acl/role/${ours.ID}`, { ...ours, Name: 'former' });
    const theirs = await make('viewers', 'read');
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    const step = steps.find((s) => s.kind === 'AclRole');
    expect(step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(step?.message).toContain(`role ${theirs.ID}, which is not ours`);
    expect((await roles()).map((r) => `${r.ID} ${r.Name}`).sort()).toEqual(
      [`${ours.ID} former`, `${theirs.ID} viewers`].sort(),
    );
    await live.request('DELETE', `/v1/acl/role/${theirs.ID}`);
    expect((await workspace.apply()).code).toBe(0);
    expect(await only()).toMatchObject({ ID: ours.ID, Name: 'viewers' });
  });

  it('decides what is overwritten: under Always that of others is made equal, and keeps its ID and its tokens', async () => {
    await live.putPolicy('theirs', READ);
    const theirs = await make('viewers', 'theirs');
    workspace.write('role.yaml', manifest('AclRole', 'viewers', 'policies: [read]\nadoptionPolicy: Always'));
    expect((await workspace.apply()).code).toBe(0);
    expect(await only()).toMatchObject({ ID: theirs.ID, Policies: [{ Name: 'read' }] });
  });

  it('stays as it is where the manifest goes and says Orphan', async () => {
    workspace.write('role.yaml', manifest('AclRole', 'viewers', 'policies: [read]\ndeletionPolicy: Orphan'));
    await workspace.apply();
    const made = await only();
    await workspace.destroy();
    expect(await only()).toEqual(made);
  });

  it('makes what depends on it come after it, and go before it', async () => {
    token();
    expect((await workspace.apply()).code).toBe(0);
    expect(writes).toEqual(['PUT policy/read', 'POST role', 'POST token']);
    const { ID } = await only();
    const [made] = await live.marked();
    writes = [];
    expect((await workspace.destroy()).code).toBe(0);
    expect(writes).toEqual([`DELETE token/${made?.AccessorID ?? ''}`, `DELETE role/${ID}`, 'DELETE policy/read']);
  });

  it('blocks the token where the role is another one’s, and nothing is given that the manifest does not say', async () => {
    await live.putPolicy('admin', 'namespace "*" { policy = "write" }');
    await make('viewers', 'admin');
    token();
    const { steps } = await workspace.apply();
    expect(steps.find((s) => s.object.includes('/acl-token/'))).toMatchObject({ action: 'refuse', reason: 'Blocked' });
    expect(await live.marked()).toEqual([]);
  });

  it('of a token that waited for it in vain is said, and the token is made once it is ours', async () => {
    token();
    hook = ({ phase, method, path }) =>
      phase === 'before' && method !== 'GET' && path === '/v1/acl/role' ? 'cut' : 'pass';
    const failed = await workspace.apply();
    expect(failed.code).toBe(1);
    expect(await live.marked()).toEqual([]);
    hook = pass;
    expect((await workspace.apply()).code).toBe(0);
    expect(await live.marked()).toHaveLength(1);
  });
});
