import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

interface Errors {
  readonly errors?: string[];
}
interface Leased {
  readonly lease_id: string;
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly data: { readonly accessor_id: string; readonly secret_id: string };
}

describe.each(implementations)('Vault as $name has it', ({ skip, start }) => {
  describe.skipIf(skip)('the Nomad secrets engine', () => {
    let running: Implementation;
    let vault: LiveVault;
    let nomad: LiveNomad;

    beforeAll(async () => {
      running = await start();
      vault = new LiveVault(running.vault);
      nomad = new LiveNomad(running.nomad);
    });
    afterAll(() => running.stop());

    const errorsOf = async (method: string, path: string, body?: unknown): Promise<[number, string[] | undefined]> => {
      const reply = await vault.request<Errors>(method, path, body);
      return [reply.status, reply.body.errors];
    };
    const write = async (path: string, body: unknown = {}): Promise<number> =>
      (await vault.request('POST', path, body)).status;
    const creds = async (role: string): Promise<Leased> =>
      (await vault.request<Leased>('GET', `nomad/creds/${role}`)).body;
    const access = (): Record<string, unknown> => ({ address: running.nomad.address, token: running.nomad.token });
    const gone = (accessor: string): string =>
      `failed to revoke entry: resp: (*logical.Response)(nil) err: Unexpected response code: 400 (Cannot delete nonexistent tokens: ${accessor})`;

    beforeEach(async () => {
      await write('sys/leases/revoke-force/nomad');
      await vault.request('DELETE', 'sys/mounts/nomad');
      expect(await write('sys/mounts/nomad', { type: 'nomad' })).toBe(204);
    });

    describe('its access', () => {
      it('reads as 404 before it is written, and deleting what is missing is no error', async () => {
        for (const path of ['config/access', 'config/lease', 'role/none', 'role?list=true'])
          expect(await errorsOf('GET', `nomad/${path}`)).toEqual([404, []]);
        for (const path of ['config/access', 'config/lease', 'role/none'])
          expect((await vault.request('DELETE', `nomad/${path}`)).status).toBe(204);
        expect(await errorsOf('GET', 'nomad/roles/none')).toEqual([
          404,
          ['1 error occurred:\n\t* unsupported path\n\n'],
        ]);
      });
      it('reads without its token and its key', async () => {
        expect(await write('nomad/config/access', { ...access(), client_key: 'key', client_cert: 'cert' })).toBe(204);
        expect(await vault.data('nomad/config/access')).toEqual({
          address: running.nomad.address,
          ca_cert: '',
          client_cert: 'cert',
          max_token_name_length: 0,
        });
      });
      it('is merged by a write, but for the length of names, which an omission resets', async () => {
        await write('nomad/config/access', { ...access(), max_token_name_length: 40 });
        await write('nomad/config/access', { ca_cert: 'x' });
        expect(await vault.data('nomad/config/access')).toMatchObject({
          address: running.nomad.address,
          ca_cert: 'x',
          max_token_name_length: 0,
        });
        await write('nomad/config/access', { ca_cert: '' });
        await write('nomad/role/r', { policies: ['a'] });
        expect(await creds('r')).toMatchObject({ renewable: true });
      });
      it('without a token bootstraps Nomad, and says so where that was done before', async () => {
        const refused = [400, ['Token not provided and failed to bootstrap ACLs']];
        expect(await errorsOf('POST', 'nomad/config/access', { address: running.nomad.address })).toEqual(refused);
        expect(await errorsOf('GET', 'nomad/config/access')).toEqual([404, []]);
        await write('nomad/config/access', access());
        expect(await errorsOf('POST', 'nomad/config/access', { token: '' })).toEqual(refused);
        await write('nomad/role/r', { policies: ['a'] });
        expect(await creds('r')).toMatchObject({ renewable: true });
      });
      it('is tried only when a token is made: then the refusal of Nomad is told', async () => {
        await write('nomad/config/access', { ...access(), token: '11111111-1111-1111-1111-111111111111' });
        await write('nomad/role/r', { policies: ['a'] });
        expect(await errorsOf('GET', 'nomad/creds/r')).toEqual([
          500,
          ['1 error occurred:\n\t* Unexpected response code: 403 (Permission denied)\n\n'],
        ]);
        await write('nomad/config/access', { address: 'http://127.0.0.1:1' });
        expect(await errorsOf('GET', 'nomad/creds/r')).toEqual([
          500,
          [expect.stringContaining('Put "http://127.0.0.1:1/v1/acl/token": dial tcp 127.0.0.1:1')],
        ]);
      });
    });

    describe('its lease', () => {
      it('is seconds, and replaced as a whole: what is omitted is 0', async () => {
        expect(await write('nomad/config/lease', { ttl: '30m', max_ttl: 7200 })).toBe(204);
        expect(await vault.data('nomad/config/lease')).toEqual({ ttl: 1800, max_ttl: 7200 });
        await write('nomad/config/lease', { ttl: 60 });
        expect(await vault.data('nomad/config/lease')).toEqual({ ttl: 60, max_ttl: 0 });
        await vault.request('DELETE', 'nomad/config/lease');
        expect(await errorsOf('GET', 'nomad/config/lease')).toEqual([404, []]);
      });
      it.each([
        ['nonsense', 'error converting input for field "ttl": time: invalid duration "nonsense"'],
        [-1, 'error converting input for field "ttl": cannot provide negative value \'-1\''],
      ])('refuses the duration %s', async (ttl, why) => {
        expect(await errorsOf('POST', 'nomad/config/lease', { ttl })).toEqual([
          400,
          [`Field validation failed: ${why}`],
        ]);
      });
      it.each([
        ['that are set', { ttl: '10m', max_ttl: '20m' }, 600],
        ['of which the first is longer', { ttl: '2h', max_ttl: '1h' }, 3600],
        ['of which only the maximum is set', { max_ttl: '1h' }, 3600],
        ['that are 0: those of the mount', {}, 2764800],
      ])('bounds a token by limits %s', async (_what, lease, seconds) => {
        await write('nomad/config/access', access());
        await write('nomad/config/lease', lease);
        await write('nomad/role/r', { policies: ['a'] });
        expect((await creds('r')).lease_duration).toBe(seconds);
      });
    });

    describe('a role', () => {
      it('is merged by a write, but for the type, which an omission makes client', async () => {
        const role = async (body: unknown): Promise<unknown> => {
          expect(await write('nomad/role/r', body)).toBe(204);
          return vault.data('nomad/role/r');
        };
        expect(await role({ policies: 'b,a, a', global: true })).toEqual({
          policies: ['b', 'a', 'a'],
          global: true,
          type: 'client',
        });
        expect(await role({})).toEqual({ policies: ['b', 'a', 'a'], global: true, type: 'client' });
        expect(await role({ global: false, policies: ['x'] })).toEqual({
          policies: ['x'],
          global: false,
          type: 'client',
        });
        expect(await role({ type: 'management', policies: [] })).toEqual({
          policies: [],
          global: false,
          type: 'management',
        });
        expect(await role({ policies: ['x'] })).toEqual({ policies: ['x'], global: false, type: 'client' });
      });
      it('of type management has null policies where none were ever sent, and loses its type by a write without it', async () => {
        await write('nomad/role/m', { type: 'management' });
        expect(await vault.data('nomad/role/m')).toEqual({ policies: null, global: false, type: 'management' });
        const refused = [400, ['policies cannot be empty when using client tokens']];
        expect(await errorsOf('POST', 'nomad/role/m', { global: true })).toEqual(refused);
      });
      it.each([
        ['a client without policies', {}, 'policies cannot be empty when using client tokens'],
        [
          'management with policies',
          { type: 'management', policies: ['a'] },
          'policies should be empty when using management tokens',
        ],
        ['another type', { type: 'other', policies: ['a'] }, 'type must be "client" or "management"'],
      ])('refuses %s', async (_what, body, words) => {
        expect(await errorsOf('POST', 'nomad/role/r', body)).toEqual([400, [words]]);
      });
      it('is called as it was written, capitals and all', async () => {
        for (const name of ['Upper', 'with_under.dot']) await write(`nomad/role/${name}`, { policies: ['a'] });
        expect(await vault.list('nomad/role')).toEqual(['Upper', 'with_under.dot']);
        expect(await errorsOf('GET', 'nomad/creds/upper')).toEqual([400, ['role "upper" not found']]);
      });
    });

    describe('a token', () => {
      beforeEach(async () => {
        await write('nomad/config/access', access());
        await write('nomad/config/lease', { ttl: '30m', max_ttl: '2h' });
        await write('nomad/role/r', { policies: ['b', 'a'], global: true });
      });

      it('is one that Nomad honours, named after Vault and the role, without an end of its own', async () => {
        const leased = await creds('r');
        expect(leased).toMatchObject({ renewable: true, lease_duration: 1800 });
        expect(leased.lease_id).toMatch(/^nomad\/creds\/r\/[A-Za-z0-9]{24}$/);
        expect(await nomad.accepts(leased.data.secret_id)).toBe(true);
        expect(await nomad.token(leased.data.accessor_id)).toMatchObject({
          Name: expect.stringMatching(/^vault-r-token-\d+$/) as unknown,
          Type: 'client',
          Policies: ['b', 'a'],
          Global: true,
          ExpirationTime: null,
        });
      });
      it('is of management, or has a short name, where that was said', async () => {
        await write('nomad/role/m', { type: 'management' });
        await write('nomad/config/access', { max_token_name_length: 12 });
        const { data } = await creds('m');
        expect(await nomad.token(data.accessor_id)).toMatchObject({ Type: 'management', Name: 'vault-m-toke' });
      });
      it('has a lease that can be looked up, listed and renewed within its maximum', async () => {
        const { lease_id } = await creds('r');
        const suffix = lease_id.split('/').at(-1);
        const looked = await vault.request<{ data: unknown }>('POST', 'sys/leases/lookup', { lease_id });
        expect(looked.body.data).toMatchObject({ id: lease_id, last_renewal: null, renewable: true });
        expect(await vault.list('sys/leases/lookup/nomad/creds/r')).toEqual([suffix]);
        expect(await vault.list('sys/leases/lookup/nomad/creds')).toEqual(['r/']);
        expect(await vault.list('sys/leases/lookup/nomad')).toEqual(['creds/']);
        const renewed = async (increment?: number | string): Promise<unknown> => {
          const body = { lease_id, ...(increment !== undefined && { increment }) };
          return (await vault.request<Leased>('POST', 'sys/leases/renew', body)).body;
        };
        expect(await renewed()).toMatchObject({ lease_id, lease_duration: 1800, data: null });
        expect(await renewed(60)).toMatchObject({ lease_duration: 60 });
        const { lease_duration } = (await renewed('99h')) as Leased;
        expect(lease_duration).toBeGreaterThan(7100);
        expect(lease_duration).toBeLessThanOrEqual(7200);
      });
      it('is renewed by the limits of now, though its role is gone and Nomad knows it no more', async () => {
        const { lease_id, data } = await creds('r');
        await vault.request('DELETE', 'nomad/role/r');
        await nomad.request('DELETE', `/v1/acl/token/${data.accessor_id}`);
        await write('nomad/config/lease', { ttl: '10m', max_ttl: '1h' });
        const { body } = await vault.request('POST', 'sys/leases/renew', { lease_id });
        expect(body).toMatchObject({ lease_duration: 600 });
      });
      it('is gone from Nomad when its lease is revoked; revoking twice is no error', async () => {
        const { lease_id, data } = await creds('r');
        expect(await write('sys/leases/revoke', { lease_id })).toBe(204);
        expect(await nomad.accepts(data.secret_id)).toBe(false);
        expect(await write('sys/leases/revoke', { lease_id })).toBe(204);
        expect(await errorsOf('POST', 'sys/leases/lookup', { lease_id })).toEqual([400, ['invalid lease']]);
        expect(await errorsOf('POST', 'sys/leases/renew', { lease_id })).toEqual([400, ['lease not found']]);
        for (const what of ['lookup', 'renew', 'revoke'])
          expect(await errorsOf('POST', `sys/leases/${what}`, {})).toEqual([400, ['lease_id must be specified']]);
      });
      it('is gone with all of its role when the prefix is revoked, and others stay', async () => {
        await write('nomad/role/other', { policies: ['a'] });
        const [first, second, other] = [await creds('r'), await creds('r'), await creds('other')];
        expect(await write('sys/leases/revoke-prefix/nomad/creds/r', { sync: true })).toBe(204);
        for (const { data } of [first, second]) expect(await nomad.accepts(data.secret_id)).toBe(false);
        expect(await nomad.accepts(other.data.secret_id)).toBe(true);
        expect(await write('sys/leases/revoke-prefix/nomad/creds/none', { sync: true })).toBe(204);
      });
      it('that Nomad knows no more cannot be revoked, until that is forced', async () => {
        const { lease_id, data } = await creds('r');
        await nomad.request('DELETE', `/v1/acl/token/${data.accessor_id}`);
        const words = gone(data.accessor_id);
        expect(await errorsOf('POST', 'sys/leases/revoke', { lease_id })).toEqual([400, [words]]);
        expect(await errorsOf('POST', 'sys/leases/revoke-prefix/nomad/creds/r', { sync: true })).toEqual([
          400,
          [`failed to revoke "${lease_id}" (1 / 1): ${words}`],
        ]);
        expect(await vault.list('sys/leases/lookup/nomad/creds/r')).toHaveLength(1);
        expect(await write('sys/leases/revoke-force/nomad/creds/r')).toBe(204);
        expect(await vault.list('sys/leases/lookup/nomad/creds/r')).toEqual([]);
      });
      it('goes with the mount', async () => {
        const { data } = await creds('r');
        expect((await vault.request('DELETE', 'sys/mounts/nomad')).status).toBe(204);
        expect(await nomad.accepts(data.secret_id)).toBe(false);
      });
      it('that cannot be revoked leaves the mount listed, yet unreachable, until the lease is forced away', async () => {
        const { lease_id, data } = await creds('r');
        await nomad.request('DELETE', `/v1/acl/token/${data.accessor_id}`);
        expect(await errorsOf('DELETE', 'sys/mounts/nomad')).toEqual([
          400,
          [`failed to revoke "${lease_id}" (1 / 1): ${gone(data.accessor_id)}`],
        ]);
        expect(await vault.data('sys/mounts/nomad')).toMatchObject({ type: 'nomad' });
        for (const path of ['config/access', 'role/r', 'creds/r'])
          expect(await errorsOf('GET', `nomad/${path}`)).toEqual([
            404,
            [`no handler for route "nomad/${path}". route entry is tainted.`],
          ]);
        await write('sys/leases/revoke-force/nomad');
        expect((await vault.request('DELETE', 'sys/mounts/nomad')).status).toBe(204);
        expect((await vault.request('GET', 'sys/mounts/nomad')).status).toBe(400);
      });
      it('cannot be revoked either once the access to Nomad is deleted', async () => {
        const { lease_id, data } = await creds('r');
        await vault.request('DELETE', 'nomad/config/access');
        const [status, errors] = await errorsOf('POST', 'sys/leases/revoke', { lease_id });
        expect([status, String(errors)]).toEqual([400, expect.stringContaining('http://127.0.0.1:4646/v1/acl/token')]);
        expect(await nomad.accepts(data.secret_id)).toBe(true);
      });
    });
  });
});
