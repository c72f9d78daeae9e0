import { afterEach, describe, expect, it } from 'vitest';
import type { TargetError } from '../../src/contract/errors.ts';
import { NomadClient } from '../../src/targets/nomad/client.ts';
import { NomadVariables } from '../../src/targets/nomad/variables.ts';
import { VaultClient } from '../../src/targets/vault/client.ts';
import { startScripted, type Answer } from '../http/scripted-server.ts';

const PAGE = '<html>\n<title>Sign in</title><input value="hunter2"></html>';
const NO_NOMAD: [string, Answer][] = [
  ['the default backend of an ingress', { status: 404, body: 'default backend - 404' }],
  ['the 404 of another server in Go', { status: 404, body: '404 page not found\n' }],
  ['a page', { status: 404, body: PAGE }],
  ['an application platform', { status: 404, body: 'Application not found' }],
  ['a gateway that speaks JSON', { status: 404, body: '{"message":"no Route matched"}' }],
  ['an empty 404, as for a path that Nomad does not know', { status: 404 }],
];
const SIGN_IN: Answer = { status: 200, body: PAGE, headers: { 'content-type': 'text/html' } };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((o) => o.close()));
});

/** What both have in common: it is passing, it says whose answer it is not, and repeats nothing of it. */
async function expectForeign(what: Promise<unknown>, server: 'Nomad' | 'Vault', ambiguous = false): Promise<void> {
  const error = (await what.then(
    (value) => {
      throw new Error(`it was believed: ${JSON.stringify(value)}`);
    },
    (e: unknown) => e,
  )) as TargetError;
  expect(error).toMatchObject({ name: 'TargetError', class: 'transient', status: undefined, ambiguous });
  expect(error.message).toMatch(new RegExp(`what answers there \\(status \\d+\\) is not ${server}`));
  expect(error.message).not.toMatch(/hunter2|<html|backend/);
}

