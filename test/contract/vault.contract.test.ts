import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { rootCertificates } from 'node:tls';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VaultClient } from '../../src/targets/vault/client.ts';
import { LiveVault } from '../e2e/live.ts';
import { implementations, type Implementation } from './implementations.ts';

interface Errors {
  readonly errors?: string[];
}

describe.each(implementations)('Vault as $name has it', ({ skip, start }) => {
  describe.skipIf(skip)('JWT auth and policies', () => {
    let running: Implementation;
    let vault: LiveVault;
    let jwks: string;

    beforeAll(async () => {
      running = await start();
      vault = new LiveVault(running.vault);
      jwks = `${running.nomad.address}/.well-known/jwks.json`;
      await vault.request('POST', 'sys/auth/jwt', { type: 'jwt', options: null });
    });
    afterAll(() => running.stop());

    const config = (body: Record<string, unknown>): Promise<{ status: number; body: Errors }> =>
      vault.request<Errors>('POST', 'auth/jwt/config', body);
    const role = (name: string, body: Record<string, unknown>): Promise<{ status: number; body: Errors }> =>
      vault.request<Errors>('POST', `auth/jwt/role/${name}`, {
        role_type: 'jwt',
        user_claim: 'sub',
        bound_audiences: 'vault.io',
        ...body,
      });

    describe('what is not there', () => {
      it.each([
        ['auth/jwt/config', []],
        ['auth/jwt/role/none', []],
        ['auth/jwt/role?list=true', []],
        ['sys/policies/acl/none', []],
        ['secret/data/none', []],
        ['sys/leases/lookup/auth/jwt/login?list=true', []],
        ['auth/none/config', ['no handler for route "auth/none/config". route entry not found.']],
        ['auth/none/role/r', ['no handler for route "auth/none/role/r". route entry not found.']],
        ['auth/none/role?list=true', ['no handler for route "auth/none/role/". route entry not found.']],
        ['auth/token/config', ['1 error occurred:\n\t* unsupported path\n\n']],
        ['sys/namespaces/team', ['enterprise-only feature']],
        ['sys/namespaces?list=true', ['enterprise-only feature']],
      ])('%s is a 404 whose body is JSON with the errors %j', async (path, errors) => {
        expect(await vault.request('GET', path)).toEqual({ status: 404, body: { errors } });
      });
      it('a namespace, which the Community Edition does not have: it says so, and we say what to do', async () => {
        const { status, body } = await vault.request<Errors>('POST', 'sys/namespaces/team', {});
        expect([status, body.errors]).toEqual([404, ['enterprise-only feature']]);
        const client = new VaultClient({ ...running.vault, maxConnections: 1 });
        const said = /need Vault Enterprise: remove createNamespace and namespace from the VaultServer/;
        await expect(client.in(undefined).read('sys/namespaces/team')).rejects.toThrow(said);
        await expect(client.write('sys/namespaces/team', {})).rejects.toThrow(said);
        await client.close();
      });
      it('under a mount that is missing cannot be written or deleted either', async () => {
        const errors = ['no handler for route "auth/none/role/r". route entry not found.'];
        for (const method of ['PUT', 'DELETE'])
          expect(await vault.request(method, 'auth/none/role/r', {})).toEqual({ status: 404, body: { errors } });
      });
    });

    describe('a mount', () => {
      it('cannot be enabled twice', async () => {
        const { status, body } = await vault.request<Errors>('POST', 'sys/auth/jwt', { type: 'jwt' });
        expect([status, String(body.errors)]).toEqual([400, expect.stringContaining('path is already in use at jwt/')]);
      });
      it('has options null only where null was sent', async () => {
        expect(await vault.data('sys/auth/jwt')).toMatchObject({ options: null, type: 'jwt' });
        await vault.request('POST', 'sys/auth/other', { type: 'jwt' });
        expect(await vault.data('sys/auth/other')).toMatchObject({ options: {} });
      });
      it('gets a new accessor each time it is enabled, and disabling it twice is no error', async () => {
        const accessor = async (): Promise<unknown> => (await vault.data('sys/auth/again'))?.['accessor'];
        await vault.request('POST', 'sys/auth/again', { type: 'jwt' });
        const first = await accessor();
        expect((await vault.request('DELETE', 'sys/auth/again')).status).toBe(204);
        expect((await vault.request('DELETE', 'sys/auth/again')).status).toBe(204);
        await vault.request('POST', 'sys/auth/again', { type: 'jwt' });
        expect(await accessor()).not.toBe(first);
      });
      it('that is missing reads as 400, and is absent from the list', async () => {
        expect((await vault.request('GET', 'sys/auth/nowhere')).status).toBe(400);
        expect(Object.keys((await vault.data('sys/auth')) ?? {})).toEqual(expect.arrayContaining(['jwt/', 'token/']));
      });
    });

    describe('its configuration', () => {
      it('reads as 404 before it is written, and stays so when the keys cannot be fetched', async () => {
        expect((await vault.request('GET', 'auth/jwt/config')).status).toBe(404);
        const { status, body } = await config({ jwks_url: 'http://127.0.0.1:1/jwks' });
        expect([status, String(body.errors)]).toEqual([
          400,
          expect.stringContaining('error checking jwks URL http://127.0.0.1:1/jwks'),
        ]);
        expect((await vault.request('GET', 'auth/jwt/config')).status).toBe(404);
      });
      it('reads back every field, lists empty rather than null', async () => {
        expect((await config({ jwks_url: jwks, jwt_supported_algs: ['RS256'], default_role: 'Mixed' })).status).toBe(
          204,
        );
        expect(await vault.data('auth/jwt/config')).toEqual({
          bound_issuer: '',
          default_role: 'mixed',
          jwks_ca_pem: '',
          jwks_pairs: [],
          jwks_url: jwks,
          jwt_supported_algs: ['RS256'],
          jwt_validation_pubkeys: [],
          namespace_in_state: true,
          oidc_client_id: '',
          oidc_discovery_ca_pem: '',
          oidc_discovery_url: '',
          oidc_response_mode: '',
          oidc_response_types: [],
          provider_config: {},
          unsupported_critical_cert_extensions: [],
        });
      });
      it('is replaced as a whole: what is omitted is cleared', async () => {
        await config({ jwks_url: jwks, bound_issuer: 'me', default_role: 'x' });
        await config({ jwks_url: jwks });
        expect(await vault.data('auth/jwt/config')).toMatchObject({ bound_issuer: '', default_role: '' });
      });
      it('keeps a CA certificate verbatim, with or without the line end at its end', async () => {
        const pem = rootCertificates[0]?.trimEnd() ?? '';
        for (const given of [pem, `${pem}\n`, `${pem}\n\n`]) {
          expect((await config({ jwks_url: jwks, jwks_ca_pem: given })).status).toBe(204);
          expect(await vault.data('auth/jwt/config')).toMatchObject({ jwks_ca_pem: given });
          expect((await config({ jwks_pairs: [{ jwks_url: jwks, jwks_ca_pem: given }] })).status).toBe(204);
          expect(await vault.data('auth/jwt/config')).toMatchObject({
            jwks_pairs: [{ jwks_url: jwks, jwks_ca_pem: given }],
          });
        }
      });
      it('keeps keys in their order, each without the white space around it', async () => {
        const pem = async (): Promise<string> => exportSPKI((await generateKeyPair('RS256')).publicKey);
        const [a, b] = [(await pem()).trim(), (await pem()).trim()];
        for (const given of [[a], [`${a}\n`], [b, a], [`\n${b}\n`, a], `${a},${b}`]) {
          expect((await config({ jwt_validation_pubkeys: given })).status).toBe(204);
          const keys = typeof given === 'string' ? given.split(',') : given;
          expect(await vault.data('auth/jwt/config')).toMatchObject({
            jwt_validation_pubkeys: keys.map((key) => key.trim()),
          });
        }
      });
      it.each([
        ['http://127.0.0.1:1', 'where nothing listens'],
        ['nonsense', 'that is none'],
      ])('tells of an OIDC discovery URL %s, %s, without naming it', async (url) => {
        const { status, body } = await config({ oidc_discovery_url: url });
        expect([status, body.errors]).toEqual([400, ['error checking oidc discovery URL']]);
      });
      it('tells of a JWKS URL that cannot be fetched, also among several, by its name', async () => {
        const dead = 'http://127.0.0.1:1/jwks';
        for (const body of [{ jwks_url: dead }, { jwks_pairs: [{ jwks_url: jwks }, { jwks_url: dead }] }])
          expect((await config(body)).body.errors).toEqual([`error checking jwks URL ${dead}`]);
      });
      it.each([
        [
          'an OIDC client without a secret',
          () => ({ jwks_url: jwks, oidc_client_id: 'x' }),
          "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
        ],
        [
          'an OIDC secret without a client',
          () => ({ jwks_url: jwks, oidc_client_secret: 'x' }),
          "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
        ],
        [
          'an OIDC client without discovery',
          () => ({ jwks_url: jwks, oidc_client_id: 'x', oidc_client_secret: 'y' }),
          "'oidc_discovery_url' must be set for OIDC",
        ],
        [
          'pairs with an issuer',
          () => ({ jwks_pairs: [{ jwks_url: jwks }], bound_issuer: 'x' }),
          "Bound issuer is not supported for use with 'jwks_pairs'",
        ],
        ['a CA that is none', () => ({ jwks_url: jwks, jwks_ca_pem: 'nonsense' }), 'error checking jwks_ca_pem'],
        [
          'an algorithm that is none',
          () => ({ jwks_url: jwks, jwt_supported_algs: ['XX'] }),
          'invalid jwt_supported_algs: unsupported signing algorithm "XX"',
        ],
      ])('refuses %s in these words', async (_what, body, words) => {
        const reply = await config(body());
        expect([reply.status, reply.body.errors]).toEqual([400, [words]]);
      });
      it('keeps jwks_pairs as they were given', async () => {
        expect((await config({ jwks_pairs: [{ jwks_url: jwks, jwks_ca_pem: '' }] })).status).toBe(204);
        expect(await vault.data('auth/jwt/config')).toMatchObject({
          jwks_pairs: [{ jwks_url: jwks, jwks_ca_pem: '' }],
          jwks_url: '',
        });
      });
      it.each([
        ['no source of keys', () => ({ bound_issuer: 'x' })],
        ['two sources of keys', () => ({ jwks_url: jwks, oidc_discovery_url: jwks })],
        ['jwks_pairs with an issuer', () => ({ jwks_pairs: [{ jwks_url: jwks }], bound_issuer: 'x' })],
        ['a key that is none', () => ({ jwt_validation_pubkeys: ['nonsense'] })],
      ])('refuses %s', async (_what, body) => {
        expect((await config(body())).status).toBe(400);
      });
    });

    describe('a role', () => {
      it('reads back seconds and lists, and null for what was never set', async () => {
        expect(
          (await role('plain', { token_period: '30m', token_policies: ['a'], token_type: 'service' })).status,
        ).toBe(204);
        expect(await vault.data('auth/jwt/role/plain')).toEqual({
          allowed_redirect_uris: null,
          bound_audiences: ['vault.io'],
          bound_claims: null,
          bound_claims_type: 'string',
          bound_subject: '',
          claim_mappings: null,
          clock_skew_leeway: 0,
          expiration_leeway: 0,
          groups_claim: '',
          max_age: 0,
          not_before_leeway: 0,
          oidc_scopes: null,
          role_type: 'jwt',
          token_bound_cidrs: [],
          token_explicit_max_ttl: 0,
          token_max_ttl: 0,
          token_no_default_policy: false,
          token_num_uses: 0,
          token_period: 1800,
          token_policies: ['a'],
          token_ttl: 0,
          token_type: 'service',
          user_claim: 'sub',
          user_claim_json_pointer: false,
          verbose_oidc_logging: false,
        });
      });
      it('is merged by a write, so that every managed field must be sent, the empty ones too', async () => {
        await role('merged', { token_policies: ['a'], bound_subject: 's', token_period: 60 });
        await role('merged', {});
        expect(await vault.data('auth/jwt/role/merged')).toMatchObject({
          token_policies: ['a'],
          bound_subject: 's',
          token_period: 60,
        });
        await role('merged', {
          token_policies: [],
          bound_subject: '',
          token_period: 0,
          bound_claims: {},
          claim_mappings: {},
        });
        expect(await vault.data('auth/jwt/role/merged')).toMatchObject({
          token_policies: [],
          bound_subject: '',
          token_period: 0,
        });
      });
      it.each([
        ['one string', 'a', ['a']],
        ['commas in a string', ' a , b ', ['a', 'b']],
        ['commas in a list', ['a,b'], ['a,b']],
        ['white space in a list', [' a ', 'b'], ['a', 'b']],
        ['order and repetition', ['b', 'a', 'b'], ['b', 'a', 'b']],
        ['capitals', ['A'], ['A']],
        ['nothing', '', []],
        ['null', null, []],
        ['an empty list', [], []],
        ['an empty string in a list', [''], ['']],
        ['commas next to each other', 'a,,b,', ['a', '', 'b', '']],
      ])('reads a list from %s', async (_what, given, expected) => {
        const fields = ['token_policies', 'oidc_scopes', 'allowed_redirect_uris'];
        expect((await role('lists', Object.fromEntries(fields.map((f) => [f, given])))).status).toBe(204);
        const read = await vault.data('auth/jwt/role/lists');
        expect(fields.map((f) => read?.[f])).toEqual(fields.map(() => expected));
      });
      it.each([
        [['10.0.0.1/32'], ['10.0.0.1']],
        [['10.0.0.1'], ['10.0.0.1']],
        ['10.0.0.1/32, 10.1.0.0/16', ['10.0.0.1', '10.1.0.0/16']],
        [['10.0.0.1/8'], ['10.0.0.1/8']],
        [['::1/128'], ['::1']],
        [[' 10.0.0.1 '], ['10.0.0.1']],
        [['127.0.0.1:80'], ['127.0.0.1:80']],
      ])('reads networks %j as %j', async (given, expected) => {
        expect((await role('networks', { token_bound_cidrs: given })).status).toBe(204);
        expect(await vault.data('auth/jwt/role/networks')).toMatchObject({ token_bound_cidrs: expected });
      });
      it('is one for OIDC where its type is omitted, also when it was another before', async () => {
        const untyped = { user_claim: 'sub', bound_audiences: 'a' };
        const refused = await vault.request<Errors>('POST', 'auth/jwt/role/untyped', untyped);
        expect([refused.status, refused.body.errors]).toEqual([
          400,
          ["'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified."],
        ]);
        await role('untyped', { allowed_redirect_uris: 'http://x' });
        expect((await vault.request('POST', 'auth/jwt/role/untyped', untyped)).status).toBe(204);
        expect(await vault.data('auth/jwt/role/untyped')).toMatchObject({ role_type: 'oidc' });
      });
      it.each([
        ['an address that is none', { token_bound_cidrs: ['nonsense'] }, 'error parsing address "nonsense"'],
        ['a duration that is none', { token_ttl: 'x' }, 'error converting input for field "token_ttl"'],
        ['a reserved target', { claim_mappings: { a: 'role' } }, 'metadata key "role" is reserved'],
        ['one target twice', { claim_mappings: { a: 'b', c: 'b' } }, 'multiple keys are mapped to metadata key "b"'],
        ['a life over its longest', { token_ttl: '2h', token_max_ttl: '1h' }, "'token_ttl' cannot be greater than"],
        ['a periodic batch token', { token_type: 'batch', token_period: '1h' }, "'token_type' cannot be 'batch'"],
        ['a type of token that is none', { token_type: 'x' }, 'invalid \'token_type\' value "x"'],
      ])('with %s is refused, and says why', async (_what, body, words) => {
        const reply = await role('refused', body);
        expect([reply.status, reply.body.errors]).toEqual([400, [expect.stringContaining(words)]]);
        expect((await vault.request('GET', 'auth/jwt/role/refused')).status).toBe(404);
      });
      it('has a name in lower case', async () => {
        await role('MiXed', {});
        expect(await vault.list('auth/jwt/role')).toContain('mixed');
      });
      it('needs something that it binds', async () => {
        expect(
          (await vault.request('POST', 'auth/jwt/role/unbound', { role_type: 'jwt', user_claim: 'sub' })).status,
        ).toBe(400);
      });
      it('that is missing reads as 404, and its deletion succeeds', async () => {
        expect((await vault.request('GET', 'auth/jwt/role/none')).status).toBe(404);
        expect((await vault.request('DELETE', 'auth/jwt/role/none')).status).toBe(204);
      });
    });

    describe('a policy', () => {
      const policy = (name: string, text: string): Promise<{ status: number }> =>
        vault.request('POST', `sys/policies/acl/${name}`, { policy: text });
      const read = async (name: string): Promise<unknown> => (await vault.data(`sys/policies/acl/${name}`))?.['policy'];

      it('in base64 is stored decoded and verbatim', async () => {
        const text = 'path "a" { capabilities = ["read"] }\n\n';
        await policy('encoded', Buffer.from(text).toString('base64'));
        expect(await read('encoded')).toBe(text);
      });
      it('has a name in lower case', async () => {
        await policy('MiXed', 'path "a" { capabilities = ["read"] }');
        expect(await vault.list('sys/policies/acl')).toContain('mixed');
      });
      it('that is empty is refused, one that is missing reads as 404, and deleting it succeeds', async () => {
        expect((await policy('void', '')).status).toBe(400);
        expect((await vault.request('GET', 'sys/policies/acl/none')).status).toBe(404);
        expect((await vault.request('DELETE', 'sys/policies/acl/none')).status).toBe(204);
      });
      it('with a capability that there is not is refused, and named', async () => {
        const reply = await vault.request<Errors>('POST', 'sys/policies/acl/wrong', {
          policy: 'path "a" { capabilities = ["reed"] }',
        });
        expect([reply.status, reply.body.errors]).toEqual([
          400,
          ['failed to parse policy: path "a": invalid capability "reed"'],
        ]);
      });
      it('root cannot be changed or deleted', async () => {
        expect((await policy('root', 'path "a" { capabilities = ["read"] }')).status).toBe(400);
        expect((await vault.request('DELETE', 'sys/policies/acl/root')).status).toBe(400);
        expect((await vault.request('DELETE', 'sys/policies/acl/default')).status).toBe(400);
      });
    });

    it('a bad token is a 403, never a 404', async () => {
      const nobody = new LiveVault({ address: running.vault.address, token: 'nobody' });
      for (const path of ['sys/auth', 'sys/policies/acl/none', 'auth/jwt/config'])
        expect((await nobody.request('GET', path)).status, path).toBe(403);
    });

    describe('a login', () => {
      const leases = (): Promise<string[]> => vault.list('sys/leases/lookup/auth/leased/login');
      let sign: (audience: string, claims?: Record<string, unknown>) => Promise<string>;

      beforeAll(async () => {
        const { publicKey, privateKey } = await generateKeyPair('RS256');
        sign = (audience, claims = {}) =>
          new SignJWT(claims)
            .setProtectedHeader({ alg: 'RS256' })
            .setSubject('somebody')
            .setAudience(audience)
            .setIssuedAt()
            .setExpirationTime('1h')
            .sign(privateKey);
        const keys = { jwt_validation_pubkeys: [await exportSPKI(publicKey)] };
        await vault.request('POST', 'sys/auth/leased', { type: 'jwt' });
        await vault.request('POST', 'auth/leased/config', keys);
        const base = { role_type: 'jwt', user_claim: 'sub', bound_audiences: ['vault.io'] };
        await vault.request('POST', 'auth/leased/role/service', { ...base, token_type: 'service' });
        await vault.request('POST', 'auth/leased/role/batch', { ...base, token_type: 'batch' });
        await vault.request('POST', 'auth/leased/role/claims', { ...base, bound_claims: { team: 'a' } });
      });

      it('leaves a lease that can be listed, until its token is revoked; a batch token leaves none', async () => {
        expect(await leases()).toEqual([]);
        const first = await vault.login('leased', 'service', await sign('vault.io'));
        expect(await leases()).toHaveLength(1);
        expect((await vault.login('leased', 'batch', await sign('vault.io'))).status).toBe(200);
        await vault.login('leased', 'service', await sign('vault.io'));
        expect(await leases()).toHaveLength(2);
        const own = new LiveVault({ address: running.vault.address, token: first.token ?? '' });
        expect((await own.request('POST', 'auth/token/revoke-self')).status).toBe(204);
        expect(await leases()).toHaveLength(1);
      });
      it.each([
        [
          'another audience',
          'service',
          () => sign('other'),
          'error validating token: invalid audience (aud) claim: audience claim does not match any expected audience',
        ],
        ['a missing claim', 'claims', () => sign('vault.io'), 'error validating claims: claim "team" is missing'],
        [
          'another claim',
          'claims',
          () => sign('vault.io', { team: 'b' }),
          'error validating claims: claim "team" does not match any associated bound claim values',
        ],
        ['a role that is missing', 'none', () => sign('vault.io'), 'role "none" could not be found'],
        ['no role', '', () => sign('vault.io'), 'missing role'],
        ['no JWT', 'service', () => Promise.resolve(''), 'missing token'],
      ])('with %s is refused in these words', async (_what, name, jwt, words) => {
        expect(await vault.login('leased', name, await jwt())).toEqual({ status: 400, errors: [words] });
      });
      it('by a key that is not known is refused', async () => {
        const { privateKey } = await generateKeyPair('RS256');
        const jwt = await new SignJWT({})
          .setProtectedHeader({ alg: 'RS256' })
          .setSubject('somebody')
          .setAudience('vault.io')
          .setIssuedAt()
          .setExpirationTime('1h')
          .sign(privateKey);
        const { status, errors } = await vault.login('leased', 'service', jwt);
        expect([status, errors]).toEqual([400, [expect.stringContaining('no known key successfully validated')]]);
      });
      it('by a key that is not known has the keys fetched anew, and says where they cannot be', async () => {
        const jwks = createServer((_request, response) => response.end('{"keys":[]}'));
        await new Promise<void>((done) => jwks.listen(0, '127.0.0.1', done));
        const url = `http://127.0.0.1:${String((jwks.address() as AddressInfo).port)}/`;
        await vault.request('POST', 'sys/auth/remote', { type: 'jwt' });
        const config = await vault.request('POST', 'auth/remote/config', { jwks_url: url });
        expect(config.status).toBe(204);
        const role = { role_type: 'jwt', user_claim: 'sub', bound_audiences: ['vault.io'] };
        await vault.request('POST', 'auth/remote/role/r', role);
        const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
        const login = (): Promise<{ status: number; errors?: string[] }> =>
          vault.login('remote', 'r', `${part({ alg: 'RS256', kid: 'unknown' })}.${part({ sub: 'x' })}.c2lnbmVk`);
        const words = async (): Promise<unknown> => (await login()).errors?.join();
        expect(await words()).toMatch(/^error validating token: (?!.*fetching keys).*signature/);
        await new Promise((done) => jwks.close(done));
        expect(await words()).toMatch(/^error validating token: .*fetching keys/);
      });
      it('where nothing is configured, or nothing mounted, is refused', async () => {
        await vault.request('POST', 'sys/auth/bare', { type: 'jwt' });
        expect(await vault.login('bare', 'r', await sign('vault.io'))).toEqual({
          status: 400,
          errors: ['could not load configuration'],
        });
        expect(await vault.login('nowhere', 'r', await sign('vault.io'))).toEqual({
          status: 404,
          errors: ['no handler for route "auth/nowhere/login". route entry not found.'],
        });
      });
    });

    it('a JWT that nobody signed is refused', async () => {
      await config({ jwks_url: jwks });
      await role('login', { bound_audiences: ['vault.io'] });
      const { status, errors } = await vault.login('jwt', 'login', 'a.b.c');
      expect([status, errors?.length]).toEqual([400, 1]);
    });
  });
});
