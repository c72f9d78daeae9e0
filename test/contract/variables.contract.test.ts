import { performance } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveNomad } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

interface Variable {
  readonly Path: string;
  readonly Namespace: string;
  readonly Items?: Record<string, string>;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
  readonly Lock?: { readonly ID: string; readonly TTL: string; readonly LockDelay: string };
}
type Reply<T = Variable> = Promise<{ status: number; body: T }>;

const ITEMS = { Items: { x: '1' } };

describe.each(implementations)('Nomad Variables as $name has them', ({ skip, start }) => {
  describe.skipIf(skip)('API', () => {
    let running: Implementation;
    let nomad: LiveNomad;

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
    });
    afterAll(() => running.stop());

    const put = <T = Variable>(path: string, body: unknown = ITEMS, by = nomad): Reply<T> =>
      by.request<T>('PUT', `/v1/var/${path}`, body);
    const get = (path: string, by = nomad): Reply => by.request<Variable>('GET', `/v1/var/${path}`);
    const remove = (path: string): Reply => nomad.request<Variable>('DELETE', `/v1/var/${path}`);
    const none = (path: string): unknown => ({
      CreateIndex: 0,
      CreateTime: 0,
      ModifyIndex: 0,
      ModifyTime: 0,
      Namespace: 'default',
      Path: path,
    });

    describe('check and set', () => {
      it('index 0 creates, and only creates; the conflict shows what is there', async () => {
        const made = await put('cas/create?cas=0');
        expect(made).toMatchObject({ status: 200, body: { ...ITEMS, Path: 'cas/create', Namespace: 'default' } });
        expect(await put('cas/create?cas=0')).toEqual({ status: 409, body: made.body });
      });
      it('takes the index that the variable has, and no other', async () => {
        const first = (await put('cas/index')).body;
        const second = await put(`cas/index?cas=${String(first.ModifyIndex)}`, { Items: { x: '2' } });
        expect(second.status).toBe(200);
        const late = await put(`cas/index?cas=${String(first.ModifyIndex)}`, { Items: { x: '3' } });
        expect(late).toEqual({ status: 409, body: second.body });
      });
      it('an equal write takes a new index too, so a reply that was lost cannot be had by asking again', async () => {
        const first = (await put('cas/equal')).body;
        const again = (await put(`cas/equal?cas=${String(first.ModifyIndex)}`)).body;
        expect(again.ModifyIndex).toBeGreaterThan(first.ModifyIndex);
        expect((await put(`cas/equal?cas=${String(first.ModifyIndex)}`)).status).toBe(409);
      });
      it('the index that it was made at stays with every write, and is another one when it is made again', async () => {
        const first = (await put('cas/made?cas=0')).body;
        const second = (await put(`cas/made?cas=${String(first.ModifyIndex)}`, { Items: { x: '2' } })).body;
        expect([second.CreateIndex, (await get('cas/made')).body.CreateIndex]).toEqual([
          first.CreateIndex,
          first.CreateIndex,
        ]);
        await remove('cas/made');
        expect((await put('cas/made?cas=0')).body.CreateIndex).toBeGreaterThan(second.ModifyIndex);
      });
      it('is written into a namespace that does not exist, too, by who may do everything; asked for that, Nomad says so', async () => {
        expect((await nomad.request('GET', '/v1/namespace/nowhere')).status).toBe(404);
        expect((await nomad.request('GET', '/v1/namespace/default')).status).toBe(200);
        expect((await put('cas/nowhere?cas=0&namespace=nowhere')).status).toBe(200);
        await remove('cas/nowhere?namespace=nowhere');
      });
      it('what is gone conflicts with nothing to show', async () => {
        expect(await put('cas/gone?cas=5')).toEqual({ status: 409, body: none('cas/gone') });
        expect(await remove('cas/gone?cas=5')).toEqual({ status: 409, body: none('cas/gone') });
      });
      it('deletes at the right index only', async () => {
        const made = (await put('cas/delete')).body;
        expect(await remove('cas/delete?cas=1')).toEqual({ status: 409, body: made });
        expect((await remove(`cas/delete?cas=${String(made.ModifyIndex)}`)).status).toBe(204);
        expect((await get('cas/delete')).status).toBe(404);
      });
      it('without it everything is overwritten, and deleting nothing succeeds', async () => {
        await put('cas/without');
        expect((await put('cas/without', { Items: { y: '2' } })).body.Items).toEqual({ y: '2' });
        expect((await remove('cas/without')).status).toBe(204);
        expect((await remove('cas/without')).status).toBe(204);
      });
    });

    describe('limits', () => {
      it('keys and values have 65,536 bytes together, counted in UTF-8 and before any escaping', async () => {
        for (const value of ['x'.repeat(65_535), '"'.repeat(65_535), `${'é'.repeat(32_767)}x`])
          expect((await put('limits', { Items: { k: value } })).status).toBe(200);
        for (const value of ['x'.repeat(65_536), 'é'.repeat(32_768)]) {
          const reply = await put<string>('limits', { Items: { k: value } });
          expect([reply.status, reply.body]).toEqual([
            400,
            expect.stringContaining('variables are limited to 64KiB in total size'),
          ]);
        }
      });
      it('keys and values may be any text', async () => {
        const items = { '': '', 'a key.with/odd é': '\u0000\n"' };
        expect((await put('any-text', { Items: items })).status).toBe(200);
        expect((await get('any-text')).body.Items).toEqual(items);
      });
      it.each([
        ['no items', { Items: {} }, 'variable missing required Items object'],
        ['a body without items', {}, 'variable missing required Items object'],
        ['a number', { Items: { x: 1 } }, 'cannot unmarshal number'],
        [
          'a lock outside of the lock operations',
          { ...ITEMS, Lock: { TTL: '10s' } },
          'should not contain lock definition',
        ],
      ])('%s is refused with 400 and the reason', async (_what, body, text) => {
        const reply = await put<string>('refused', body);
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining(text)]);
      });
      it('a request without a body is refused', async () => {
        expect(await nomad.request('PUT', '/v1/var/refused')).toEqual({ status: 400, body: 'Request body is empty' });
      });
      it.each([
        ['p'.repeat(129), 'invalid path'],
        ['a.b', 'invalid path'],
        ['a%20b', 'invalid path'],
        ['nomad', 'reserved top-level directory path'],
        ['nomad/x', 'only paths at'],
        ['nomad/job-templates', 'reserved directory path'],
      ])('the path %s is refused', async (path, text) => {
        const reply = await put<string>(path);
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining(text)]);
      });
      it.each(['p'.repeat(128), 'nomad-access/default/objects/0', 'a_b~c', 'nomad/jobs/nomad-access'])(
        'the path %s is taken',
        async (path) => {
          expect((await put(path)).status).toBe(200);
        },
      );
      it('the index is not a number: 400', async () => {
        const reply = await put<string>('cas?cas=x');
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining('can not parse cas')]);
      });
    });

    describe('reading', () => {
      it('a missing one is a 404', async () => {
        expect(await nomad.request('GET', '/v1/var/none')).toEqual({ status: 404, body: 'variable not found' });
      });
      it('the list has paths and indexes by prefix, without items, by pages', async () => {
        for (const name of ['c', 'a', 'b']) await put(`list/${name}`);
        await put('listed');
        const { body } = await nomad.request<Variable[]>('GET', '/v1/vars?prefix=list/');
        expect(body.map((v) => v.Path)).toEqual(['list/a', 'list/b', 'list/c']);
        expect(body.every((v) => v.ModifyIndex > 0 && !('Items' in v))).toBe(true);
        const headers = { 'x-nomad-token': running.nomad.token };
        const first = await fetch(`${running.nomad.address}/v1/vars?prefix=list/&per_page=2`, { headers });
        const next = first.headers.get('x-nomad-nexttoken') ?? '';
        const { body: rest } = await nomad.request<Variable[]>(
          'GET',
          `/v1/vars?prefix=list/&per_page=2&next_token=${encodeURIComponent(next)}`,
        );
        expect(rest.map((v) => v.Path)).toEqual(['list/c']);
      });
      it('namespaces are apart', async () => {
        await put('apart', { Items: { x: 'here' } });
        expect((await get('apart?namespace=elsewhere')).status).toBe(404);
        expect((await nomad.request<Variable[]>('GET', '/v1/vars?prefix=apart&namespace=elsewhere')).body).toEqual([]);
      });
      it('waits until it has changed', async () => {
        const { ModifyIndex } = (await put('waits')).body;
        const waiting = get(`waits?index=${String(ModifyIndex)}&wait=60s`);
        await put('waits', { Items: { x: '2' } });
        expect((await waiting).body.Items).toEqual({ x: '2' });
      });
      it('is for those only to whom a policy gives it', async () => {
        const policy = { Name: 'no-variables', Rules: 'node {\n  policy = "read"\n}\n' };
        await nomad.request('PUT', '/v1/acl/policy/no-variables', policy);
        const made = await nomad.request<{ SecretID: string }>('POST', '/v1/acl/token', {
          Type: 'client',
          Policies: ['no-variables'],
        });
        const client = new LiveNomad({ address: running.nomad.address, token: made.body.SecretID });
        expect((await get('apart', client)).status).toBe(403);
        expect((await put('apart', ITEMS, client)).status).toBe(403);
        expect((await put('apart?lock-acquire', ITEMS, client)).status).toBe(403);
      });
    });

    describe('lock', () => {
      const acquire = (path: string, id: string, more: object = {}, items: object = ITEMS): Reply =>
        put(`${path}?lock-acquire`, { ...items, Lock: { ID: id, TTL: '10s', LockDelay: '1ns', ...more } });
      const renew = <T = Variable>(path: string, id: string): Reply<T> =>
        put(`${path}?lock-renew`, { Lock: { ID: id } });
      const release = <T = Variable>(path: string, id: string): Reply<T> =>
        put(`${path}?lock-release`, { Lock: { ID: id } });

      it('makes the variable where there is none, under an ID of the caller’s choice or a new one', async () => {
        expect((await acquire('lock/own-id', 'mine')).body).toMatchObject({
          ...ITEMS,
          Lock: { ID: 'mine', TTL: '10s', LockDelay: '1ns' },
        });
        const { body } = await put('lock/new-id?lock-acquire', {});
        expect(body.Lock).toEqual({
          ID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
          TTL: '15s',
          LockDelay: '15s',
        });
      });
      it('keeps the second one out, who may read who holds it', async () => {
        await acquire('lock/second', 'first', {}, { Items: { holder: 'first' } });
        expect(await acquire('lock/second', 'second')).toEqual({ status: 409, body: none('lock/second') });
        expect((await get('lock/second')).body).toMatchObject({ Items: { holder: 'first' }, Lock: { ID: 'first' } });
      });
      it('can be acquired again under its ID, so an acquire without a reply is simply sent again', async () => {
        await acquire('lock/again', 'mine');
        expect((await acquire('lock/again', 'mine')).status).toBe(200);
      });
      it('keeps writes and deletions out that do not carry its ID', async () => {
        const { ModifyIndex } = (await acquire('lock/writes', 'mine')).body;
        const cas = `lock/writes?cas=${String(ModifyIndex)}`;
        for (const reply of [await put('lock/writes'), await put(cas), await remove('lock/writes'), await remove(cas)])
          expect(reply).toEqual({ status: 409, body: none('lock/writes') });
        expect((await put(cas, { ...ITEMS, Lock: { ID: 'mine' } })).status).toBe(200);
      });
      it('is renewed by its ID only, without a new index', async () => {
        const { ModifyIndex } = (await acquire('lock/renewed', 'mine')).body;
        expect(await renew('lock/renewed', 'mine')).toMatchObject({ status: 200, body: { ModifyIndex } });
        expect((await renew('lock/renewed', 'other')).status).toBe(409);
        expect((await renew('lock/missing', 'mine')).status).toBe(404);
      });
      it('once released is free at once, keeps its items, and is renewed no more', async () => {
        await acquire('lock/released', 'mine', { LockDelay: '1h' });
        const { ModifyIndex } = (await get('lock/released')).body;
        const waiting = get(`lock/released?index=${String(ModifyIndex)}&wait=60s`);
        expect((await release('lock/released', 'other')).status).toBe(409);
        expect((await release('lock/released', 'mine')).status).toBe(200);
        expect((await waiting).body).toMatchObject(ITEMS);
        expect(await renew('lock/released', 'mine')).toEqual({ status: 409, body: "variable doesn't hold a lock" });
        expect(await release('lock/released', 'mine')).toEqual({ status: 500, body: "variable doesn't hold a lock" });
        expect((await acquire('lock/released', 'other')).status).toBe(200);
      });
      it('releasing what never was is a 500', async () => {
        expect(await release('lock/never', 'mine')).toEqual({ status: 500, body: "variable doesn't exist" });
      });
      it.each([
        ['a TTL under ten seconds', { TTL: '9999ms' }, 'TTL must be between 10 seconds and 24 hours'],
        ['a TTL over a day', { TTL: '24h1s' }, 'TTL must be between 10 seconds and 24 hours'],
        ['a negative delay', { LockDelay: '-1s' }, 'Lock delay and TTL must be positive'],
      ])('%s is refused', async (_what, more, text) => {
        const reply = await acquire('lock/refused', 'mine', more);
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining(text)]);
      });
      it('goes with no index and with one operation at a time', async () => {
        const both = await put<string>('lock/both?lock-acquire&lock-renew', {});
        expect([both.status, both.body]).toEqual([400, 'multiple lock operations']);
        const cas = await put<string>('lock/both?lock-acquire&cas=0', {});
        expect([cas.status, cas.body]).toEqual([400, "CAS can't be used with lock operations"]);
      });
      it('is free twice its TTL after the last renewal, which is when its variable gets a new index', async () => {
        await acquire('lock/expires', 'mine');
        const { ModifyIndex } = (await get('lock/expires')).body;
        const renewed = performance.now();
        await renew('lock/expires', 'mine');
        await get(`lock/expires?index=${String(ModifyIndex)}&wait=60s`);
        const seconds = (performance.now() - renewed) / 1000;
        expect(seconds).toBeGreaterThan(19.9);
        expect(seconds).toBeLessThan(40);
        expect((await renew('lock/expires', 'mine')).status).toBe(409);
        expect((await acquire('lock/expires', 'other')).status).toBe(200);
      });
    });
  });
});
