import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policyHash } from '../../src/kinds/acl-policy/policy.ts';
import { LiveNomad } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

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

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
    });
    afterAll(() => running.stop());

    const put = (name: string, body: Record<string, unknown> = {}): Promise<{ status: number; body: string }> =>
      nomad.request<string>('PUT', `/v1/acl/policy/${name}`, { Name: name, Rules: RULES, ...body });
    const create = async (body: Record<string, unknown>): Promise<{ status: number; body: Token }> =>
      nomad.request<Token>('POST', '/v1/acl/token', body);
    const made = async (body: Record<string, unknown> = {}): Promise<Token> =>
      (await create({ Name: 't', Type: 'client', Policies: ['p'], ...body })).body;
    const as = (token: string): LiveNomad => new LiveNomad({ address: running.nomad.address, token });

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

    describe('transport', () => {
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
      it('the JWKS is there for everybody', async () => {
        const reply = await fetch(`${running.nomad.address}/.well-known/jwks.json`);
        const { keys } = (await reply.json()) as { keys: { alg: string; use: string; kid: string }[] };
        expect(keys.length).toBeGreaterThan(0);
        expect(keys[0]).toMatchObject({ alg: 'RS256', use: 'sig' });
      });
    });
  });
});
