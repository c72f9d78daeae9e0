import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import type { NomadServer } from '../servers/nomad.ts';
import type { LiveNomad } from './live.ts';
import { applied, useNomad } from './nomad-workspace.ts';
import { readySeries, useOperators } from './operators.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

interface Rule {
  readonly ID: string;
  readonly Description: string;
  readonly AuthMethod: string;
  readonly Selector: string;
  readonly BindType: string;
  readonly BindName: string;
  readonly ModifyIndex: number;
}

const METHOD = {
  Type: 'JWT',
  TokenLocality: 'local',
  MaxTokenTTL: '1h',
  Config: { JWKSURL: 'http://127.0.0.1:9/jwks.json', ListClaimMappings: { groups: 'groups' } },
};
const RULE = `
authMethod: sso
description: Those who operate
selector: '"ops" in list.groups'
bindType: policy
bindName: 'ops-\${value.team}'`;
const MARKED = /^Those who operate \[na:[a-z2-7]{16}\.1\]$/;

describe.skipIf(!requireServers('nomad'))('binding rules', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;

  useNomad((made) => {
    ({ nomad, live, workspace } = made);
  });
  beforeEach(async () => {
    await method('sso');
  });
  afterEach(async () => {
    for (const { ID } of await rules()) await live.request('DELETE', `/v1/acl/binding-rule/${ID}`);
    for (const { Name } of (await live.request<{ Name: string }[]>('GET', '/v1/acl/auth-methods')).body)
      await live.request('DELETE', `/v1/acl/auth-method/${Name}`);
  });
  // Ended before what they would put back is taken away.
  const operators = useOperators();

  const method = (name: string): Promise<unknown> =>
    live.request('PUT', `/v1/acl/auth-method/${name}`, { Name: name, ...METHOD });
  const declare = (name: string, spec: string): void => {
    workspace.write(`${name}.yaml`, manifest('AclBindingRule', name, spec));
  };
  const get = async (id: string): Promise<Rule> => (await live.request<Rule>('GET', `/v1/acl/binding-rule/${id}`)).body;
  async function rules(): Promise<Rule[]> {
    const { body } = await live.request<{ ID: string }[]>('GET', '/v1/acl/binding-rules');
    return Promise.all(body.map(({ ID }) => get(ID)));
  }
  async function only(): Promise<Rule> {
    const all = await rules();
    expect(all).toHaveLength(1);
    return all[0] ?? expect.fail();
  }
  const make = async (body: Record<string, unknown>): Promise<Rule> =>
    (await live.request<Rule>('POST', '/v1/acl/binding-rule', { AuthMethod: 'sso', BindType: 'policy', ...body })).body;
  const first = async (): Promise<PlanOutput['steps'][number]> => (await workspace.apply()).steps[0] ?? expect.fail();

  it('are made with every field, and planned again there is nothing to do', async () => {
    declare('operators', RULE);
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^create operators/)]);
    const made = await only();
    expect(made).toMatchObject({
      Description: expect.stringMatching(MARKED) as string,
      AuthMethod: 'sso',
      Selector: '"ops" in list.groups',
      BindType: 'policy',
      BindName: 'ops-${value.team}',
    });
    expect(await applied(workspace)).toEqual([]);
    expect((await only()).ModifyIndex).toBe(made.ModifyIndex);
    await workspace.destroy();
    expect(await rules()).toEqual([]);
    expect(workspace.recorded()).toEqual([]);
  });

  it('without selector or description have the marker alone', async () => {
    declare('all', 'authMethod: sso\nbindType: management');
    await applied(workspace);
    expect(await only()).toMatchObject({ Selector: '', BindType: 'management', BindName: '' });
    expect((await only()).Description).toMatch(/^\[na:[a-z2-7]{16}\.1\]$/);
    expect(await applied(workspace)).toEqual([]);
  });

  it.each([
    ['selector', /selector: .*/, 'selector: \'value.team == "a"\''],
    ['no selector', /selector: .*/, ''],
    ['description', /description: .*/, 'description: Others'],
    ['no description', /description: .*/, ''],
    ['bindType', /bindType: .*/, 'bindType: role'],
    ['bindName', /bindName: .*/, 'bindName: readers'],
  ])('are changed in place: %s', async (_what, pattern, text) => {
    declare('operators', RULE);
    await applied(workspace);
    const { ID } = await only();
    declare('operators', RULE.replace(pattern, text));
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^update operators/)]);
    expect((await only()).ID).toBe(ID);
    expect(await applied(workspace)).toEqual([]);
  });

  it('get another method, or everything, by a second rule that takes the place of the first', async () => {
    declare('operators', RULE);
    await applied(workspace);
    await method('github');
    declare('operators', RULE.replace('authMethod: sso', 'authMethod: github'));
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^replace operators/), 'delete operators']);
    expect(await only()).toMatchObject({ AuthMethod: 'github' });
    declare('operators', 'authMethod: github\nbindType: management');
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^replace operators/), 'delete operators']);
    expect(await only()).toMatchObject({ AuthMethod: 'github', BindType: 'management' });
    const { ID } = await only();
    declare('operators', RULE.replace('authMethod: sso', 'authMethod: github'));
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^update operators/)]);
    expect((await only()).ID).toBe(ID);
    expect(workspace.recorded()).toHaveLength(1);
    expect(await applied(workspace)).toEqual([]);
  });

  it('are found again by their markers when the inventory was lost', async () => {
    declare('operators', RULE);
    await applied(workspace);
    const { ID } = await only();
    workspace.remove('.nomad-access.state.json');
    expect(await first()).toMatchObject({ action: 'noop', reason: 'Adopted' });
    expect((await only()).ID).toBe(ID);
    workspace.remove('operators.yaml');
    await workspace.apply();
    expect(await rules()).toEqual([]);
  });

  it('with an imitated marker are left alone, and nothing is made beside them', async () => {
    declare('operators', RULE);
    await applied(workspace);
    const { Description, ID } = await only();
    await live.request('DELETE', `/v1/acl/binding-rule/${ID}`);
    workspace.remove('.nomad-access.state.json');
    await make({ Description, BindName: 'admins' });
    expect(await first()).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(await only()).toMatchObject({ BindName: 'admins' });
  });

  it('that others made are adopted by their IDs, or left alone where they differ', async () => {
    const theirs = await make({ Description: 'theirs', BindName: 'ops', Selector: 'value.a == "b"' });
    const spec = (name: string): string =>
      `id: ${theirs.ID}\nauthMethod: sso\ndescription: theirs\nselector: value.a == "b"\nbindType: policy\nbindName: ${name}`;
    declare('theirs', spec('other'));
    expect(await first()).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    declare('theirs', spec('ops'));
    expect(await first()).toMatchObject({ action: 'noop', reason: 'Adopted' });
    expect((await get(theirs.ID)).ModifyIndex).toBe(theirs.ModifyIndex);
    declare('theirs', spec('other'));
    expect(await applied(workspace)).toEqual([expect.stringMatching(/^update theirs/)]);
    expect(await get(theirs.ID)).toMatchObject({ Description: 'theirs', BindName: 'other' });
  });

  it('of ours are imported under their names where these can be told, and others are left to their own manifests', async () => {
    declare('sso-ops-team', RULE);
    declare('unguessed', 'authMethod: sso\nbindType: management');
    await applied(workspace);
    const { code, stderr } = await workspace.run('import', '--kind', 'AclBindingRule', '--out', 'found');
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(
      /left out: AclBindingRule sso-management .* carries the marker of a resource of another name/,
    );
    workspace.remove('.nomad-access.state.json');
    const { stdout } = await workspace.run('plan', '-f', 'found', '-o', 'json');
    const { steps } = JSON.parse(stdout) as PlanOutput;
    expect(steps.map((s) => `${s.action} ${s.name} ${s.reason}`)).toEqual(['noop sso-ops-team Adopted']);
  });

  it('wait for the auth method, and say so', async () => {
    declare('operators', RULE.replace('authMethod: sso', 'authMethod: later'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(JSON.stringify(steps)).toContain('later');
    expect(await rules()).toEqual([]);
    workspace.write(
      'method.yaml',
      manifest(
        'AclAuthMethod',
        'later',
        'type: JWT\ntokenLocality: local\nmaxTokenTtl: 1h\nconfig: { jwksUrl: "http://127.0.0.1:9/" }',
      ),
    );
    expect((await workspace.apply()).code).toBe(0);
    expect(await only()).toMatchObject({ AuthMethod: 'later' });
    await workspace.destroy();
    expect(await rules()).toEqual([]);
  });

  it('with a selector that is none are refused by Nomad, with its words', async () => {
    declare('operators', RULE.replace(/selector: .*/, 'selector: "is is no selector"'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps[0]?.result).toMatchObject({ status: 'failed' });
    expect(steps[0]?.result?.message).toMatch(/selector/i);
  });

  it('bind only what is granted: a claim may be anything, and everything has a grant of its own', async () => {
    const cluster = (grants: string): void => {
      const spec = `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }\ngrants: ${grants}`;
      workspace.write('cluster.yaml', manifest('NomadCluster', 'default', spec));
    };
    const reason = async (): Promise<string | undefined> => (await workspace.plan()).steps[0]?.reason;
    declare('operators', RULE);
    cluster('{ names: [sso, ops] }');
    expect(await reason()).toBe('NotGranted');
    cluster('{ names: [sso, "ops-?*"] }');
    expect(await reason()).toBe('NotGranted');
    cluster('{ names: ["ops-*"] }');
    expect(await reason()).toBe('NotGranted');
    cluster('{ names: [sso, "ops-*"] }');
    expect(await reason()).toBe('New');
    declare('operators', 'authMethod: sso\nbindType: management');
    expect(await reason()).toBe('NotGranted');
    cluster('{ names: [sso], managementTokens: true }');
    expect(await reason()).toBe('New');
  });

  describe('that somebody changes by hand', () => {
    beforeEach(async () => {
      declare('operators', RULE);
      await (await operators.start(workspace)).until(readySeries('AclBindingRule'), 1);
    });
    const isPutBack = (id?: string): Promise<void> =>
      vi.waitFor(
        async () => {
          const rule = await only();
          expect(rule).toMatchObject({
            AuthMethod: 'sso',
            Selector: '"ops" in list.groups',
            BindType: 'policy',
            BindName: 'ops-${value.team}',
          });
          expect(rule.Description).toMatch(MARKED);
          if (id !== undefined) expect(rule.ID).toBe(id);
        },
        { timeout: 30_000, interval: 50 },
      );

    it.each([
      ['Description', 'mine'],
      ['Selector', ''],
      ['BindType', 'role'],
      ['BindName', 'admins'],
    ])('are put back: %s', async (field, value) => {
      const rule = await only();
      const { status } = await live.request('PUT', `/v1/acl/binding-rule/${rule.ID}`, { ...rule, [field]: value });
      expect(status).toBe(200);
      expect(await get(rule.ID)).not.toEqual(rule);
      await isPutBack(rule.ID);
    });

    it('are made again', async () => {
      await live.request('DELETE', `/v1/acl/binding-rule/${(await only()).ID}`);
      await isPutBack();
    });
  });
});