describe('Nomad, where something else answers', () => {
  async function nomad(answer: Answer): Promise<NomadClient> {
    const server = await startScripted(answer);
    const client = new NomadClient({ address: server.address, token: 't', maxConnections: 2 });
    open.push(client, server);
    return client;
  }

  it.each(NO_NOMAD)('%s does not make an object look gone', async (_what, answer) => {
    await expectForeign((await nomad(answer)).get('/v1/acl/policy/p'), 'Nomad');
  });
  it.each(NO_NOMAD)('%s does not make an object look deleted', async (_what, answer) => {
    await expectForeign((await nomad(answer)).delete('/v1/acl/policy/p'), 'Nomad');
  });
  it.each(NO_NOMAD)('%s does not make a list look wrong for ever', async (_what, answer) => {
    await expectForeign((await nomad(answer)).list('/v1/acl/policies'), 'Nomad');
  });
  it.each([
    'ACL policy not found',
    'ACL token not found',
    'ACL role not found',
    'ACL auth-method not found',
    'ACL binding rule not found',
    'variable not found',
  ])('Nomad’s own “%s” is a missing object', async (body) => {
    const client = await nomad({ status: 404, body });
    expect(await client.get('/v1/x')).toBeUndefined();
    expect(await client.delete('/v1/x')).toBe(0);
  });
  it('a page instead of an object, a list, a token or a deletion is not believed', async () => {
    const client = await nomad(SIGN_IN);
    await expectForeign(client.get('/v1/acl/policy/p'), 'Nomad');
    await expectForeign(client.list('/v1/acl/policies'), 'Nomad');
    await expectForeign(client.put('/v1/acl/policy/p', {}), 'Nomad');
    await expectForeign(client.delete('/v1/acl/policy/p'), 'Nomad');
    await expectForeign(client.moved('/v1/acl/policies', 1, new AbortController().signal), 'Nomad');
    await expectForeign(
      client.events(['ACLPolicy'], new AbortController().signal)[Symbol.asyncIterator]().next(),
      'Nomad',
    );
  });
  it('a page instead of a created token leaves in doubt whether there is one', async () => {
    await expectForeign((await nomad(SIGN_IN)).post('/v1/acl/token', {}), 'Nomad', true);
  });
  it('an object instead of a list, and nothing instead of an object, are not believed', async () => {
    await expectForeign((await nomad({ status: 200, body: '{"status":"ok"}' })).list('/v1/acl/policies'), 'Nomad');
    await expectForeign((await nomad({ status: 200 })).get('/v1/acl/policy/p'), 'Nomad');
  });
  it('a list without an index does not make everything look gone, nor a wait be over', async () => {
    const client = await nomad({ status: 200, body: '[]' });
    await expectForeign(client.list('/v1/acl/policies'), 'Nomad');
    await expectForeign(client.moved('/v1/acl/policies', 1, new AbortController().signal), 'Nomad');
  });
  it('a request whose caller knows the statuses is guarded too: a lock is neither held nor lost by what a proxy says', async () => {
    const options = { expect: [200, 404, 409] };
    for (const answer of [SIGN_IN, ...NO_NOMAD.map(([, reply]) => reply)]) {
      const renewed = (await nomad(answer)).request('PUT', '/v1/var/lock', { 'lock-renew': '' }, {}, options);
      await expectForeign(renewed, 'Nomad', answer === SIGN_IN);
    }
    const gone = await nomad({ status: 404, body: "variable doesn't exist" });
    expect((await gone.request('PUT', '/v1/var/lock', { 'lock-renew': '' }, {}, options)).status).toBe(404);
  });
  it('a conflict that is no variable’s is no proof that a write was refused or a lock lost', async () => {
    const place = { namespace: 'default', path: 'nomad-access/x' };
    const lock = { id: '', ttl: '15s', delay: '15s' };
    for (const body of ['conflict', '{"message":"no"}', 'null', PAGE]) {
      const variables = new NomadVariables(await nomad({ status: 409, body }));
      await expect(variables.write(place, {}, 1)).rejects.toMatchObject({ class: 'transient' });
      await expect(variables.remove(place, 1)).rejects.toMatchObject({ class: 'transient' });
    }
    const variables = new NomadVariables(await nomad({ status: 409, body: PAGE }));
    await expectForeign(variables.acquireLock(place, lock, {}), 'Nomad');
    await expectForeign(variables.renewLock(place, 'id'), 'Nomad');
  });
  it('a written policy is answered with nothing, and that is right', async () => {
    const client = await nomad({ status: 200, headers: { 'x-nomad-index': '7' } });
    expect(await client.put('/v1/acl/policy/p', {})).toEqual({ body: undefined, index: 7 });
    expect(await client.delete('/v1/acl/policy/p')).toBe(7);
  });
  it.each(['ACL token expired', 'ACL token not found or invalid workload identity: ACL token expired'])(
    'a 500 “%s” says that our own credential was refused',
    async (body) => {
      const server = await startScripted({ status: 500, body });
      const retry = { retries: 1, minTimeout: 1, maxTimeout: 1 };
      const client = new NomadClient({ address: server.address, token: 't', maxConnections: 2, retry });
      open.push(client, server);
      await expect(client.get('/v1/acl/token/self')).rejects.toMatchObject({ class: 'denied', status: 500 });
    },
  );
});

