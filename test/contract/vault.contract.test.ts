import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

    it('a JWT that nobody signed is refused', async () => {
      await config({ jwks_url: jwks });
      await role('login', { bound_audiences: ['vault.io'] });
      const { status, errors } = await vault.login('jwt', 'login', 'a.b.c');
      expect([status, errors?.length]).toEqual([400, 1]);
    });
  });
});
