import { exportSPKI, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveNomad } from '../e2e/live.ts';
import { EventLines } from './event-lines.ts';
import { implementations, type Implementation } from './implementations.ts';

const FORMAT = '${auth_method_type}-${auth_method_name}';
const OIDC = { OIDCDiscoveryURL: 'https://idp.example', OIDCClientID: 'nomad', OIDCClientSecret: 'very-secret' };

interface Method {
  readonly Name: string;
  readonly Default: boolean;
  readonly MaxTokenTTL: string;
  readonly Config: Record<string, unknown>;
  readonly ModifyIndex: number;
}

describe.each(implementations)('auth methods as Nomad as $name has them', ({ skip, start }) => {
  describe.skipIf(skip)('ACL API', () => {
    let running: Implementation;
    let nomad: LiveNomad;
    let jwt: { JWTValidationPubKeys: string[] };

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
      const { publicKey } = await generateKeyPair('ES256', { extractable: true });
      jwt = { JWTValidationPubKeys: [await exportSPKI(publicKey)] };
    });
    afterAll(() => running.stop());

    const create = (Name: string, fields: object = {}): Promise<{ status: number; body: Method }> =>
      nomad.request<Method>('POST', '/v1/acl/auth-method', {
        Name,
        Type: 'JWT',
        TokenLocality: 'local',
        MaxTokenTTL: '1h',
        Config: jwt,
        ...fields,
      });
    const update = (Name: string, fields: object): Promise<{ status: number; body: Method }> =>
      nomad.request<Method>('PUT', `/v1/acl/auth-method/${Name}`, { Name, ...fields });
    const read = (name: string): Promise<{ status: number; body: Method }> =>
      nomad.request<Method>('GET', `/v1/acl/auth-method/${name}`);

    it('one reads back as it was written, with every default filled in', async () => {
      const { status, body } = await create('whole');
      expect([status, body]).toEqual([200, (await read('whole')).body]);
      expect(body).toMatchObject({
        Name: 'whole',
        Type: 'JWT',
        TokenLocality: 'local',
        TokenNameFormat: FORMAT,
        MaxTokenTTL: '1h0m0s',
        Default: false,
        Config: { ...jwt, OIDCClientSecret: '', BoundAudiences: null, ClaimMappings: null, VerboseLogging: false },
      });
    });

    it('the list is for everybody and has none of the configuration', async () => {
      await create('listed');
      const reply = await fetch(`${running.nomad.address}/v1/acl/auth-methods`);
      const methods = (await reply.json()) as Method[];
      const listed = methods.find(({ Name }) => Name === 'listed') ?? {};
      expect(Object.keys(listed).sort()).toEqual(['CreateIndex', 'Default', 'Hash', 'ModifyIndex', 'Name', 'Type']);
    });

    it('no reply and no list tells a client secret', async () => {
      const { body } = await create('hidden', { Type: 'OIDC', Config: { ...OIDC, AllowedRedirectURIs: ['http://x'] } });
      expect(body.Config).toMatchObject({ OIDCClientSecret: 'redacted' });
      expect((await read('hidden')).body.Config).toMatchObject({ OIDCClientSecret: 'redacted' });
    });

    it('what a write omits stays, but the default goes, and the configuration is replaced as a whole', async () => {
      await create('merged', { Default: true, TokenNameFormat: 'mine', Config: { ...jwt, BoundIssuer: ['somebody'] } });
      const { body } = await update('merged', { MaxTokenTTL: '30m' });
      expect(body).toMatchObject({ TokenNameFormat: 'mine', MaxTokenTTL: '30m0s', Default: false });
      expect(body.Config).toMatchObject({ BoundIssuer: ['somebody'] });
      expect((await update('merged', { Config: jwt })).body.Config).toMatchObject({ BoundIssuer: null });
    });

    it('a write that changes nothing leaves the index of the method', async () => {
      const { body: method } = await create('same');
      await update('same', { Config: method.Config });
      expect((await read('same')).body.ModifyIndex).toBe(method.ModifyIndex);
    });

    it('there is one default among all of them', async () => {
      await create('first', { Default: true });
      const second = await create('second', { Default: true });
      expect([second.status, second.body]).toEqual([
        400,
        expect.stringContaining('default method already exists: first'),
      ]);
      await update('first', { Default: false });
      expect((await create('second', { Default: true })).status).toBe(200);
      await update('second', { Default: false });
    });

    it.each([
      ['a name that is none', { Name: 'bad name' }, "invalid name 'bad name'"],
      ['a type that is none', { Type: 'SAML' }, "invalid token type 'SAML'"],
      ['a locality that is none', { TokenLocality: 'x' }, "invalid token locality 'x'"],
      [
        'less than a minute',
        { MaxTokenTTL: '1s' },
        "invalid MaxTokenTTL value '1s' (should be between 1m0s and 24h0m0s)",
      ],
      ['an empty duration', { MaxTokenTTL: '' }, 'invalid duration'],
      [
        'no key to check a JWT by',
        { Config: {} },
        'requires either OIDCDiscoveryURL, or JWKS URL, or JWTValidationPubKeys',
      ],
      ['OIDC without a client', { Type: 'OIDC', Config: {} }, 'missing OIDCClientID'],
    ])('refuses %s', async (_what, fields, message) => {
      const { status, body } = await create('refused', fields);
      expect([status, body]).toEqual([400, expect.stringContaining(message)]);
      expect((await read('refused')).status).toBe(404);
    });

    it('one that is not there is a 404 to read and a 500 to delete', async () => {
      const missing = await read('nobody');
      expect([missing.status, missing.body]).toEqual([404, expect.stringContaining('ACL auth-method not found')]);
      const deleted = await nomad.request('DELETE', '/v1/acl/auth-method/nobody');
      expect([deleted.status, deleted.body]).toEqual([500, expect.stringContaining('ACL auth method not found')]);
    });

    it('the event stream tells of a write without its secret, and of the deletion', async () => {
      const topic = '?topic=ACLAuthMethod:told';
      const lines = await EventLines.open(running.nomad.address, running.nomad.token, topic);
      await create('told', { Type: 'OIDC', Config: OIDC });
      await nomad.request('DELETE', '/v1/acl/auth-method/told');
      await expect
        .poll(() => lines.events().map(({ Type, Key }) => [Type, Key]))
        .toEqual([
          ['ACLAuthMethodUpserted', 'told'],
          ['ACLAuthMethodDeleted', 'told'],
        ]);
      expect(lines.events()[0]?.Payload['AuthMethod']).toMatchObject({ Name: 'told' });
      expect(lines.lines.join()).not.toContain(OIDC.OIDCClientSecret);
      lines.close();
    });
  });
});