describe('Vault, where something else answers', () => {
  async function vault(answer: Answer): Promise<VaultClient> {
    const server = await startScripted(answer);
    const client = new VaultClient({ address: server.address, token: 't', maxConnections: 2 });
    open.push(client, server);
    return client;
  }

  it.each(NO_NOMAD)('%s makes nothing look gone', async (_what, answer) => {
    const client = await vault(answer);
    await expectForeign(client.read('auth/jwt/config'), 'Vault');
    await expectForeign(client.list('auth/jwt/role'), 'Vault');
    await expectForeign(client.delete('auth/jwt/role/r'), 'Vault');
    await expectForeign(client.write('auth/jwt/role/r', {}), 'Vault');
  });
  it.each([
    ['nothing there', '{"errors":[]}'],
    ['no mount there', '{"errors":["no handler for route \\"auth/jwt/config\\". route entry not found."]}'],
  ])('Vault’s own 404, %s, is a missing object', async (_what, body) => {
    const client = await vault({ status: 404, body });
    expect(await client.read('auth/jwt/config')).toBeUndefined();
    expect(await client.list('auth/jwt/role')).toEqual([]);
    await client.delete('auth/jwt/role/r');
  });
  it('Vault’s 404 for data that was deleted softly is a missing object', async () => {
    const body = '{"request_id":"fbbd5172","data":{"data":null,"metadata":{"version":1}},"warnings":null}';
    expect(await (await vault({ status: 404, body })).read('secret/data/x')).toBeUndefined();
  });
  it.each([
    ['a page', PAGE],
    ['JSON of somebody else', '{"status":"ok"}'],
    ['a list', '[]'],
    ['nothing', ''],
  ])('%s instead of an object does not make it look absent', async (_what, body) => {
    const client = await vault({ status: 200, body });
    await expectForeign(client.read('sys/auth'), 'Vault');
    await expectForeign(client.list('auth/jwt/role'), 'Vault');
  });
  it('a page instead of a confirmation is not believed', async () => {
    const client = await vault(SIGN_IN);
    await expectForeign(client.write('auth/jwt/role/r', {}), 'Vault');
    await expectForeign(client.delete('auth/jwt/role/r'), 'Vault');
  });
  it('a write may be confirmed with nothing', async () => {
    await (await vault({ status: 204 })).write('auth/jwt/role/r', {});
    await (await vault({ status: 200 })).write('auth/jwt/role/r', {});
  });
  it.each([
    ['a login page', 403, PAGE, 'denied', '(it sends an HTML page)'],
    ['a proxy', 403, 'hunter2 RBAC: access denied', 'denied', 'does a proxy in between reach Vault?'],
    ['a proxy that asks who we are', 401, '', 'denied', 'does a proxy in between reach Vault?'],
    ['a gateway that speaks JSON', 502, '{"message":"backend hunter2"}', 'transient', 'does a proxy'],
    ['a gateway with a page', 503, PAGE, 'transient', '(it sends an HTML page)'],
  ])(
    '%s that refuses (%i) is named as what it is, and its words are kept out',
    async (_who, status, body, cls, words) => {
      const server = await startScripted({ status, body });
      const retry = { retries: 1, minTimeout: 1, maxTimeout: 1 };
      const client = new VaultClient({ address: server.address, token: 't', maxConnections: 2, retry });
      open.push(client, server);
      const error = (await client.read('sys/auth').catch((e: unknown) => e)) as TargetError;
      expect(error).toMatchObject({ name: 'TargetError', class: cls, status });
      expect(error.message).toContain('what answers there is not Vault');
      expect(error.message).toContain(words);
      expect(error.message).not.toMatch(/hunter2|token given/);
    },
  );
  it('a refusal in a form that is not Vault’s is still an error with its words', async () => {
    await expect((await vault({ status: 400, body: 'bad request' })).read('x')).rejects.toThrow('400 bad request');
    await expect((await vault({ status: 400, body: '{"errors":"odd"}' })).read('x')).rejects.toMatchObject({
      class: 'terminal',
    });
  });
  it.each([
    ['error checking jwks URL http://nomad/jwks', 'dependency'],
    ['error checking oidc discovery URL', 'dependency'],
    ['error checking jwks_ca_pem', 'terminal'],
  ])('“%s” is of class %s', async (error, expected) => {
    const client = await vault({ status: 400, body: JSON.stringify({ errors: [error] }) });
    await expect(client.write('auth/jwt/config', {})).rejects.toMatchObject({ class: expected });
  });
});
