import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { policyHash } from '../../src/kinds/acl-policy/policy.ts';
import { LiveNomad } from '../e2e/live.ts';
import { EventLines } from './event-lines.ts';
import { implementations, type Implementation } from './implementations.ts';

const NOBODY = '11111111-1111-1111-1111-111111111111';
const RULES = 'namespace "default" {\n  policy = "read"\n}\n';

interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
  readonly Name: string;
  readonly Policies: string[] | null;
  readonly Roles: { ID: string; Name: string }[] | null;
  readonly ExpirationTime: string | null;
  readonly ExpirationTTL: string;
  readonly CreateTime: string;
  readonly ModifyIndex: number;
}

describe.each(implementations)('Nomad as $name has it', ({ skip, start }) => {
  describe.skipIf(skip)('ACL API', () => {
    let running: Implementation;
    let nomad: LiveNomad;
    /** Expires while the other facts are tried. */
    let shortLived: Token;

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
      shortLived = (await create({ Name: 'short', Type: 'management', ExpirationTTL: '60s' })).body;
    });
    afterAll(() => running.stop());

    const put = (name: string, body: Record<string, unknown> = {}): Promise<{ status: number; body: string }> =>
      nomad.request<string>('PUT', `/v1/acl/policy/${name}`, { Name: name, Rules: RULES, ...body });
    const create = async (body: Record<string, unknown>): Promise<{ status: number; body: Token }> =>
      nomad.request<Token>('POST', '/v1/acl/token', body);
    const made = async (body: Record<string, unknown> = {}): Promise<Token> =>
      (await create({ Name: 't', Type: 'client', Policies: ['p'], ...body })).body;
    const as = (token: string): LiveNomad => new LiveNomad({ address: running.nomad.address, token });
    const ask = async (
      method: string,
      path: string,
      { body, token = running.nomad.token }: { body?: unknown; token?: string } = {},
    ): Promise<{ status: number; text: string; index: number | undefined }> => {
      const reply = await fetch(`${running.nomad.address}${path}`, {
        method,
        headers: token === '' ? {} : { 'x-nomad-token': token },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const index = reply.headers.get('x-nomad-index');
      return { status: reply.status, text: await reply.text(), index: index === null ? undefined : Number(index) };
    };
    const names = (text: string): string[] => (JSON.parse(text) as { Name: string }[]).map((item) => item.Name);

    describe('policies', () => {
      it('a write answers 200 with an empty body, and reads back verbatim', async () => {
        expect(await put('verbatim', { Rules: `\r\n${RULES}\n`, Description: 'é' })).toEqual({ status: 200, body: '' });
        const { body } = await nomad.request<Record<string, unknown>>('GET', '/v1/acl/policy/verbatim');
        expect(body).toMatchObject({ Name: 'verbatim', Rules: `\r\n${RULES}\n`, Description: 'é', JobACL: null });
      });
      it('the list carries no rules, but a hash that can be computed from them', async () => {
        await put('hashed', { Description: 'd', JobACL: { Namespace: 'default', JobID: 'j', Group: 'g', Task: 't' } });
        await put('plain');
        const { body } = await nomad.request<{ Name: string; Hash: string }[]>('GET', '/v1/acl/policies');
        const hash = (name: string): string | undefined => body.find((p) => p.Name === name)?.Hash;
        expect(body.every((p) => !('Rules' in p))).toBe(true);
        const none = { 'jobAcl.namespace': '', 'jobAcl.jobId': '', 'jobAcl.group': '', 'jobAcl.task': '' };
        expect(hash('plain')).toBe(policyHash('plain', { description: '', rules: RULES, ...none }));
        const all = { 'jobAcl.namespace': 'default', 'jobAcl.jobId': 'j', 'jobAcl.group': 'g', 'jobAcl.task': 't' };
        expect(hash('hashed')).toBe(policyHash('hashed', { description: 'd', rules: RULES, ...all }));
      });
      it('an equal write still takes a new index, so what is equal must not be written', async () => {
        await put('same');
        const index = async (): Promise<number> =>
          (await nomad.request<{ ModifyIndex: number }>('GET', '/v1/acl/policy/same')).body.ModifyIndex;
        const before = await index();
        await put('same');
        expect(await index()).toBeGreaterThan(before);
      });
      it('a write replaces all of it: an omitted description or association is cleared', async () => {
        await put('cleared', { Description: 'd', JobACL: { Namespace: 'default', JobID: 'j' } });
        await put('cleared');
        expect((await nomad.request('GET', '/v1/acl/policy/cleared')).body).toMatchObject({
          Description: '',
          JobACL: null,
        });
      });
      it('empty rules are accepted', async () => {
        expect((await put('empty', { Rules: '' })).status).toBe(200);
      });
      it.each([
        ['bad rules', { Rules: 'namespace "x" { policy = "everything" }' }, 'failed to parse rules'],
        ['rules that are no HCL', { Rules: 'namespace {' }, 'failed to parse rules'],
        ['rules of comments alone', { Rules: '# nothing\n' }, 'failed to parse rules'],
        ['an unknown block', { Rules: 'namspace "x" { policy = "read" }' }, 'failed to parse rules'],
        ['a description of 257 bytes', { Description: 'x'.repeat(257) }, 'description longer than 256'],
        ['200 characters of two bytes', { Description: 'é'.repeat(200) }, 'description longer than 256'],
      ])('%s are refused with 400 and the reason', async (_what, body, text) => {
        const reply = await put('refused', body);
        expect(reply.status).toBe(400);
        expect(reply.body).toContain(text);
      });
      it('a bad name is refused with 400 and the name', async () => {
        const reply = await nomad.request<string>('PUT', '/v1/acl/policy/bad.name', { Name: 'bad.name', Rules: RULES });
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining("invalid name 'bad.name'")]);
      });
      it('are listed all at once, whatever page is asked for', async () => {
        await put('page-1');
        await put('page-2');
        const reply = await fetch(`${running.nomad.address}/v1/acl/policies?per_page=1`, {
          headers: { 'x-nomad-token': running.nomad.token },
        });
        expect(names(await reply.text())).toEqual(expect.arrayContaining(['page-1', 'page-2']));
        expect(reply.headers.get('x-nomad-nexttoken')).toBeNull();
      });
      it('named “self” cannot be: reading it lists policies, and it can be neither written nor deleted', async () => {
        await put('for-self');
        const read = await ask('GET', '/v1/acl/policy/self');
        expect([read.status, names(read.text)]).toEqual([200, expect.arrayContaining(['for-self'])]);
        expect((await put('self')).status).toBe(405);
        expect((await nomad.request('DELETE', '/v1/acl/policy/self')).status).toBe(405);
      });
      it('a name that is not the one of the path is refused, an omitted one too', async () => {
        for (const body of [{ Name: 'other', Rules: '' }, { Rules: '' }]) {
          const reply = await ask('PUT', '/v1/acl/policy/path-name', { body });
          expect([reply.status, reply.text]).toEqual([400, 'ACL policy name does not match request path']);
        }
      });
      it('a missing one reads as 404, and its deletion succeeds', async () => {
        expect((await nomad.request('GET', '/v1/acl/policy/none')).status).toBe(404);
        expect((await nomad.request('DELETE', '/v1/acl/policy/none')).status).toBe(200);
      });
    });

    describe('tokens', () => {
      it('policies need not exist, and keep their order and repetitions', async () => {
        expect((await made({ Policies: ['zz', 'aa', 'zz'] })).Policies).toEqual(['zz', 'aa', 'zz']);
      });
      it('a duration reads back in Go’s spelling, and the expiration is creation plus life', async () => {
        const token = await made({ ExpirationTTL: '3600s' });
        expect(token.ExpirationTTL).toBe('1h0m0s');
        expect(Date.parse(token.ExpirationTime ?? '') - Date.parse(token.CreateTime)).toBe(3_600_000);
      });
      it('the list has neither secrets nor lives; reading one has both', async () => {
        const token = await made({ ExpirationTTL: '1h' });
        const stub = (await nomad.tokens()).find((t) => t.AccessorID === token.AccessorID);
        expect(stub).toMatchObject({ ExpirationTime: token.ExpirationTime });
        expect(Object.keys(stub ?? {})).not.toContain('SecretID');
        expect(Object.keys(stub ?? {})).not.toContain('ExpirationTTL');
        expect(await nomad.token(token.AccessorID)).toMatchObject({
          SecretID: token.SecretID,
          ExpirationTTL: '1h0m0s',
        });
      });
      it.each([
        ['a client without policies', { Policies: [] }, 'client token missing policies or roles'],
        [
          'a management token with policies',
          { Type: 'management' },
          'management token cannot be associated with policies or roles',
        ],
        ['a life under a minute', { ExpirationTTL: '59s' }, 'expiration time cannot be less than 1m0s in the future'],
        ['a life over a day', { ExpirationTTL: '25h' }, 'expiration time cannot be more than 24h0m0s in the future'],
        ['a name of 257 bytes', { Name: 'x'.repeat(257) }, 'token name too long'],
        ['a name of 129 characters of two bytes', { Name: 'é'.repeat(129) }, 'token name too long'],
        ['a role that does not exist', { Roles: [{ Name: 'none' }] }, 'cannot find role'],
        ['an update of none', { AccessorID: '11111111-1111-1111-1111-111111111111' }, 'cannot find token'],
      ])('%s is refused with 400 and the reason', async (_what, body, text) => {
        const reply = await create({ Name: 't', Type: 'client', Policies: ['p'], ...body });
        expect([reply.status, JSON.stringify(reply.body)]).toEqual([400, expect.stringContaining(text)]);
      });
      it('an update of the whole keeps secret and expiration', async () => {
        const token = await made({ ExpirationTTL: '1h' });
        const whole = await nomad.token(token.AccessorID);
        const { status } = await nomad.request('PUT', `/v1/acl/token/${token.AccessorID}`, {
          ...whole,
          Policies: ['q'],
        });
        expect(status).toBe(200);
        expect(await nomad.token(token.AccessorID)).toMatchObject({
          SecretID: token.SecretID,
          ExpirationTime: token.ExpirationTime,
          Policies: ['q'],
        });
      });
      it('an update with the life but without the expiration makes a token live for ever, so the whole is sent', async () => {
        const token = await made({ ExpirationTTL: '1h' });
        const body = { AccessorID: token.AccessorID, Name: 't', Type: 'client', Policies: ['p'] };
        const path = `/v1/acl/token/${token.AccessorID}`;
        const without = await nomad.request<string>('PUT', path, body);
        expect([without.status, without.body]).toEqual([400, expect.stringContaining('cannot update expiration TTL')]);
        expect((await nomad.request('PUT', path, { ...body, ExpirationTTL: '1h' })).status).toBe(200);
        expect((await nomad.token(token.AccessorID))['ExpirationTime']).toBeNull();
      });
      it('an unknown key inside a block is accepted, so a typo there is not found by Nomad', async () => {
        expect((await put('typo', { Rules: 'namespace "x" { polcy = "read" }' })).status).toBe(200);
      });
      it('a client can become management in place, and its reach cannot be changed', async () => {
        const token = await made();
        const whole = await nomad.token(token.AccessorID);
        expect(
          (
            await nomad.request('PUT', `/v1/acl/token/${token.AccessorID}`, {
              ...whole,
              Type: 'management',
              Policies: [],
            })
          ).status,
        ).toBe(200);
        const toggled = await nomad.request<string>('PUT', `/v1/acl/token/${token.AccessorID}`, {
          ...whole,
          Global: true,
        });
        expect([toggled.status, toggled.body]).toEqual([400, expect.stringContaining('cannot toggle global mode')]);
      });
      it('a missing one reads as 404, and its deletion is a 400', async () => {
        const path = '/v1/acl/token/11111111-1111-1111-1111-111111111111';
        expect((await nomad.request('GET', path)).status).toBe(404);
        const reply = await nomad.request<string>('DELETE', path);
        expect([reply.status, reply.body]).toEqual([400, expect.stringContaining('Cannot delete nonexistent tokens')]);
      });
      it('a name may have 256 bytes', async () => {
        expect((await create({ Name: 'é'.repeat(128), Type: 'management' })).status).toBe(200);
      });
      it('an update needs its accessor in the body too', async () => {
        const token = await made();
        const body = { Name: 't', Type: 'client', Policies: ['p'] };
        const reply = await ask('PUT', `/v1/acl/token/${token.AccessorID}`, { body });
        expect([reply.status, reply.text]).toEqual([400, 'ACL token accessor does not match request path']);
      });
      it('an accessor that is no UUID is a 500, not a missing token', async () => {
        const reply = await ask('GET', '/v1/acl/token/short');
        expect([reply.status, reply.text]).toEqual([500, expect.stringContaining('UUID must be 36 characters')]);
      });
      it('the link to a role that is gone stays in the list, is left out where the token is read, and cannot be written', async () => {
        await put('for-gone');
        const role = { Name: 'gone', Policies: [{ Name: 'for-gone' }] };
        const { ID } = (await nomad.request<{ ID: string }>('POST', '/v1/acl/role', role)).body;
        const token = await made({ Roles: [{ ID }] });
        const before = await ask('GET', `/v1/acl/token/${token.AccessorID}`);
        expect((await nomad.request('DELETE', `/v1/acl/role/${ID}`)).status).toBe(200);
        const listed = (await nomad.request<Token[]>('GET', '/v1/acl/tokens')).body;
        expect(listed.find((t) => t.AccessorID === token.AccessorID)?.Roles?.map((r) => r.ID)).toEqual([ID]);
        const read = await ask('GET', `/v1/acl/token/${token.AccessorID}`);
        expect([(JSON.parse(read.text) as Token).Roles, read.index]).toEqual([[], before.index]);
        const again = await ask('PUT', `/v1/acl/token/${token.AccessorID}`, { body: { ...token, Roles: [{ ID }] } });
        expect([again.status, again.text]).toEqual([400, expect.stringContaining(`cannot find role ${ID}`)]);
      });
      it('names are not unique', async () => {
        const [a, b] = [await made({ Name: 'twin' }), await made({ Name: 'twin' })];
        expect(a.AccessorID).not.toBe(b.AccessorID);
      });
      it('a role is resolved by name, and listed by ID only', async () => {
        await put('for-role');
        const role = await nomad.request<{ ID: string }>('POST', '/v1/acl/role', {
          Name: 'readers',
          Policies: [{ Name: 'for-role' }],
        });
        const token = await made({ Policies: [], Roles: [{ Name: 'readers' }] });
        expect(token.Roles).toEqual([{ ID: role.body.ID, Name: 'readers' }]);
        const stub = (await nomad.request<Token[]>('GET', '/v1/acl/tokens')).body.find(
          (t) => t.AccessorID === token.AccessorID,
        );
        expect(stub?.Roles?.map((r) => r.ID)).toEqual([role.body.ID]);
      });
    });

    describe('what is not there', () => {
      it.each([
        ['/v1/acl/policy/none', 'ACL policy not found'],
        [`/v1/acl/token/${NOBODY}`, 'ACL token not found'],
        [`/v1/acl/role/${NOBODY}`, 'ACL role not found'],
        ['/v1/acl/role/name/none', 'ACL role not found'],
      ])('%s is a 404 with these words, and carries an index', async (path, words) => {
        const reply = await ask('GET', path);
        expect([reply.status, reply.text]).toEqual([404, words]);
        expect(reply.index).toBeGreaterThan(0);
      });
      it('a path that Nomad does not know is a 404 without words or index', async () => {
        expect(await ask('GET', '/v1/acl/nothing')).toEqual({ status: 404, text: '', index: undefined });
      });
      it('a policy that was deleted answers with the index of its deletion', async () => {
        await put('vanishes');
        const deleted = await ask('DELETE', '/v1/acl/policy/vanishes');
        expect((await ask('GET', '/v1/acl/policy/vanishes')).index).toBe(deleted.index);
      });
    });

    describe('indexes', () => {
      it('a write of a policy answers with its own, though with no body', async () => {
        const reply = await ask('PUT', '/v1/acl/policy/indexed', { body: { Name: 'indexed', Rules: RULES } });
        const { body } = await nomad.request<{ ModifyIndex: number }>('GET', '/v1/acl/policy/indexed');
        expect(reply).toEqual({ status: 200, text: '', index: body.ModifyIndex });
      });
      it('a new token and a changed one answer with theirs', async () => {
        const created = await ask('POST', '/v1/acl/token', { body: { Name: 'i', Type: 'client', Policies: ['p'] } });
        const token = JSON.parse(created.text) as Token;
        expect(created.index).toBe(token.ModifyIndex);
        const path = `/v1/acl/token/${token.AccessorID}`;
        const changed = await ask('PUT', path, { body: { ...token, Name: 'j' } });
        expect(changed.index).toBe((JSON.parse(changed.text) as Token).ModifyIndex);
        expect(changed.index).toBeGreaterThan(token.ModifyIndex);
      });
      it('a deletion answers with one that every list and event has from then on', async () => {
        const token = await made();
        await put('deleted');
        for (const [path, list] of [
          ['/v1/acl/policy/deleted', '/v1/acl/policies'],
          [`/v1/acl/token/${token.AccessorID}`, '/v1/acl/tokens'],
        ] as const) {
          const before = await ask('GET', list);
          const deleted = await ask('DELETE', path);
          expect(deleted).toMatchObject({ status: 200, text: '' });
          expect(deleted.index).toBeGreaterThan(before.index ?? Infinity);
          expect((await ask('GET', list)).index).toBe(deleted.index);
        }
      });
      it('a single object has the index of its last change, a list that of the last change of its type', async () => {
        await put('older');
        const newer = await ask('PUT', '/v1/acl/policy/newer', { body: { Name: 'newer', Rules: RULES } });
        const older = await ask('GET', '/v1/acl/policy/older');
        expect(older.index).toBe((JSON.parse(older.text) as { ModifyIndex: number }).ModifyIndex);
        expect((await ask('GET', '/v1/acl/policies')).index).toBe(newer.index);
      });
    });

    describe('a blocking query on one object', () => {
      const waiting = (path: string, index: number | undefined, wait = '60s'): ReturnType<typeof ask> =>
        ask('GET', `${path}?index=${index ?? 0}&wait=${wait}`);

      it('sleeps through the changes of others, and wakes by its own', async () => {
        await put('watched');
        const path = '/v1/acl/policy/watched';
        const woken = waiting(path, (await ask('GET', path)).index);
        await put('unwatched');
        const changed = await ask('PUT', path, { body: { Name: 'watched', Rules: '' } });
        expect((await woken).index).toBe(changed.index);
      });
      it('wakes by its deletion, with a 404', async () => {
        await put('doomed');
        const woken = waiting('/v1/acl/policy/doomed', (await ask('GET', '/v1/acl/policy/doomed')).index);
        const deleted = await ask('DELETE', '/v1/acl/policy/doomed');
        expect(await woken).toEqual({ status: 404, text: 'ACL policy not found', index: deleted.index });
      });
      it('that is not there wakes when it comes', async () => {
        const path = '/v1/acl/policy/to-come';
        const woken = waiting(path, (await ask('GET', path)).index);
        const come = await ask('PUT', path, { body: { Name: 'to-come', Rules: '' } });
        expect(await woken).toMatchObject({ status: 200, index: come.index });
      });
      it('answers as before when its time is over', async () => {
        await put('quiet');
        const before = await ask('GET', '/v1/acl/policy/quiet');
        expect(await waiting('/v1/acl/policy/quiet', before.index, '100ms')).toEqual(before);
      });
      it('works on tokens too', async () => {
        const token = await made();
        const path = `/v1/acl/token/${token.AccessorID}`;
        const woken = waiting(path, token.ModifyIndex);
        const changed = await ask('PUT', path, { body: { ...token, Name: 'woken' } });
        expect(await woken).toMatchObject({ status: 200, index: changed.index });
      });
    });

    describe('the event stream', () => {
      const open: EventLines[] = [];
      afterEach(() => {
        for (const lines of open.splice(0)) lines.close();
      });
      const listen = async (query: string, token = running.nomad.token): Promise<EventLines> => {
        const lines = await EventLines.open(running.nomad.address, token === '' ? undefined : token, query);
        open.push(lines);
        return lines;
      };
      const first = async (lines: EventLines): Promise<string | undefined> => {
        await expect.poll(() => lines.lines.length, { timeout: 20_000 }).toBeGreaterThan(0);
        return lines.lines[0];
      };
      const until = (lines: EventLines, index: number | undefined, timeout = 20_000): Promise<void> =>
        expect.poll(() => lines.events().some((e) => e.Index === index), { timeout }).toBe(true);

      it('begins with an empty object, at once, and uses its connection for nothing else', async () => {
        const lines = await listen('?topic=ACLPolicy&index=999999999');
        expect([lines.status, lines.headers.get('connection'), lines.headers.get('content-encoding')]).toEqual([
          200,
          'close',
          null,
        ]);
        expect(await first(lines)).toBe('{}');
      });
      it('answers 200 and then nothing to whoever may not listen', async () => {
        const client = (await made()).SecretID;
        const refused = await Promise.all([client, NOBODY, ''].map((token) => listen('?topic=ACLPolicy', token)));
        const allowed = await listen('?topic=ACLPolicy');
        const written = await ask('PUT', '/v1/acl/policy/unheard', { body: { Name: 'unheard', Rules: '' } });
        await until(allowed, written.index);
        expect(refused.map((lines) => [lines.status, lines.lines])).toEqual(Array(3).fill([200, []]));
      });
      it('tells again what the buffer holds, about the last hundred, where no index is given', async () => {
        const written: (number | undefined)[] = [];
        for (let i = 0; i < 130; i++)
          written.push((await ask('PUT', '/v1/acl/policy/replayed', { body: { Name: 'replayed', Rules: '' } })).index);
        const lines = await listen('?topic=*');
        await until(lines, written.at(-1));
        const indexes = lines.events().map((e) => e.Index);
        expect(indexes.length).toBeGreaterThanOrEqual(99);
        expect(indexes.length).toBeLessThanOrEqual(102);
        expect(indexes).toEqual(written.slice(-indexes.length));
      });
      it('begins with the event of the index that is given, and with the last one where it is ahead', async () => {
        const one = (await ask('PUT', '/v1/acl/policy/one', { body: { Name: 'one', Rules: '' } })).index ?? 0;
        const two = (await ask('PUT', '/v1/acl/policy/two', { body: { Name: 'two', Rules: '' } })).index ?? 0;
        for (const [index, expected] of [
          [one, [one, two]],
          [two, [two]],
          [two + 1_000, [two]],
        ] as const) {
          const lines = await listen(`?topic=ACLPolicy&index=${index}`);
          await until(lines, two);
          expect(lines.events().map((e) => e.Index)).toEqual(expected);
        }
      });
      it('tells of deletions, with key and index, and what the object was', async () => {
        await put('told');
        const token = await made({ Name: 'told' });
        const lines = await listen('?topic=ACLPolicy&topic=ACLToken');
        const policy = await ask('DELETE', '/v1/acl/policy/told');
        const deleted = await ask('DELETE', `/v1/acl/token/${token.AccessorID}`);
        await until(lines, deleted.index);
        const [ofPolicy, ofToken] = lines.events().slice(-2);
        expect(ofPolicy).toMatchObject({ Topic: 'ACLPolicy', Type: 'ACLPolicyDeleted', Key: 'told' });
        expect(ofPolicy?.Index).toBe(policy.index);
        expect(ofPolicy?.Payload['ACLPolicy']).toMatchObject({ Name: 'told', Rules: RULES });
        expect(ofToken).toMatchObject({ Topic: 'ACLToken', Type: 'ACLTokenDeleted', Key: token.AccessorID });
        expect(ofToken?.Payload['ACLToken']).toMatchObject({ Name: 'told', SecretID: '' });
      });
      it('tells of a token what a list tells, but an empty list where that has none', async () => {
        const lines = await listen('?topic=ACLToken');
        const token = (await create({ Name: 'empty', Type: 'management' })).body;
        await until(lines, token.ModifyIndex);
        expect(lines.events().at(-1)).toMatchObject({
          Type: 'ACLTokenUpserted',
          Payload: { ACLToken: { AccessorID: token.AccessorID, Policies: [], Roles: [], SecretID: '' } },
        });
      });
      it('tells only of the one object that is asked for', async () => {
        const lines = await listen('?topic=ACLPolicy:chosen');
        await first(lines);
        await put('not-chosen');
        const chosen = await ask('PUT', '/v1/acl/policy/chosen', { body: { Name: 'chosen', Rules: '' } });
        await until(lines, chosen.index);
        expect(lines.events().map((e) => e.Key)).toEqual(['chosen']);
      });
      it('says nothing any more to a reader that fell behind, and leaves it connected', async () => {
        const { hostname, port } = new URL(running.nomad.address);
        const reader = connect(Number(port), hostname);
        reader.write(
          `GET /v1/event/stream?topic=ACLPolicy HTTP/1.1\r\nHost: nomad\r\nX-Nomad-Token: ${running.nomad.token}\r\n\r\n`,
        );
        await once(reader, 'data');
        reader.pause();
        const Rules = `${'#'.repeat(100_000)}\n${RULES}`;
        for (let i = 0; i < 400; i++) await put('large', { Rules });
        let heard = '';
        reader.on('data', (chunk) => (heard += chunk.toString('latin1')));
        reader.resume();
        // One that begins while the buffer is still being filled may miss it as well.
        await vi.waitFor(
          async () => {
            const present = await listen('?topic=ACLPolicy&index=999999999');
            const after = await ask('PUT', '/v1/acl/policy/after', { body: { Name: 'after', Rules: '' } });
            await until(present, after.index, 5_000);
          },
          { timeout: 60_000 },
        );
        // What had been sent before has arrived when nothing more comes.
        let length = -1;
        while (length !== heard.length) {
          length = heard.length;
          await new Promise((done) => setTimeout(done, 500));
        }
        expect([heard.length > 0, heard.includes('"after"'), reader.readableEnded, reader.destroyed]).toEqual([
          true,
          false,
          false,
          false,
        ]);
        reader.destroy();
      });
    });

    describe('transport', () => {
      it('lists tokens by age, and goes on with a page though its first one was deleted', async () => {
        for (let i = 0; i < 3; i++) await made();
        const ages = (text: string): number[] =>
          (JSON.parse(text) as { CreateIndex: number }[]).map((t) => t.CreateIndex);
        const whole = ages((await ask('GET', '/v1/acl/tokens')).text);
        expect(whole).toEqual(whole.toSorted((a, b) => a - b));
        const page = await fetch(`${running.nomad.address}/v1/acl/tokens?per_page=2`, {
          headers: { 'x-nomad-token': running.nomad.token },
        });
        const next = page.headers.get('x-nomad-nexttoken') ?? '';
        expect(next).toMatch(new RegExp(`^${whole[2] ?? 0}\\.[0-9a-f-]{36}$`));
        expect((await ask('DELETE', `/v1/acl/token/${next.split('.')[1] ?? ''}`)).status).toBe(200);
        const rest = await ask('GET', `/v1/acl/tokens?per_page=100&next_token=${next}`);
        expect(ages(rest.text)).toEqual(whole.slice(3));
      });
      it('pages a list where that is asked for', async () => {
        const { body: whole } = await nomad.request<Token[]>('GET', '/v1/acl/tokens');
        const seen: string[] = [];
        let next = '';
        do {
          const reply = await fetch(
            `${running.nomad.address}/v1/acl/tokens?per_page=3${next && `&next_token=${encodeURIComponent(next)}`}`,
            { headers: { 'x-nomad-token': running.nomad.token } },
          );
          seen.push(...((await reply.json()) as Token[]).map((t) => t.AccessorID));
          next = reply.headers.get('x-nomad-nexttoken') ?? '';
        } while (next !== '');
        expect(seen.sort()).toEqual(whole.map((t) => t.AccessorID).sort());
      });
      it('a bad token is a 403, never a 404', async () => {
        const nobody = as('11111111-1111-1111-1111-111111111111');
        for (const path of ['/v1/acl/policies', '/v1/acl/tokens', '/v1/acl/policy/none', '/v1/acl/token/self']) {
          expect((await nobody.request('GET', path)).status, path).toBe(403);
        }
      });
      it('a client token sees its own policies and roles, those of its roles too, and no others', async () => {
        await put('own');
        await put('of-role');
        await put('foreign');
        const role = { Name: 'own-role', Policies: [{ Name: 'of-role' }] };
        await nomad.request('POST', '/v1/acl/role', role);
        await nomad.request('POST', '/v1/acl/role', { Name: 'foreign-role', Policies: [{ Name: 'foreign' }] });
        const { SecretID: token } = await made({ Policies: ['own', 'missing'], Roles: [{ Name: 'own-role' }] });
        for (const path of ['/v1/acl/policies', '/v1/acl/policy/self']) {
          const seen = await ask('GET', path, { token });
          expect([seen.status, names(seen.text)], path).toEqual([200, ['of-role', 'own']]);
        }
        const roles = await ask('GET', '/v1/acl/roles', { token });
        expect([roles.status, names(roles.text)]).toEqual([200, ['own-role']]);
        expect((await ask('GET', '/v1/acl/policy/of-role', { token })).status).toBe(200);
        expect((await ask('GET', '/v1/acl/policy/foreign', { token })).status).toBe(403);
        expect((await ask('GET', '/v1/acl/policy/none', { token })).status).toBe(403);
        expect((await ask('GET', '/v1/acl/policy/missing', { token })).status).toBe(404);
        expect((await ask('GET', '/v1/acl/policy/anonymous', { token })).status).toBe(404);
      });
      it('without a token lists are empty rather than refused, and oneself is “anonymous”', async () => {
        for (const path of ['/v1/acl/policies', '/v1/acl/roles'])
          expect(await ask('GET', path, { token: '' }), path).toMatchObject({ status: 200, text: '[]' });
        expect((await ask('GET', '/v1/acl/tokens', { token: '' })).status).toBe(403);
        const self = await ask('GET', '/v1/acl/token/self', { token: '' });
        expect([self.status, self.index, JSON.parse(self.text)]).toMatchObject([
          200,
          0,
          { AccessorID: 'anonymous', SecretID: '', Type: 'client', Policies: ['anonymous'] },
        ]);
      });
      it('a client token sees and changes no tokens', async () => {
        const client = as((await made()).SecretID);
        expect((await client.request('GET', '/v1/acl/tokens')).status).toBe(403);
        expect((await client.request('POST', '/v1/acl/token', { Type: 'management' })).status).toBe(403);
        expect((await client.request('GET', '/v1/acl/token/self')).status).toBe(200);
      });
      it('ACLs can be bootstrapped only once', async () => {
        const reply = await nomad.request<string>('PUT', '/v1/acl/bootstrap');
        expect([reply.status, reply.body]).toEqual([
          400,
          expect.stringContaining('ACL bootstrap already done (reset index:'),
        ]);
      });
      it('a blocking query waits until something has changed', async () => {
        const first = await fetch(`${running.nomad.address}/v1/acl/policies`, {
          headers: { 'x-nomad-token': running.nomad.token },
        });
        const index = first.headers.get('x-nomad-index') ?? '';
        const waiting = fetch(`${running.nomad.address}/v1/acl/policies?index=${index}&wait=30s`, {
          headers: { 'x-nomad-token': running.nomad.token },
        });
        await put('wakes');
        const reply = await waiting;
        expect(Number(reply.headers.get('x-nomad-index'))).toBeGreaterThan(Number(index));
        expect(JSON.stringify(await reply.json())).toContain('"wakes"');
      });
      it('the event stream tells of policies with their rules and of tokens without their secrets', async () => {
        const abort = new AbortController();
        const reply = await fetch(`${running.nomad.address}/v1/event/stream?topic=ACLPolicy&topic=ACLToken`, {
          // A compressed stream arrives only once Nomad's compressor is full.
          headers: { 'x-nomad-token': running.nomad.token, 'accept-encoding': 'identity' },
          signal: abort.signal,
        });
        expect(reply.status).toBe(200);
        expect((await put('streamed', { Rules: RULES.replace('default', 'streamed-rules') })).status).toBe(200);
        const token = await made({ Name: 'streamed' });
        let text = '';
        const decoder = new TextDecoder();
        for await (const chunk of reply.body ?? []) {
          text += decoder.decode(chunk as Uint8Array, { stream: true });
          if (text.includes('streamed-rules') && text.includes(token.AccessorID)) break;
        }
        abort.abort();
        expect(text).not.toContain(token.SecretID);
      });
      it('more than a hundred connections are refused with a 429, before anything is asked', async () => {
        const { hostname, port } = new URL(running.nomad.address);
        const sockets: Socket[] = [];
        try {
          const refusal = new Promise<string>((done) => {
            for (let i = 0; i < 101; i++) {
              const socket = connect(Number(port), hostname);
              socket.on('data', (data) => {
                done(data.toString());
              });
              socket.on('error', () => undefined);
              sockets.push(socket);
            }
          });
          const text = await refusal;
          expect(text).toMatch(/^HTTP\/1\.1 429 /);
          expect(text).toContain('Your IP is issuing too many concurrent connections, please rate limit your calls');
        } finally {
          for (const socket of sockets) socket.destroy();
        }
        await expect.poll(() => ask('GET', '/v1/status/leader').then((r) => r.status)).toBe(200);
      });
      it('the JWKS is there for everybody', async () => {
        const reply = await fetch(`${running.nomad.address}/.well-known/jwks.json`);
        const { keys } = (await reply.json()) as { keys: { alg: string; use: string; kid: string }[] };
        expect(keys.length).toBeGreaterThan(0);
        expect(keys[0]).toMatchObject({ alg: 'RS256', use: 'sig' });
      });
    });

    // The last: it waits for what is left of a minute, the shortest life that Nomad gives.
    it('an expired token of our own is told by a 500 where a token is read, else by a 403; others may read, change and delete it', async () => {
      running.age(60_000);
      const token = shortLived.SecretID;
      const path = `/v1/acl/token/${shortLived.AccessorID}`;
      await expect
        .poll(() => ask('GET', '/v1/acl/token/self', { token }).then((r) => r.status), {
          timeout: 75_000,
          interval: 500,
        })
        .toBe(500);
      for (const read of ['/v1/acl/token/self', path, `/v1/acl/token/${NOBODY}`])
        expect(await ask('GET', read, { token }), read).toMatchObject({ status: 500, text: 'ACL token expired' });
      for (const read of ['/v1/acl/tokens', '/v1/acl/policies', '/v1/acl/roles', '/v1/acl/policy/none'])
        expect(await ask('GET', read, { token }), read).toMatchObject({ status: 403, text: 'Permission denied' });
      const body = { Name: 'x', Rules: '' };
      expect((await ask('PUT', '/v1/acl/policy/x', { token, body })).status).toBe(403);
      expect((await ask('DELETE', path, { token })).status).toBe(403);

      const whole = await nomad.token(shortLived.AccessorID);
      expect(whole).toMatchObject({ SecretID: token, ExpirationTime: shortLived.ExpirationTime });
      expect((await nomad.tokens()).map((t) => t.AccessorID)).toContain(shortLived.AccessorID);
      expect((await ask('PUT', path, { body: { ...whole, Name: 'renamed' } })).status).toBe(200);
      expect((await ask('DELETE', path)).status).toBe(200);
    });
  });
});
