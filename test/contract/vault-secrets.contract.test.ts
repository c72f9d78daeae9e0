import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveVault } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

interface Errors {
  readonly errors?: string[];
}

describe.each(implementations)('Vault as $name has it', ({ skip, start }) => {
  describe.skipIf(skip)('secrets mounts and KV', () => {
    let running: Implementation;
    let vault: LiveVault;

    beforeAll(async () => {
      running = await start();
      vault = new LiveVault(running.vault);
      await vault.request('POST', 'sys/mounts/kv1', { type: 'kv', options: { version: '1' }, description: 'first' });
    });
    afterAll(() => running.stop());

    const errorsOf = async (method: string, path: string, body?: unknown): Promise<[number, string[] | undefined]> => {
      const reply = await vault.request<Errors>(method, path, body);
      return [reply.status, reply.body.errors];
    };
    const put = (path: string, data: unknown, cas?: number): Promise<[number, string[] | undefined]> =>
      errorsOf('POST', `secret/data/${path}`, { data, ...(cas !== undefined && { options: { cas } }) });
    const statusOf = async (method: string, path: string, body?: unknown): Promise<number> =>
      (await vault.request(method, path, body)).status;

    describe('a mount', () => {
      it('reads with its accessor, its version and its own limits, 0 where they are those of the system', async () => {
        expect(await vault.data('sys/mounts/kv1')).toEqual({
          accessor: expect.stringMatching(/^kv_[0-9a-f]{8}$/) as unknown,
          config: { default_lease_ttl: 0, force_no_cache: false, max_lease_ttl: 0 },
          deprecation_status: 'supported',
          description: 'first',
          external_entropy_access: false,
          local: false,
          options: { version: '1' },
          plugin_version: '',
          running_plugin_version: expect.any(String) as unknown,
          running_sha256: '',
          seal_wrap: false,
          type: 'kv',
          uuid: expect.any(String) as unknown,
        });
      });
      it('is listed beside those that are built in', async () => {
        const mounts = (await vault.data('sys/mounts')) ?? {};
        expect(Object.keys(mounts)).toEqual(
          expect.arrayContaining(['cubbyhole/', 'identity/', 'kv1/', 'secret/', 'sys/']),
        );
        expect(mounts['secret/']).toMatchObject({ type: 'kv', options: { version: '2' } });
      });
      it.each([
        ['that is missing, read', 'GET', 'none', undefined, 'No secret engine mount at none/'],
        ['enabled twice', 'POST', 'kv1', { type: 'kv' }, 'path is already in use at kv1/'],
        ['below another', 'POST', 'kv1/below', { type: 'kv' }, 'path is already in use at kv1/'],
        ['of a type that there is not', 'POST', 'bad', { type: 'nosuch' }, 'plugin not found in the catalog: nosuch'],
        ['without a type', 'POST', 'bad', {}, 'backend type must be specified as a string'],
        ['that is missing, tuned', 'POST', 'none/tune', {}, 'tune of path "none/" failed: no mount entry found'],
      ])('%s, is refused in these words', async (_what, method, path, body, words) => {
        expect(await errorsOf(method, `sys/mounts/${path}`, body)).toEqual([400, [words]]);
      });
      it('of type kv has options {} where none were sent, and kv-v2 is kv with a version', async () => {
        await vault.request('POST', 'sys/mounts/plain', { type: 'kv' });
        await vault.request('POST', 'sys/mounts/second', { type: 'kv-v2' });
        expect(await vault.data('sys/mounts/plain')).toMatchObject({ type: 'kv', options: {} });
        expect(await vault.data('sys/mounts/second')).toMatchObject({ type: 'kv', options: { version: '2' } });
      });
      it('is tuned field by field, and its tuning reads with the limits that hold', async () => {
        await vault.request('POST', 'sys/mounts/tuned', { type: 'kv', description: 'before' });
        expect(await vault.data('sys/mounts/tuned/tune')).toMatchObject({
          default_lease_ttl: 2764800,
          max_lease_ttl: 2764800,
          description: 'before',
        });
        expect(await statusOf('POST', 'sys/mounts/tuned/tune', { default_lease_ttl: '1h' })).toBe(204);
        expect(await vault.data('sys/mounts/tuned')).toMatchObject({
          config: { default_lease_ttl: 3600, max_lease_ttl: 0 },
          description: 'before',
        });
      });
      it('gets a new accessor each time it is enabled, and disabling it twice is no error', async () => {
        const accessor = async (): Promise<unknown> => (await vault.data('sys/mounts/again'))?.['accessor'];
        await vault.request('POST', 'sys/mounts/again', { type: 'kv' });
        const first = await accessor();
        expect(await statusOf('DELETE', 'sys/mounts/again')).toBe(204);
        expect(await statusOf('DELETE', 'sys/mounts/again')).toBe(204);
        expect(await errorsOf('GET', 'again/x')).toEqual([
          404,
          ['no handler for route "again/x". route entry not found.'],
        ]);
        expect(await errorsOf('GET', 'again?list=true')).toEqual([
          404,
          ['no handler for route "again/". route entry not found.'],
        ]);
        await vault.request('POST', 'sys/mounts/again', { type: 'kv' });
        expect(await accessor()).not.toBe(first);
      });
    });

    describe('what lies at a path', () => {
      it('is told of the mount around it, with the limits that hold', async () => {
        expect(await vault.data('sys/internal/ui/mounts/secret/data/any/thing')).toMatchObject({
          path: 'secret/',
          type: 'kv',
          options: { version: '2' },
          config: { default_lease_ttl: 2764800 },
        });
      });
      it('is told only where there is something, and to whoever may do something there', async () => {
        const refusal = (path: string): [number, string[]] => [
          403,
          [`preflight capability check returned 403, please ensure client's policies grant access to path "${path}/"`],
        ];
        expect(await errorsOf('GET', 'sys/internal/ui/mounts/none/x')).toEqual(refusal('none/x'));
        const policy = 'path "secret/data/mine/*" { capabilities = ["read", "create"] }';
        await vault.request('POST', 'sys/policies/acl/mine', { policy });
        const made = await vault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
          policies: ['mine'],
        });
        const limited = new LiveVault({ ...running.vault, token: made.body.auth.client_token });
        expect(await limited.data('sys/internal/ui/mounts/secret/elsewhere')).toMatchObject({ path: 'secret/' });
        const reply = await limited.request<Errors>('GET', 'sys/internal/ui/mounts/kv1');
        expect([reply.status, reply.body.errors]).toEqual(refusal('kv1'));
      });
      it('and what may be done there is told to each of itself', async () => {
        const policy =
          'path "a/*" { capabilities = ["update", "create"] }\npath "a/no" { capabilities = ["deny"] }\npath "sys/mounts/+" { capabilities = ["sudo", "read"] }';
        await vault.request('POST', 'sys/policies/acl/some', { policy });
        const made = await vault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
          policies: ['some'],
        });
        const limited = new LiveVault({ ...running.vault, token: made.body.auth.client_token });
        const paths = ['a/x', 'a/no', 'b', 'sys/mounts/nomad'];
        const asked = await limited.request<{ data: unknown }>('POST', 'sys/capabilities-self', { paths });
        expect(asked.body.data).toEqual({
          'a/x': ['create', 'update'],
          'a/no': ['deny'],
          b: ['deny'],
          'sys/mounts/nomad': ['read', 'sudo'],
        });
        const root = await vault.request<{ data: unknown }>('POST', 'sys/capabilities-self', { paths: ['b'] });
        expect(root.body.data).toEqual({ b: ['root'], capabilities: ['root'] });
        expect(await errorsOf('POST', 'sys/capabilities-self', {})).toEqual([400, ['paths must be supplied']]);
      });
    });

    describe('KV version 1', () => {
      it('holds one value at a path, replaced as a whole', async () => {
        expect(await errorsOf('GET', 'kv1/x')).toEqual([404, []]);
        expect(await statusOf('POST', 'kv1/x', { a: '1', n: 2 })).toBe(204);
        expect(await vault.data('kv1/x')).toEqual({ a: '1', n: 2 });
        expect(await statusOf('POST', 'kv1/x', { b: '1' })).toBe(204);
        expect(await vault.data('kv1/x')).toEqual({ b: '1' });
        expect(await errorsOf('POST', 'kv1/x', {})).toEqual([400, ['missing data fields']]);
      });
      it('lists names and folders, deletes what is there or not, and is empty as 404', async () => {
        await vault.request('POST', 'kv1/folder/one', { a: '1' });
        expect(await vault.list('kv1')).toContain('folder/');
        expect(await vault.list('kv1/folder')).toEqual(['one']);
        expect(await statusOf('DELETE', 'kv1/folder/one')).toBe(204);
        expect(await statusOf('DELETE', 'kv1/folder/one')).toBe(204);
        expect(await errorsOf('GET', 'kv1/folder?list=true')).toEqual([404, []]);
      });
    });

    describe('KV version 2', () => {
      it('makes a version by each write, and reads any of them', async () => {
        const first = await vault.request<{ data: unknown }>('POST', 'secret/data/versions', { data: { a: '1' } });
        expect(first.body.data).toEqual({
          created_time: expect.any(String) as unknown,
          custom_metadata: null,
          deletion_time: '',
          destroyed: false,
          version: 1,
        });
        await put('versions', { a: '2' });
        expect(await vault.data('secret/data/versions')).toMatchObject({ data: { a: '2' }, metadata: { version: 2 } });
        expect(await vault.data('secret/data/versions?version=1')).toMatchObject({ data: { a: '1' } });
        expect(await errorsOf('GET', 'secret/data/versions?version=9')).toEqual([404, []]);
        expect(await errorsOf('POST', 'secret/data/versions', { a: 1 })).toEqual([400, ['no data provided']]);
      });
      it('writes with check-and-set only over the version that is named, 0 for none', async () => {
        const refused = [400, ['check-and-set parameter did not match the current version']];
        expect(await put('cas', { a: '1' }, 1)).toEqual(refused);
        expect((await put('cas', { a: '1' }, 0))[0]).toBe(200);
        expect(await put('cas', { a: '2' }, 0)).toEqual(refused);
        expect((await put('cas', { a: '2' }, 1))[0]).toBe(200);
      });
      it('demands check-and-set where the secret says so', async () => {
        await vault.request('POST', 'secret/metadata/strict', { cas_required: true });
        expect(await put('strict', { a: '1' })).toEqual([400, ['check-and-set parameter required for this call']]);
        expect((await put('strict', { a: '1' }, 0))[0]).toBe(200);
      });
      it('keeps a version that is deleted softly: a 404 that says so, and its number counts', async () => {
        await put('soft', { a: '1' });
        expect(await statusOf('DELETE', 'secret/data/soft')).toBe(204);
        const gone = await vault.request<{ data: unknown }>('GET', 'secret/data/soft');
        expect([gone.status, gone.body.data]).toMatchObject([
          404,
          {
            data: null,
            metadata: { version: 1, destroyed: false, deletion_time: expect.stringMatching(/^2/) as unknown },
          },
        ]);
        expect((await put('soft', { a: '2' }, 0))[0]).toBe(400);
        expect(await statusOf('POST', 'secret/undelete/soft', { versions: [1] })).toBe(204);
        expect(await vault.data('secret/data/soft')).toMatchObject({ data: { a: '1' } });
        expect(await statusOf('POST', 'secret/destroy/soft', { versions: [1] })).toBe(204);
        expect(await vault.data('secret/data/soft')).toMatchObject({ data: null, metadata: { destroyed: true } });
        expect((await put('soft', { a: '2' }, 1))[0]).toBe(200);
      });
      it('has metadata beside the versions, before the first of them too', async () => {
        expect(await errorsOf('GET', 'secret/metadata/marked')).toEqual([404, []]);
        const mark = { custom_metadata: { owner: 'us' } };
        expect(await statusOf('POST', 'secret/metadata/marked', mark)).toBe(204);
        expect(await vault.data('secret/metadata/marked')).toMatchObject({ ...mark, current_version: 0, versions: {} });
        expect(await errorsOf('GET', 'secret/data/marked')).toEqual([404, []]);
        await put('marked', { a: '1' }, 0);
        expect(await vault.data('secret/data/marked')).toMatchObject({ metadata: { ...mark, version: 1 } });
        expect(await vault.data('secret/metadata/marked')).toMatchObject({
          cas_required: false,
          current_version: 1,
          delete_version_after: '0s',
          max_versions: 0,
          oldest_version: 0,
          versions: { 1: { deletion_time: '', destroyed: false } },
        });
      });
      it('merges metadata, but replaces the custom one as a whole: null when it is empty', async () => {
        const custom = async (body: unknown): Promise<unknown> => {
          await vault.request('POST', 'secret/metadata/merged', body);
          return (await vault.data('secret/metadata/merged'))?.['custom_metadata'];
        };
        expect(await custom({ custom_metadata: { a: '1', b: '2' } })).toEqual({ a: '1', b: '2' });
        expect(await custom({ max_versions: 5 })).toEqual({ a: '1', b: '2' });
        expect(await custom({ custom_metadata: { b: 3 } })).toEqual({ b: '3' });
        expect(await custom({ custom_metadata: {} })).toBeNull();
        expect(await vault.data('secret/metadata/merged')).toMatchObject({ max_versions: 5 });
      });
      it('forgets the versions beyond the maximum', async () => {
        await vault.request('POST', 'secret/metadata/few', { max_versions: 2 });
        for (const a of ['1', '2', '3']) await put('few', { a });
        const metadata = await vault.data('secret/metadata/few');
        expect(metadata).toMatchObject({ current_version: 3, oldest_version: 2 });
        expect(Object.keys(metadata?.['versions'] ?? {})).toEqual(['2', '3']);
      });
      it('is gone with its metadata, and deleting twice is no error', async () => {
        await put('gone/deep', { a: '1' });
        expect(await vault.list('secret/metadata/gone')).toEqual(['deep']);
        expect(await vault.list('secret/metadata')).toContain('gone/');
        expect(await statusOf('DELETE', 'secret/metadata/gone/deep')).toBe(204);
        expect(await statusOf('DELETE', 'secret/metadata/gone/deep')).toBe(204);
        expect(await statusOf('DELETE', 'secret/data/gone/deep')).toBe(204);
        expect(await errorsOf('GET', 'secret/metadata/gone?list=true')).toEqual([404, []]);
        expect((await put('gone/deep', { a: '1' }, 0))[0]).toBe(200);
      });
      it('answers a path of version 1 with 404 and no data', async () => {
        const reply = await vault.request<{ data: unknown }>('GET', 'secret/x');
        expect([reply.status, reply.body.data]).toEqual([404, null]);
      });
    });
  });
});
