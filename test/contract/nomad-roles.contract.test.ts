import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveNomad } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

const NOBODY = '11111111-1111-1111-1111-111111111111';
const RULES = 'namespace "default" { policy = "read" }';

interface Role {
  readonly ID: string;
  readonly Name: string;
  readonly Description: string;
  readonly Policies: readonly { readonly Name: string }[];
  readonly ModifyIndex: number;
}

describe.each(implementations)('roles as Nomad as $name has them', ({ skip, start }) => {
  describe.skipIf(skip)('ACL API', () => {
    let running: Implementation;
    let nomad: LiveNomad;

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
      for (const name of ['read', 'write']) await nomad.putPolicy(name, RULES);
    });
    afterAll(() => running.stop());

    const links = (...policies: string[]): { Name: string }[] => policies.map((Name) => ({ Name }));
    const create = (Name: string, ...policies: string[]): Promise<{ status: number; body: Role }> =>
      nomad.request<Role>('POST', '/v1/acl/role', { Name, Description: '', Policies: links(...policies) });
    const update = (role: Role, change: Partial<Role>): Promise<{ status: number; body: Role }> =>
      nomad.request<Role>('PUT', `/v1/acl/role/${role.ID}`, { ...role, ...change });
    const listed = async (name: string): Promise<Role | undefined> =>
      (await nomad.request<Role[]>('GET', '/v1/acl/roles')).body.find((role) => role.Name === name);

    it('a write answers with the role, its ID and index, and the list has all of it', async () => {
      const { status, body } = await create('whole', 'read', 'write');
      expect([status, body]).toEqual([
        200,
        expect.objectContaining({ Name: 'whole', Description: '', Policies: links('read', 'write') }),
      ]);
      expect(body.ID).toMatch(/^[0-9a-f-]{36}$/);
      expect(await listed('whole')).toEqual(body);
    });

    it('a name is given once: whoever creates it again learns that it is taken, and so does who renames to it', async () => {
      await create('taken', 'read');
      const again = await create('taken', 'read');
      expect(again).toEqual({ status: 400, body: 'role with name taken already exists' });
      const { body: other } = await create('other', 'read');
      const renamed = await update(other, { Name: 'taken' });
      expect(renamed).toEqual({ status: 500, body: 'ACL role with name taken already exists' });
    });

    it('policies must be there when it is written, and may go afterwards', async () => {
      const without = await create('early', 'read', 'missing');
      expect([without.status, without.body]).toEqual([400, expect.stringContaining('cannot find policy missing')]);
      await nomad.putPolicy('passing', RULES);
      const { body: role } = await create('dangling', 'read', 'passing');
      await nomad.request('DELETE', '/v1/acl/policy/passing');
      expect(await listed('dangling')).toEqual(role);
      const again = await update(role, { Description: 'other' });
      expect([again.status, again.body]).toEqual([400, expect.stringContaining('cannot find policy passing')]);
    });

    it('a write replaces all of it, and keeps its ID under another name', async () => {
      const { body: role } = await create('before', 'read', 'write');
      const { ID, Name } = role;
      const { body } = await nomad.request<Role>('PUT', `/v1/acl/role/${ID}`, { ID, Name, Policies: links('write') });
      expect(body).toMatchObject({ ID, Name, Description: '', Policies: links('write') });
      expect((await update(body, { Name: 'after' })).body).toMatchObject({ ID, Name: 'after' });
      expect(await listed('before')).toBeUndefined();
    });

    it('one that is not there is a 404 to read and a 500 to delete, and no token can be given it', async () => {
      expect((await nomad.request('GET', `/v1/acl/role/${NOBODY}`)).status).toBe(404);
      const deleted = await nomad.request('DELETE', `/v1/acl/role/${NOBODY}`);
      expect([deleted.status, deleted.body]).toEqual([500, expect.stringContaining('ACL role not found')]);
      const token = { Name: 't', Type: 'client', Roles: links('nobody') };
      const refused = await nomad.request('POST', '/v1/acl/token', token);
      expect([refused.status, refused.body]).toEqual([400, expect.stringContaining('cannot find role nobody')]);
    });
  });
});
