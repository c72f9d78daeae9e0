import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
}

describe.skipIf(!requireServers('nomad'))('a token named by its accessor ID', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  let existing: Token;
  let role: string;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    await live.request('PUT', '/v1/acl/policy/read', {
      Name: 'read',
      Rules: 'namespace "default" { policy = "read" }',
    });
    const viewers = { Name: 'viewers', Policies: [{ Name: 'read' }] };
    role = (await live.request<{ ID: string }>('PUT', '/v1/acl/role', viewers)).body.ID;
  });
  afterAll(() => nomad.stop());
  beforeEach(async () => {
    workspace = new Workspace({ nomad });
    existing = await make({ ExpirationTTL: '1h' });
  });
  afterEach(async () => {
    await workspace.destroy('--state', 'manifests/.nomad-access.state.json');
    workspace.dispose();
    for (const t of await live.tokens())
      if (t.Name !== 'Bootstrap Token') await live.request('DELETE', `/v1/acl/token/${t.AccessorID}`);
  });

  const make = async (more: object = {}): Promise<Token> => {
    const token = { Name: 'ci', Type: 'client', Policies: ['read'], Roles: [{ Name: 'viewers' }], ...more };
    return (await live.request<Token>('POST', '/v1/acl/token', token)).body;
  };
  const SPEC = 'policies: [read]\nroles: [viewers]\nexpirationTtl: 1h\nwriteSecretTo: { file: { path: secret } }';
  const declare = (spec = SPEC, accessor = existing.AccessorID): void => {
    workspace.write('token.yaml', manifest('AclToken', 'ci', `accessorId: ${accessor}\n${spec}`));
  };
  const tokenOf = (): Promise<Record<string, unknown>> => live.token(existing.AccessorID);
  const outline = ({ steps }: PlanOutput): string[] => steps.map((s) => `${s.action} ${s.reason}`);

  it('that is as declared is adopted without a write, its secret goes to the file, and destroy deletes it', async () => {
    const before = await tokenOf();
    declare();
    expect(outline(await workspace.apply())).toEqual(['noop Adopted', 'create New']);
    expect(await tokenOf()).toEqual(before);
    expect(workspace.read('secret')).toBe(`${existing.SecretID}\n`);
    expect(statSync(join(workspace.manifests, 'secret')).mode & 0o777).toBe(0o600);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    const { steps, code } = await workspace.destroy();
    expect(code).toBe(0);
    expect(steps.find((s) => s.object.includes('acl-token'))?.message).toContain('adopted');
    expect(await live.tokens()).toHaveLength(1);
    expect(() => workspace.read('secret')).toThrow(/ENOENT/);
  });

  it('that differs is a Conflict and stays as it is, until adoptionPolicy Always', async () => {
    const before = await tokenOf();
    const wider = SPEC.replace('[read]', '[read, write]');
    declare(wider);
    const refused = await workspace.apply();
    expect([refused.code, ...outline(refused)]).toEqual([1, 'refuse Conflict', 'refuse Blocked']);
    expect(refused.steps[0]?.changes).toMatchObject([
      { path: 'spec.policies', before: ['read'], after: ['read', 'write'] },
    ]);
    expect(await tokenOf()).toEqual(before);
    declare(`${wider}\nadoptionPolicy: Always`);
    const { steps, code } = await workspace.apply();
    expect([code, ...steps.map((s) => s.reason)], JSON.stringify(steps)).toEqual([0, 'Adopted', 'New']);
    expect(await tokenOf()).toMatchObject({
      Policies: ['read', 'write'],
      SecretID: existing.SecretID,
      ExpirationTime: before['ExpirationTime'],
    });
    expect(workspace.read('secret')).toBe(`${existing.SecretID}\n`);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('is not touched under adoptionPolicy Never, identical or not', async () => {
    const before = await tokenOf();
    declare(`${SPEC}\nadoptionPolicy: Never`);
    const { code, steps } = await workspace.apply();
    expect([code, steps[0]?.reason]).toEqual([1, 'Conflict']);
    expect(() => workspace.read('secret')).toThrow(/ENOENT/);
    await workspace.destroy();
    expect(await tokenOf()).toEqual(before);
  });

  it('that does not exist is NotFound, and never made', async () => {
    declare(SPEC, '11111111-1111-1111-1111-111111111111');
    const refused = await workspace.apply();
    expect([refused.code, ...outline(refused)]).toEqual([1, 'refuse NotFound', 'refuse Blocked']);
    expect(await live.tokens()).toHaveLength(2);
  });

  it.each([
    ['global', `${SPEC}\nglobal: true`],
    ['expirationTtl', SPEC.replace('1h', '2h')],
  ])('is not replaced for a changed %s: that is refused, whatever the adoption policy', async (field, spec) => {
    const before = await tokenOf();
    declare(`${spec}\nadoptionPolicy: Always`);
    const { code, steps } = await workspace.apply();
    expect([code, steps[0]?.reason, steps[0]?.changes.map((c) => c.path)]).toEqual([1, 'Immutable', [`spec.${field}`]]);
    expect(await tokenOf()).toEqual(before);
  });

  it.each([
    ['name', { Name: 'renamed' }],
    ['type', { Type: 'management', Policies: null, Roles: null }],
    ['policies', { Policies: ['read', 'write'] }],
    ['roles', { Roles: null }],
  ])('whose %s was changed by hand is put back', async (field, change) => {
    declare();
    await workspace.apply();
    const before = await tokenOf();
    const { status } = await live.request('PUT', `/v1/acl/token/${existing.AccessorID}`, { ...before, ...change });
    expect(status).toBe(200);
    const { steps } = await workspace.plan();
    expect(steps[0]).toMatchObject({ action: 'update', reason: 'Changed' });
    expect(steps[0]?.changes.map((c) => c.path)).toContain(`spec.${field}`);
    expect((await workspace.apply()).code).toBe(0);
    const { ModifyIndex: _, ...after } = await tokenOf();
    expect(before).toMatchObject(after);
    expect((after['Roles'] as { ID: string }[])[0]?.ID).toBe(role);
  });

  it('that somebody made immortal is reported, for nobody can give it an end again', async () => {
    declare();
    await workspace.apply();
    const { ExpirationTime: _, ...immortal } = await tokenOf();
    await live.request('PUT', `/v1/acl/token/${existing.AccessorID}`, immortal);
    const { code, steps } = await workspace.apply();
    expect([code, steps[0]?.reason, steps[0]?.changes]).toMatchObject([
      1,
      'Immutable',
      [{ path: 'spec.expirationTtl', before: null, after: 3600 }],
    ]);
  });

  it('has its file put right: other content, another mode', async () => {
    declare();
    await workspace.apply();
    const path = join(workspace.manifests, 'secret');
    writeFileSync(path, 'something else');
    expect((await workspace.plan()).steps[1]?.changes).toMatchObject([
      { path: 'spec.writeSecretTo.file', before: 'other content, mode 0600' },
    ]);
    expect((await workspace.apply()).code).toBe(0);
    expect(workspace.read('secret')).toBe(`${existing.SecretID}\n`);
    chmodSync(path, 0o644);
    const { steps } = await workspace.apply();
    expect(steps[1]?.changes.map((c) => c.path)).toEqual(['spec.writeSecretTo.file']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('stays under deletionPolicy Orphan, and so does its file', async () => {
    declare(`${SPEC}\ndeletionPolicy: Orphan`);
    await workspace.apply();
    expect(outline(await workspace.destroy())).toEqual(['noop Orphaned', 'noop Orphaned']);
    expect(await tokenOf()).toMatchObject({ SecretID: existing.SecretID });
    expect(workspace.read('secret')).toBe(`${existing.SecretID}\n`);
  });

  it('another accessor ID in the manifest is refused', async () => {
    declare();
    await workspace.apply();
    const other = await make({ ExpirationTTL: '1h' });
    declare(SPEC, other.AccessorID);
    const { code, steps } = await workspace.apply();
    expect([code, steps[0]?.reason]).toEqual([1, 'Immutable']);
    expect(await live.tokens()).toHaveLength(3);
  });
});
