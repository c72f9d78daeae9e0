import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import type { NomadServer } from '../servers/nomad.ts';
import { contentOf } from './leaks.ts';
import type { LiveNomad } from './live.ts';
import { applied, useNomad } from './nomad-workspace.ts';
import { readySeries, useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

interface Method {
  readonly Name: string;
  readonly Type: string;
  readonly Default: boolean;
  readonly MaxTokenTTL: string;
  readonly TokenNameFormat: string;
  readonly ModifyIndex: number;
  readonly Config: Readonly<Record<string, unknown>>;
}

const SECRETS = ['a client secret of thirty-two bytes', 'another client secret, as long as that one'] as const;
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const KEY = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
/** What must be in nothing that is printed, logged or recorded. */
const SENSITIVE = [...SECRETS, KEY.split('\n')[1] ?? '', KEY.split('\n')[9] ?? ''];

const JWT = `
type: JWT
tokenLocality: local
maxTokenTtl: 3600
config: { jwksUrl: 'http://127.0.0.1:9/jwks.json' }`;

/** Every field, as far as they go together. */
const OIDC = `
type: OIDC
tokenLocality: local
tokenNameFormat: 'sso-\${value.user}'
maxTokenTtl: 1h30m
config:
  oidcDiscoveryUrl: http://127.0.0.1:9/sso
  oidcClientId: nomad
  oidcClientSecret: { file: secrets/client }
  oidcClientAssertion:
    keySource: private_key
    audience: [a, b]
    extraHeaders: { one: '1', two: '2' }
    privateKey: { pemKey: { file: secrets/key.pem }, keyId: nomad }
  oidcEnablePkce: true
  oidcDisableUserInfo: true
  oidcScopes: [groups, email]
  boundAudiences: [nomad, other]
  boundIssuer: [sso]
  allowedRedirectUris: ['http://localhost:4649/oidc/callback']
  signingAlgs: [RS256, ES256]
  expirationLeeway: 1m
  notBeforeLeeway: 90
  clockSkewLeeway: 30s
  claimMappings: { sub: user, email: mail, org: org }
  listClaimMappings: { groups: roles, teams: teams }
  verboseLogging: true`;

describe.skipIf(!requireServers('nomad'))('auth methods', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  let operator: RunningOperator | undefined;
  const operators = useOperators();

  useNomad((made) => {
    ({ nomad, live, workspace } = made);
  });
  beforeEach(() => {
    mkdirSync(join(workspace.manifests, 'secrets'));
    secret(SECRETS[0]);
    writeFileSync(join(workspace.manifests, 'secrets', 'key.pem'), KEY);
  });
  afterEach(async () => {
    await operator?.stop();
    const told = [
      ...workspace.printed,
      contentOf(workspace.folder),
      ...(operator === undefined ? [] : [operator.log(), operator.output()]),
    ].join('\n');
    operator = undefined;
    for (const { Name } of (await live.request<Method[]>('GET', '/v1/acl/auth-methods')).body)
      await live.request('DELETE', `/v1/acl/auth-method/${Name}`);
    for (const text of SENSITIVE) expect(told).not.toContain(text);
  });

  function secret(text: string): void {
    writeFileSync(join(workspace.manifests, 'secrets', 'client'), `${text}\n`);
  }
  const declare = (name: string, spec: string, file = `${name}.yaml`): void => {
    workspace.write(file, manifest('AclAuthMethod', name, spec));
  };
  const at = (name: string): string => `/v1/acl/auth-method/${name}`;
  const method = async (name: string): Promise<Method> => (await live.request<Method>('GET', at(name))).body;
  const put = (body: Record<string, unknown>): Promise<unknown> => live.request('PUT', at(String(body['Name'])), body);

  it('are made with every field, and planned again there is nothing to do', async () => {
    declare('sso', OIDC);
    declare('ci', JWT);
    expect((await applied(workspace)).map((line) => line.split(' ').slice(0, 2).join(' ')).sort()).toEqual([
      'create ci',
      'create sso',
    ]);
    const sso = await method('sso');
    expect(sso).toMatchObject({ Type: 'OIDC', TokenNameFormat: 'sso-${value.user}', MaxTokenTTL: '1h30m0s' });
    expect(sso.Config).toMatchObject({
      OIDCClientSecret: 'redacted',
      OIDCClientAssertion: { KeySource: 'private_key', PrivateKey: { PemKey: 'redacted', KeyIDHeader: 'kid' } },
      NotBeforeLeeway: '1m30s',
      ListClaimMappings: { groups: 'roles', teams: 'teams' },
    });
    expect((await workspace.plan()).summary).toMatchObject({ create: 0, update: 0, refuse: 0 });
    expect(await applied(workspace)).toEqual([]);
    expect((await method('sso')).ModifyIndex).toBe(sso.ModifyIndex);
  });

  it('are destroyed', async () => {
    declare('sso', `${OIDC}\ndefault: true`);
    declare('ci', JWT);
    await applied(workspace);
    await workspace.destroy();
    expect((await live.request('GET', '/v1/acl/auth-methods')).body).toEqual([]);
    expect(workspace.recorded()).toEqual([]);
  });

  it('get a client secret that was changed, once', async () => {
    declare('sso', OIDC);
    await applied(workspace);
    secret(SECRETS[1]);
    const { steps } = await workspace.plan();
    expect(steps[0]?.changes).toEqual([
      { path: 'spec.config.oidcClientSecret', before: '(sensitive)', after: '(sensitive)', sensitive: true },
    ]);
    expect(await applied(workspace)).toEqual(['update sso spec.config.oidcClientSecret']);
    expect(await applied(workspace)).toEqual([]);
  });

  it('get the client secret once more when somebody wrote the method, and may have changed it', async () => {
    declare('sso', OIDC);
    await applied(workspace);
    const { Config } = await method('sso');
    const assertion = { KeySource: 'client_secret' };
    const theirs = {
      ...Config,
      OIDCClientSecret: 'somebody else’s secret of 32 bytes',
      OIDCClientAssertion: assertion,
    };
    expect(await put({ Name: 'sso', Config: theirs })).toMatchObject({ status: 200 });
    expect((await applied(workspace)).join()).toContain('spec.config.oidcClientSecret');
    expect(await applied(workspace)).toEqual([]);
  });

  it('get it once more when the inventory was lost', async () => {
    declare('sso', OIDC);
    await applied(workspace);
    workspace.remove('.nomad-access.state.json');
    const { steps } = await workspace.apply();
    expect(steps.map(({ action, reason }) => `${action} ${reason}`)).toEqual(['update Adopted']);
    expect(await applied(workspace)).toEqual([]);
  });

  it('are left alone while the secret is not there, and the plan says what is missing', async () => {
    declare('sso', OIDC);
    rmSync(join(workspace.manifests, 'secrets', 'client'));
    const { steps, code } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps[0]).toMatchObject({ action: 'refuse', reason: 'NotFound' });
    expect(steps[0]?.message).toContain(join('secrets', 'client'));
    expect((await live.request('GET', at('sso'))).status).toBe(404);
  });

  it('take a secret from a variable that is named for it', async () => {
    declare('sso', OIDC.replace('file: secrets/client', 'env: NOMAD_ACCESS_SECRET_SSO'));
    const args = ['apply', '-f', 'manifests', '-y'];
    const { outcome } = workspace.start(args, { NOMAD_ACCESS_SECRET_SSO: SECRETS[1] });
    expect((await outcome).code).toBe(0);
    expect((await method('sso')).Config['OIDCClientSecret']).toBe('redacted');
  });

  it('made by the nomad command are adopted where they are the same, and left alone where not', async () => {
    const config = JSON.stringify({ JWKSURL: 'http://127.0.0.1:9/jwks.json', ClaimMappings: { a: 'b', c: 'd' } });
    await nomad.run(
      ...['acl', 'auth-method', 'create', '-name=ci', '-type=JWT', '-max-token-ttl=1h', '-token-locality=local'],
      `-config=${config}`,
    );
    const before = await method('ci');
    declare('ci', JWT);
    const conflict = (await workspace.apply()).steps[0];
    expect(conflict).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    expect(conflict?.changes.map((c) => c.path)).toEqual(['spec.config.claimMappings']);
    declare('ci', JWT.replace('config: {', 'config: { claimMappings: { c: d, a: b },'));
    expect((await workspace.apply()).steps[0]).toMatchObject({ action: 'noop', reason: 'Adopted' });
    expect((await method('ci')).ModifyIndex).toBe(before.ModifyIndex);
  });

  it('are imported with every field but their secrets, for which the manifest names variables', async () => {
    declare('sso', OIDC);
    await applied(workspace);
    const { ModifyIndex: before } = await method('sso');
    const { code, stderr } = await workspace.run('import', '--kind', 'AclAuthMethod', '--out', 'found');
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('NOMAD_ACCESS_SECRET_SSO_OIDCCLIENTSECRET');
    workspace.remove('.nomad-access.state.json');
    const args = ['-f', 'found', '-o', 'json'];
    const missing = await workspace.run('plan', ...args);
    expect(missing.stdout).toContain('NOMAD_ACCESS_SECRET_SSO_');
    const { outcome } = workspace.start(['plan', ...args], {
      NOMAD_ACCESS_SECRET_SSO_OIDCCLIENTSECRET: SECRETS[0],
      NOMAD_ACCESS_SECRET_SSO_PEMKEY: KEY,
    });
    const { steps } = JSON.parse((await outcome).stdout) as PlanOutput;
    // The secrets can't be compared: they are written once.
    expect(steps.map((s) => [s.action, s.reason, s.changes.map((c) => c.path)])).toEqual([
      ['update', 'Adopted', ['spec.config.oidcClientSecret', 'spec.config.oidcClientAssertion.privateKey.pemKey']],
    ]);
    expect((await method('sso')).ModifyIndex).toBe(before);
  });

  it('are made only under names that are granted, and with global tokens only where these are', async () => {
    const cluster = (grants: string): string =>
      manifest(
        'NomadCluster',
        'default',
        `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }\ngrants: ${grants}`,
      );
    const reasons = async (): Promise<string[]> => (await workspace.plan()).steps.map((step) => step.reason);
    declare('ci', JWT.replace('tokenLocality: local', 'tokenLocality: global'));
    workspace.write('cluster.yaml', cluster('{ names: [ci] }'));
    expect(await reasons()).toEqual(['NotGranted']);
    workspace.write('cluster.yaml', cluster('{ names: [other], globalTokens: true }'));
    expect(await reasons()).toEqual(['NotGranted']);
    workspace.write('cluster.yaml', cluster('{ names: [ci], globalTokens: true }'));
    expect(await reasons()).toEqual(['New']);
  });

  describe('of which one is the default', () => {
    const isDefault = (name: string): void => {
      declare(name, `${JWT}\ndefault: true`);
    };

    it('hand it over in one apply', async () => {
      isDefault('a');
      declare('b', JWT);
      await applied(workspace);
      declare('a', JWT);
      isDefault('b');
      expect(await applied(workspace)).toEqual(['update a spec.default', 'update b spec.default']);
      expect([(await method('a')).Default, (await method('b')).Default]).toEqual([false, true]);
      expect(await applied(workspace)).toEqual([]);
    });

    it('hand it over when the one that was it goes', async () => {
      isDefault('a');
      await applied(workspace);
      workspace.remove('a.yaml');
      isDefault('b');
      await applied(workspace);
      expect((await live.request<Method[]>('GET', '/v1/acl/auth-methods')).body).toMatchObject([
        { Name: 'b', Default: true },
      ]);
      expect(await applied(workspace)).toEqual([]);
    });

    it('are no two: that is an error of validation', async () => {
      isDefault('a');
      isDefault('b');
      const { code, stderr, stdout } = await workspace.run('validate', '-f', 'manifests');
      expect(code).toBe(1);
      expect(stdout + stderr).toContain('acl-default-auth-method');
    });

    it('leave one that somebody else made the default as it is', async () => {
      await nomad.run(
        ...['acl', 'auth-method', 'create', '-name=theirs', '-type=JWT', '-max-token-ttl=1h', '-token-locality=local'],
        ...['-default', `-config=${JSON.stringify({ JWKSURL: 'http://127.0.0.1:9/' })}`],
      );
      isDefault('ours');
      const { steps } = await workspace.apply();
      const refused = steps.find(({ action }) => action === 'refuse');
      expect(refused).toMatchObject({ reason: 'Conflict', name: 'ours' });
      expect(refused?.message).toContain('theirs');
      expect((await method('theirs')).Default).toBe(true);
    });
  });

  describe('that somebody changes by hand', () => {
    beforeEach(async () => {
      declare('sso', OIDC);
      operator = await operators.start(workspace);
      await operator.until(readySeries('AclAuthMethod'), 1);
    });

    /** What Nomad tells, but for what every write moves. */
    const content = async (): Promise<unknown> => {
      const { ModifyIndex: _index, ...rest } = await method('sso');
      return { ...rest, Hash: '', ModifyTime: '', CreateTime: '', CreateIndex: 0 };
    };

    it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
      ['maxTokenTtl', { MaxTokenTTL: '10m' }, {}],
      ['tokenNameFormat', { TokenNameFormat: 'other' }, {}],
      ['tokenLocality', { TokenLocality: 'global' }, {}],
      ['default', { Default: true }, {}],
      ['type', { Type: 'JWT' }, {}],
      ['the client ID', {}, { OIDCClientID: 'other' }],
      ['the URL', {}, { OIDCDiscoveryURL: 'http://127.0.0.1:10' }],
      ['a JWKS', {}, { JWKSURL: 'http://127.0.0.1:10', JWKSCACert: 'x' }],
      ['keys', {}, { JWTValidationPubKeys: ['x'], DiscoveryCaPem: ['y'] }],
      ['the assertion', {}, { OIDCClientAssertion: { KeySource: 'nomad' } }],
      ['no assertion', {}, { OIDCClientAssertion: null }],
      ['no client secret', {}, { OIDCClientSecret: '', OIDCClientAssertion: null }],
      ['flags', {}, { OIDCEnablePKCE: false, OIDCDisableUserInfo: false, VerboseLogging: false }],
      ['lists', {}, { OIDCScopes: [], BoundAudiences: ['x'], BoundIssuer: null, AllowedRedirectURIs: ['y'] }],
      ['leeways', {}, { ExpirationLeeway: '2m', NotBeforeLeeway: '-1s', ClockSkewLeeway: '' }],
      ['mappings', {}, { ClaimMappings: { sub: 'user' }, ListClaimMappings: null }],
    ])('are put back: %s', async (_field, change, config) => {
      const before = await content();
      const current = await method('sso');
      const assertion = { OIDCClientAssertion: { KeySource: 'nomad' } };
      const body = { ...current, Config: { ...current.Config, ...assertion, ...config }, ...change };
      expect(await put(body)).toMatchObject({ status: 200 });
      await vi.waitFor(
        async () => {
          expect(await content()).toEqual(before);
        },
        { timeout: 30_000, interval: 50 },
      );
    });

    it('are made again, and a changed client secret is sent by itself', async () => {
      await live.request('DELETE', at('sso'));
      await vi.waitFor(async () => {
        expect((await live.request('GET', at('sso'))).status).toBe(200);
      }, 30_000);
      const { ModifyIndex: before } = await method('sso');
      secret(SECRETS[1]);
      await vi.waitFor(async () => {
        expect((await method('sso')).ModifyIndex).toBeGreaterThan(before);
      }, 60_000);
      await operator?.stop();
      expect((await workspace.plan()).summary).toMatchObject({ create: 0, update: 0, refuse: 0 });
    });
  });
});
