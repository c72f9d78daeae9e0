import { exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LiveNomad } from '../e2e/live.ts';
import { EventLines } from './event-lines.ts';
import { implementations, type Implementation } from './implementations.ts';

const NOBODY = '11111111-1111-1111-1111-111111111111';
const RULES = 'namespace "default" { policy = "read" }';

interface Rule {
  readonly ID: string;
  readonly Description: string;
  readonly AuthMethod: string;
  readonly Selector: string;
  readonly BindType: string;
  readonly BindName: string;
}
interface Token {
  readonly Name: string;
  readonly Type: string;
  readonly Policies: readonly string[] | null;
  readonly Roles: readonly { readonly Name: string }[] | null;
  readonly ExpirationTTL: string;
  readonly Global: boolean;
}
type Answer<T> = Promise<{ status: number; body: T }>;

describe.each(implementations)('binding rules and logins as Nomad as $name has them', ({ skip, start }) => {
  describe.skipIf(skip)('ACL API', () => {
    let running: Implementation;
    let nomad: LiveNomad;
    let key: CryptoKey;
    let pem: string;

    beforeAll(async () => {
      running = await start();
      nomad = new LiveNomad(running.nomad);
      const pair = await generateKeyPair('ES256', { extractable: true });
      key = pair.privateKey;
      pem = await exportSPKI(pair.publicKey);
      for (const name of ['read', 'team-red']) await nomad.putPolicy(name, RULES);
      await nomad.request('POST', '/v1/acl/role', { Name: 'reader', Policies: [{ Name: 'read' }] });
      await method('ruled');
    });
    afterAll(() => running.stop());

    const method = (Name: string): Answer<unknown> =>
      nomad.request('POST', '/v1/acl/auth-method', {
        Name,
        Type: 'JWT',
        TokenLocality: 'local',
        MaxTokenTTL: '10m',
        TokenNameFormat: '${auth_method_name}-${value.user}',
        Config: {
          JWTValidationPubKeys: [pem],
          SigningAlgs: ['ES256'],
          BoundAudiences: ['nomad'],
          BoundIssuer: ['issuer'],
          ClaimMappings: { sub: 'user', team: 'team' },
          ListClaimMappings: { groups: 'groups' },
        },
      });
    const bind = (AuthMethod: string, BindType: string, BindName: string, Selector = ''): Answer<Rule> =>
      nomad.request<Rule>('POST', '/v1/acl/binding-rule', { AuthMethod, BindType, BindName, Selector });
    const update = (rule: Rule, change: Partial<Rule>): Answer<Rule> =>
      nomad.request<Rule>('PUT', `/v1/acl/binding-rule/${rule.ID}`, { ...rule, ...change });
    const jwt = (claims: Record<string, unknown> = {}, by: CryptoKey = key): Promise<string> =>
      new SignJWT({ sub: 'ann', aud: 'nomad', iss: 'issuer', ...claims })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(by);
    const login = async (AuthMethodName: string, LoginToken: Promise<string>): Answer<Token> =>
      nomad.request<Token>('POST', '/v1/acl/login', { AuthMethodName, LoginToken: await LoginToken });

    it('a rule reads back as it was written, and the list tells neither whom nor what it binds', async () => {
      const { status, body } = await bind('ruled', 'role', 'reader', 'value.user == "ann"');
      expect([status, body]).toMatchObject([200, { AuthMethod: 'ruled', BindType: 'role', BindName: 'reader' }]);
      expect((await nomad.request('GET', `/v1/acl/binding-rule/${body.ID}`)).body).toEqual(body);
      const { body: rules } = await nomad.request<Rule[]>('GET', '/v1/acl/binding-rules');
      const listed = rules.find(({ ID }) => ID === body.ID) ?? {};
      expect(Object.keys(listed).sort()).toEqual(
        ['AuthMethod', 'CreateIndex', 'Description', 'Hash', 'ID', 'ModifyIndex'].sort(),
      );
    });

    it('a rule changes in place from role to policy, and from management to role, but not to management', async () => {
      const { body: rule } = await bind('ruled', 'role', 'reader');
      expect((await update(rule, { BindType: 'policy', BindName: 'read' })).body).toMatchObject({ BindType: 'policy' });
      const refused = await update(rule, { BindType: 'management', BindName: '' });
      expect([refused.status, refused.body]).toEqual([400, expect.stringContaining('bind name should be empty')]);
      const { body: all } = await bind('ruled', 'management', '');
      expect((await update(all, { BindType: 'role', BindName: 'reader' })).body).toMatchObject({ BindType: 'role' });
    });

    it('a rule stays with its method, which must be there when it is made', async () => {
      await method('another');
      const { body: rule } = await bind('ruled', 'role', 'reader');
      const moved = await update(rule, { AuthMethod: 'another' });
      expect([moved.status, moved.body]).toEqual([400, expect.stringContaining('cannot update auth method')]);
      const unknown = await bind('nobody', 'role', 'reader');
      expect([unknown.status, unknown.body]).toEqual([
        400,
        expect.stringContaining('ACL auth method nobody not found'),
      ]);
    });

    it('a rule outlives its method', async () => {
      await method('passing');
      const { body: rule } = await bind('passing', 'role', 'reader');
      await nomad.request('DELETE', '/v1/acl/auth-method/passing');
      expect((await nomad.request('GET', `/v1/acl/binding-rule/${rule.ID}`)).body).toEqual(rule);
    });

    it('a rule that is not there is a 404 to read, a 500 to delete and a 400 to write', async () => {
      const path = `/v1/acl/binding-rule/${NOBODY}`;
      const got = await nomad.request('GET', path);
      expect([got.status, got.body]).toEqual([404, expect.stringContaining('ACL binding rule not found')]);
      const deleted = await nomad.request('DELETE', path);
      expect([deleted.status, deleted.body]).toEqual([500, expect.stringContaining('ACL binding rule not found')]);
      const written = await nomad.request('PUT', path, { ID: NOBODY, AuthMethod: 'ruled', BindType: 'management' });
      expect([written.status, written.body]).toEqual([400, expect.stringContaining('cannot find binding rule')]);
    });

    it('the event stream tells of roles and rules, which are found by name and by method too', async () => {
      await method('told');
      const topics = '?topic=ACLRole:told&topic=ACLBindingRule:told';
      const lines = await EventLines.open(running.nomad.address, running.nomad.token, topics);
      const { body: role } = await nomad.request<{ ID: string }>('POST', '/v1/acl/role', {
        Name: 'told',
        Policies: [{ Name: 'read' }],
      });
      const { body: rule } = await bind('told', 'role', 'told');
      await nomad.request('DELETE', `/v1/acl/binding-rule/${rule.ID}`);
      await nomad.request('DELETE', `/v1/acl/role/${role.ID}`);
      await expect
        .poll(() => lines.events().map(({ Type, Key }) => [Type, Key]))
        .toEqual([
          ['ACLRoleUpserted', role.ID],
          ['ACLBindingRuleUpserted', rule.ID],
          ['ACLBindingRuleDeleted', rule.ID],
          ['ACLRoleDeleted', role.ID],
        ]);
      const [ofRole, ofRule] = lines.events();
      expect(ofRole?.Payload['ACLRole']).toEqual(role);
      expect(ofRule?.Payload['ACLBindingRule']).toEqual(rule);
      lines.close();
    });

    it('a login gives the roles and policies of the rules that match, named and limited as the method says', async () => {
      await method('both');
      await bind('both', 'role', 'reader', 'value.user == "ann"');
      await bind('both', 'policy', 'team-${value.team}', '"ops" in list.groups');
      await bind('both', 'policy', 'not-there');
      await bind('both', 'management', '', 'value.user == "root"');
      const { status, body } = await login('both', jwt({ team: 'Red', groups: ['dev', 'ops'] }));
      expect([status, body]).toMatchObject([
        200,
        { Name: 'both-ann', Type: 'client', Policies: ['team-red'], ExpirationTTL: '10m0s', Global: false },
      ]);
      expect(body.Roles?.map(({ Name }) => Name)).toEqual(['reader']);
      expect((await login('both', jwt({ sub: 'root' }))).body).toMatchObject({ Type: 'management' });
    });

    it('a claim that is not mapped is seen by no rule', async () => {
      await method('blind');
      await bind('blind', 'role', 'reader', 'value.sub == "ann" or value.email == "a@example"');
      const refused = await login('blind', jwt({ email: 'a@example' }));
      expect([refused.status, refused.body]).toEqual([
        400,
        expect.stringContaining('no role or policy bindings matched'),
      ]);
    });

    it('nobody gets in by a JWT for somebody else, of somebody else, or signed by somebody else', async () => {
      await method('strict');
      await bind('strict', 'role', 'reader');
      expect((await login('strict', jwt())).status).toBe(200);
      const { privateKey: stranger } = await generateKeyPair('ES256');
      for (const wrong of [jwt({ aud: 'vault' }), jwt({ iss: 'other' }), jwt({}, stranger)]) {
        const { status, body } = await login('strict', wrong);
        expect([status, body]).toEqual([401, expect.stringContaining('unable to validate provided token')]);
      }
    });
  });
});
