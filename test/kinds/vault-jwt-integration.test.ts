import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authMountObject } from '../../src/kinds/vault-jwt-integration/auth-mount.ts';
import { canonicalCidr } from '../../src/kinds/vault-jwt-integration/cidr.ts';
import { vaultJwtIntegration } from '../../src/kinds/vault-jwt-integration/index.ts';
import { jwtConfigObject } from '../../src/kinds/vault-jwt-integration/jwt-config.ts';
import { fieldsOfRole, jwtRoleObject } from '../../src/kinds/vault-jwt-integration/jwt-role.ts';
import { roleSpec } from '../../src/kinds/vault-jwt-integration/schema.ts';
import type { Io, VaultApi } from '../../src/contract/target.ts';
import { diff } from '../../src/plan/diff.ts';
import { isUnreadable, type Live, type Owned, type PlannedStep } from '../../src/plan/step.ts';
import type { Fields, Value } from '../../src/plan/value.ts';
import { entry, planned, resource } from './planning.ts';

const HOUR = 3_600_000;
const { signal } = new AbortController();

/** What is read of an object for which Vault answers that data. */
async function read(type: typeof jwtConfigObject, name: string, data: Record<string, Value>): Promise<Live> {
  const api = { read: () => Promise.resolve(data) } as unknown as VaultApi;
  const owned = [entry('VaultJwtIntegration', { connection: 'default', type: type.name, name })];
  const request = { connection: 'default', desired: [], owned, cached: () => undefined };
  const live = (await type.read({ vault: () => api } as unknown as Io, request, signal)).objects.get(name);
  if (live === undefined || isUnreadable(live)) throw new Error('nothing was read');
  return live;
}

describe('address ranges', () => {
  it.each([
    ['10.0.0.1/32', '10.0.0.1'],
    ['10.0.0.1', '10.0.0.1'],
    ['10.1.2.3/8', '10.1.2.3/8'],
    ['10.0.0.1/032', '10.0.0.1'],
    ['2001:DB8::1/128', '2001:db8::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8::1/64', '2001:db8::1/64'],
    ['::1.2.3.4', '::102:304'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
  ])('%s is %s to Vault', (given, canonical) => {
    expect(canonicalCidr(given)).toBe(canonical);
  });
  it.each([
    '10.0.0.1:80',
    '10.0.0.1/33',
    '010.0.0.1',
    '/tmp/socket',
    'localhost',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    '[2001:db8::1]',
    '10.0.0.0/8,11.0.0.0/8',
    '10.0.0.1/',
    '',
  ])('%s is none', (given) => {
    expect(canonicalCidr(given)).toBeUndefined();
  });
  it('what Vault answers is its own canonical form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 128 }), (address, bits) => {
        const canonical = canonicalCidr(`${address}/${String(bits)}`);
        if (canonical !== undefined) expect(canonicalCidr(canonical)).toBe(canonical);
      }),
    );
  });
});

