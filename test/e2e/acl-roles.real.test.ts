import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import type { NomadServer } from '../servers/nomad.ts';
import type { LiveNomad } from './live.ts';
import { applied, useNomad } from './nomad-workspace.ts';
import { readySeries, useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

interface Role {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Policies: readonly { readonly Name: string }[];
  readonly ModifyIndex: number;
}

const READ = 'namespace "default" { policy = "read" }';
const TASK = { Name: 't', Driver: 'raw_exec', Config: { command: 'true' } };
const GROUP = { Name: 'g', Count: 0, Tasks: [TASK] };
const JOB = JSON.stringify({ Job: { ID: 'j', Type: 'batch', Datacenters: ['none'], TaskGroups: [GROUP] } });
const WRITE = 'namespace "default" { policy = "write" }';

describe.skipIf(!requireServers('nomad'))('roles', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;

  useNomad((made) => {
    ({ nomad, live, workspace } = made);
  });
  beforeEach(async () => {
    await live.putPolicy('read', READ);
    await live.putPolicy('write', WRITE);
  });
  afterEach(async () => {
    for (const { ID } of await roles()) await live.request('DELETE', `/v1/acl/role/${ID}`);
  });
  // Ended before what they would put back is taken away.
  const operators = useOperators();

  const roles = async (): Promise<Role[]> => (await live.request<Role[]>('GET', '/v1/acl/roles')).body;
  async function role(name: string): Promise<Role> {
    const found = (await roles()).filter((r) => r.Name === name);
    expect(found.map((r) => r.Name)).toEqual([name]);
    return found[0] ?? expect.fail();
  }
  const make = (name: string, ...policies: string[]): Promise<unknown> =>
    live.request('POST', '/v1/acl/role', { Name: name, Policies: policies.map((Name) => ({ Name })) });
  const drop = async (name: string): Promise<unknown> =>
    live.request('DELETE', `/v1/acl/role/${(await role(name)).ID}`);
  const declare = (name: string, spec: string): void => {
    workspace.write(`${name}.yaml`, manifest('AclRole', name, spec));
  };
  const declareToken = (spec: string): void => {
    workspace.write('token.yaml', manifest('AclToken', 'ci', `${spec}\nwriteSecretTo: { file: { path: ci.secret } }`));
  };
  const only = async (): Promise<PlanOutput['steps'][number]> => {
    const { steps } = await workspace.apply();
    expect(steps).toHaveLength(1);
    return steps[0] ?? expect.fail();
  };
  /** What a holder of the token is answered: 200 for what is allowed. */
  async function may(): Promise<{ read: number; write: number }> {
    const headers = { 'x-nomad-token': workspace.read('ci.secret').trim() };
    const status = async (path: string, init: RequestInit = {}): Promise<number> =>
      (await fetch(`${nomad.address}${path}`, { ...init, headers })).status;
    return { read: await status('/v1/jobs'), write: await status('/v1/jobs', { method: 'PUT', body: JOB }) };
  }

  it('are made with their policies, planned again there is nothing to do, and destroyed', async () => {
    declare('viewers', 'description: Those who may look\npolicies: [write, read]');
    expect(await applied(workspace)).toEqual(['create viewers spec.name,spec.description,spec.policies']);
    const made = await role('viewers');
    expect(made).toMatchObject({ Description: 'Those who may look' });
    expect(made.Policies.map((p) => p.Name).sort()).toEqual(['read', 'write']);
    expect(await applied(workspace)).toEqual([]);
    declare('viewers', 'description: Those who may look\npolicies: [read, write, read]');
    expect(await applied(workspace)).toEqual([]);
    expect((await role('viewers')).ModifyIndex).toBe(made.ModifyIndex);
    await workspace.destroy();
    expect(await roles()).toEqual([]);
    expect(workspace.recorded()).toEqual([]);
  });

  it('are changed in place', async () => {
    declare('viewers', 'description: one\npolicies: [read]');
    await applied(workspace);
    const { ID } = await role('viewers');
    declare('viewers', 'policies: [write]');
    expect(await applied(workspace)).toEqual(['update viewers spec.description,spec.policies']);
    expect(await role('viewers')).toMatchObject({ ID, Description: '', Policies: [{ Name: 'write' }] });
  });

  it('that others made are adopted where they are the same, and left alone where they differ', async () => {
    await make('viewers', 'read');
    const { ModifyIndex } = await role('viewers');
    declare('viewers', 'policies: [write]');
    expect(await only()).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    declare('viewers', 'policies: [read]');
    expect(await only()).toMatchObject({ action: 'noop', reason: 'Adopted' });
    expect((await role('viewers')).ModifyIndex).toBe(ModifyIndex);
  });

  it('outlive a destroy once somebody has made another one in their place, and are put back while they are declared', async () => {
    declare('viewers', 'policies: [read]');
    await applied(workspace);
    await drop('viewers');
    await make('viewers', 'write');
    await workspace.destroy();
    expect(await role('viewers')).toMatchObject({ Policies: [{ Name: 'write' }] });
    await drop('viewers');
    await applied(workspace);
    await drop('viewers');
    await make('viewers', 'write');
    expect(await applied(workspace)).toEqual(['update viewers spec.policies']);
  });

  it('that somebody renamed are called by their names again', async () => {
    declare('viewers', 'policies: [read]');
    await applied(workspace);
    const before = await role('viewers');
    await live.request('PUT', `/v1/acl/role/${before.ID}`, { ...before, Name: 'others' });
    expect(await applied(workspace)).toEqual(['update viewers spec.name']);
    expect((await role('viewers')).ID).toBe(before.ID);
  });

  it('wait for policies that are not there, and are made once they are', async () => {
    declare('viewers', 'policies: [read, later]');
    const refused = await only();
    expect(refused).toMatchObject({ action: 'refuse', reason: 'Waiting' });
    expect(refused.message).toContain('acl-policy/later');
    expect(await roles()).toEqual([]);
    workspace.write('policy.yaml', manifest('AclPolicy', 'later', `rules: '${READ}'`));
    expect((await applied(workspace)).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'create later',
      'create viewers',
    ]);
    await workspace.destroy();
    expect([await roles(), await live.policyNames()]).toEqual([[], ['read', 'write']]);
  });

  it('are made only under names, and of policies, that are granted', async () => {
    const cluster = (names: string): void => {
      const spec = `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }\ngrants: { names: ${names} }`;
      workspace.write('cluster.yaml', manifest('NomadCluster', 'default', spec));
    };
    const reason = async (): Promise<string | undefined> => (await workspace.plan()).steps[0]?.reason;
    declare('viewers', 'policies: [read]');
    cluster('[read]');
    expect(await reason()).toBe('NotGranted');
    cluster('[viewers]');
    expect(await reason()).toBe('NotGranted');
    cluster('[viewers, read]');
    expect(await reason()).toBe('New');
  });

  it('are imported with the tokens that have them, and a plan says nothing to do', async () => {
    await make('Viewers', 'read', 'write');
    await live.request('POST', '/v1/acl/token', { Name: 'theirs', Type: 'client', Roles: [{ Name: 'Viewers' }] });
    const { code, stderr } = await workspace.run('import', '--out', 'found');
    expect(code, stderr).toBe(0);
    const { stdout } = await workspace.run('plan', '-f', 'found', '-o', 'json');
    const { steps } = JSON.parse(stdout) as PlanOutput;
    expect(steps.map((s) => `${s.action} ${s.kind} ${s.reason}`).sort()).toEqual([
      'noop AclPolicy Adopted',
      'noop AclPolicy Adopted',
      'noop AclRole Adopted',
      'noop AclToken Adopted',
    ]);
  });

  describe('of tokens', () => {
    it('give them what their policies allow, and take it away again', async () => {
      declare('viewers', 'policies: [read]');
      declareToken('roles: [viewers]');
      await applied(workspace);
      expect(await may()).toEqual({ read: 200, write: 403 });
      declare('viewers', 'policies: [read, write]');
      await applied(workspace);
      expect(await may()).toEqual({ read: 200, write: 200 });
      expect(await applied(workspace)).toEqual([]);
      await workspace.destroy();
      expect([await roles(), await live.marked()]).toEqual([[], []]);
    });

    it('that were deleted and made again are linked again, and the token stays', async () => {
      declare('viewers', 'policies: [read]');
      declareToken('roles: [viewers]');
      await applied(workspace);
      const [before] = await live.marked();
      await drop('viewers');
      expect(await may()).toEqual({ read: 403, write: 403 });
      expect(await applied(workspace)).toEqual(['create viewers spec.name,spec.policies', 'update ci spec.roles']);
      expect((await may()).read).toBe(200);
      expect((await live.marked()).map((t) => t.AccessorID)).toEqual([before?.AccessorID]);
      expect(await applied(workspace)).toEqual([]);
    });

    it('that are not there keep the token waiting, whoever is to make them', async () => {
      declareToken('roles: [theirs]');
      const { steps } = await workspace.apply();
      const token = steps.find((s) => s.object.includes('/acl-token/'));
      expect(token).toMatchObject({ action: 'refuse', reason: 'Waiting' });
      expect(token?.message).toContain('acl-role/theirs');
      await make('theirs', 'read');
      await applied(workspace);
      expect((await may()).read).toBe(200);
    });

    it('go on as the token rotates', async () => {
      declare('viewers', 'policies: [read]');
      declareToken('roles: [viewers]\nrotation: { interval: 2m, overlap: 1m }');
      await applied(workspace);
      await drop('viewers');
      await applied(workspace);
      expect((await may()).read).toBe(200);
      expect(await applied(workspace)).toEqual([]);
    });
  });

  describe('that somebody changes by hand', () => {
    let operator: RunningOperator;
    let before: Role;
    beforeEach(async () => {
      declareToken('roles: [viewers]');
      declare('viewers', 'description: ours\npolicies: [read]');
      operator = await operators.start(workspace);
      await operator.until(readySeries('AclToken'), 1);
      before = await role('viewers');
    });
    const isPutBack = (): Promise<void> =>
      vi.waitFor(
        async () => {
          const now = await role('viewers');
          expect(now).toMatchObject({ Description: 'ours', Policies: [{ Name: 'read' }] });
          expect((await may()).read).toBe(200);
        },
        { timeout: 30_000, interval: 50 },
      );

    it.each([
      ['Name', 'others'],
      ['Description', 'theirs'],
      ['Policies', [{ Name: 'write' }]],
    ])('are put back: %s', async (field, value) => {
      await live.request('PUT', `/v1/acl/role/${before.ID}`, { ...before, [field]: value });
      await isPutBack();
      expect((await role('viewers')).ID).toBe(before.ID);
    });

    it('are made again, and the tokens that had them have the new ones', async () => {
      await drop('viewers');
      await isPutBack();
      expect((await role('viewers')).ID).not.toBe(before.ID);
    });

    it('are made as soon as the policy that they waited for is there, whoever makes it', async () => {
      declare('writers', 'policies: [later]');
      await operator.until('nomad_access_resources{kind="AclRole",ready="False"}', 1);
      expect(await roles()).toHaveLength(1);
      await live.putPolicy('later', WRITE);
      await vi.waitFor(() => role('writers'), { timeout: 30_000, interval: 50 });
    });
  });
});