describe('a role', () => {
  const role = (fields: object): Fields => fieldsOfRole(roleSpec.parse({ name: 'r', ...fields }));
  const liveRole = (data: Record<string, Value>): Promise<Live> =>
    read(jwtRoleObject, 'jwt-nomad/r', { role_type: 'jwt', bound_claims_type: 'string', ...data });
  const changed = async (fields: object, data: Record<string, Value>): Promise<string[]> =>
    diff(
      role({ userClaim: 'sub', userClaimJsonPointer: false, tokenType: 'default', ...fields }),
      (await liveRole({ user_claim: 'sub', token_type: 'default', ...data })).fields,
      jwtRoleObject.rules ?? {},
    ).map((c) => c.path);

  it('with an address in any spelling is in order', async () => {
    expect(
      await changed(
        { tokenBoundCidrs: ['10.0.0.1/32', '2001:DB8::1/128'] },
        { token_bound_cidrs: ['2001:db8::1', '10.0.0.1'] },
      ),
    ).toEqual([]);
    expect(await changed({ tokenBoundCidrs: '10.0.0.1' }, { token_bound_cidrs: ['10.0.0.2'] })).toEqual([
      'tokenBoundCidrs',
    ]);
  });
  it('can bind claims to numbers and truth values, which differ from their texts', async () => {
    const claims = { boundClaims: { level: 5, admin: true, any: [1, 'x', false] } };
    expect(await changed(claims, { bound_claims: { level: 5, admin: true, any: [false, 1, 'x'] } })).toEqual([]);
    expect(await changed(claims, { bound_claims: { level: '5', admin: true, any: [1, 'x', false] } })).toEqual([
      'boundClaims',
    ]);
  });
  it('can switch leeways off', async () => {
    const off = { clockSkewLeeway: -1, expirationLeeway: '-1s', notBeforeLeeway: -5 };
    expect(await changed(off, { clock_skew_leeway: -1, expiration_leeway: -1, not_before_leeway: -5 })).toEqual([]);
    expect(await changed(off, { clock_skew_leeway: 0, expiration_leeway: -1, not_before_leeway: -5 })).toEqual([
      'clockSkewLeeway',
    ]);
  });
  it('has no other negative durations', () => {
    expect(roleSpec.safeParse({ name: 'r', maxAge: -1 }).success).toBe(false);
    expect(roleSpec.safeParse({ name: 'r', tokenTtl: '-1s' }).success).toBe(false);
  });
});

describe('what Vault would take for something else', () => {
  const problems = (spec: unknown): Record<string, string> =>
    Object.fromEntries(
      (vaultJwtIntegration.check?.(resource(vaultJwtIntegration, spec)) ?? []).map((i) => [i.path, i.message]),
    );
  const lists = ['boundAudiences', 'oidcScopes', 'allowedRedirectUris', 'tokenPolicies'];

  it.each(lists)('%s: one string with a comma, outer white space, an empty text', (field) => {
    const of = (value: unknown): string[] =>
      Object.entries(problems({ roles: [{ name: 'r', [field]: value }] })).flat();
    expect(of('a, b')).toEqual([`spec.roles[0].${field}`, expect.stringContaining('write a list')]);
    expect(of(['a', ' b'])).toEqual([`spec.roles[0].${field}[1]`, expect.stringContaining('white space')]);
    expect(of(['a', ''])).toEqual([`spec.roles[0].${field}[1]`, 'must not be empty']);
    expect(of(['a', 'b,c'])).toEqual([]);
    expect(of('a')).toEqual([]);
  });
  it('supportedAlgs likewise', () => {
    expect(Object.keys(problems({ supportedAlgs: 'RS256,ES256' }))).toEqual(['spec.supportedAlgs']);
    expect(Object.keys(problems({ supportedAlgs: ['RS256 '] }))).toEqual(['spec.supportedAlgs[0]']);
  });
  it('an address with a port, a socket', () => {
    const spec = { roles: [{ name: 'r', tokenBoundCidrs: ['10.0.0.0/8', '10.0.0.1:80', '/tmp/x'] }] };
    expect(Object.keys(problems(spec))).toEqual([
      'spec.roles[0].tokenBoundCidrs[1]',
      'spec.roles[0].tokenBoundCidrs[2]',
    ]);
  });
  it('a number among patterns', () => {
    const claims = { boundClaimsType: 'glob', boundClaims: { a: 'x*', b: ['y', 5] } };
    expect(Object.keys(problems({ roles: [{ name: 'r', ...claims }] }))).toEqual(['spec.roles[0].boundClaims.b']);
  });
});

describe('the configuration', () => {
  const stepOf = (steps: readonly PlannedStep[]): PlannedStep['step'] | undefined =>
    steps.find((s) => s.key.type === 'jwt-config')?.step;
  const mount: Live = { id: 'accessor', fields: { path: 'auth mount of type jwt' }, facts: { roles: [] } };
  const usual = { jwt_supported_algs: ['EdDSA', 'RS256'], default_role: 'nomad-workloads' };

  const planWith = (
    spec: unknown,
    config: Live,
    owned: readonly Owned[],
    jwks: string[] = [],
    now = 0,
  ): PlannedStep[] =>
    planned(vaultJwtIntegration, spec, {
      live: {
        'default/auth-mount/jwt-nomad': mount,
        'default/jwt-config/jwt-nomad': config,
        'default/jwks/keys': { fields: { keys: jwks } },
      },
      owned,
      now,
    });
  const ours = (detail?: Fields): Owned[] =>
    ['auth-mount', 'jwt-config'].map((type) =>
      entry('VaultJwtIntegration', { connection: 'default', type, name: 'jwt-nomad' }, detail ? { detail } : {}),
    );

  const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
  it('jwksPairs in another order and with other line ends are in order', async () => {
    const live = await read(jwtConfigObject, 'jwt-nomad', {
      ...usual,
      jwks_pairs: [{ jwks_url: 'http://b' }, { jwks_url: 'https://a', jwks_ca_pem: `${PEM}\n` }],
    });
    const pairs = [{ jwksUrl: 'https://a', jwksCaPem: PEM.replaceAll('\n', '\r\n') }, { jwksUrl: 'http://b' }];
    expect(stepOf(planWith({ jwksPairs: pairs }, live, ours()))).toMatchObject({ action: 'noop', reason: 'InSync' });
    const other = [{ jwksUrl: 'https://a', jwksCaPem: PEM.replace('AAAA', 'BBBB') }, { jwksUrl: 'http://b' }];
    expect(stepOf(planWith({ jwksPairs: other }, live, ours()))?.changes).toMatchObject([
      { path: 'spec.jwksPairs', before: [{ jwksUrl: 'http://b', jwksCaPem: '' }, { jwksUrl: 'https://a' }] },
    ]);
  });

  const configWith = (keys: string[]): Promise<Live> =>
    read(jwtConfigObject, 'jwt-nomad', { ...usual, jwt_validation_pubkeys: keys });
  it('after a lost inventory keeps the keys that tokens still alive may be signed by', async () => {
    const spec = { syncKeys: {}, adoptionPolicy: 'Always' };
    const live = await configWith(['old']);
    const step = stepOf(planWith(spec, live, [], ['new']));
    expect(step).toMatchObject({ action: 'update', reason: 'Adopted' });
    expect(step?.changes).toMatchObject([{ path: 'spec.syncKeys', before: ['old'], after: ['new', 'old'] }]);
  });
  it('drops them once no such token can live, and keys that somebody adds at once', async () => {
    const detail = {
      keys: [
        { pem: 'new', goneSince: null },
        { pem: 'old', goneSince: 0 },
      ],
    };
    const live = await configWith(['new', 'old', 'foreign']);
    const before = stepOf(planWith({ syncKeys: {} }, live, ours(detail), ['new'], HOUR - 1));
    expect(before?.changes).toMatchObject([{ after: ['new', 'old'] }]);
    const after = stepOf(planWith({ syncKeys: {} }, live, ours(detail), ['new'], HOUR));
    expect(after?.changes).toMatchObject([{ after: ['new'] }]);
  });
  it('a mount of another type at the path is refused under a path of the spec', () => {
    const userpass: Live = { id: 'x', fields: { path: 'auth mount of type userpass' }, facts: { roles: [] } };
    const steps = planned(
      vaultJwtIntegration,
      {},
      { live: { 'default/auth-mount/jwt-nomad': userpass }, owned: ours() },
    );
    expect(steps.find((s) => s.key.type === 'auth-mount')?.step).toMatchObject({
      action: 'refuse',
      reason: 'Immutable',
      changes: [{ path: 'spec.path', before: 'auth mount of type userpass', after: 'auth mount of type jwt' }],
    });
    expect(steps.filter((s) => s.step.action !== 'refuse')).toEqual([]);
  });
});

describe('the deletion of a mount', () => {
  it.each([
    [null, 'the tokens'],
    [0, '0 tokens'],
    [1, '1 token'],
    [2, '2 tokens'],
  ])('with %j leases says that it revokes %s', (leases, words) => {
    const mount: Live = { id: 'x', fields: { path: 'auth mount of type jwt' }, facts: { leases } };
    expect(authMountObject.deletionNote?.(mount)).toContain(` revokes ${words} of the tasks`);
  });
});
