import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { methodFieldRules } from '../../src/kinds/acl-auth-method/fields.ts';
import { makeCertificates } from '../servers/certificates.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

type Fields = Readonly<Record<string, unknown>>;
type Method = Fields & { readonly Config: Fields };

/**
 * Of an auth method that has no secret, every field by itself: where there is a secret, any foreign write has the whole method
 * written again, whether or not a difference is seen.
 */
describe.skipIf(!requireServers('nomad'))('an auth method without a secret', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  let whole: Method;
  let pem: ReturnType<typeof makePem>;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad });
    pem = makePem(workspace.folder);
    workspace.write('sso.yaml', manifest('AclAuthMethod', 'sso', declaration()));
    expect((await workspace.apply()).code).toBe(0);
    whole = await read();
  });
  afterAll(async () => {
    workspace.dispose();
    await nomad.stop();
  });

  function declaration(): string {
    return `
type: OIDC
tokenLocality: local
maxTokenTtl: 1h
config:
  oidcDiscoveryUrl: http://127.0.0.1:9/sso
  oidcClientId: nomad
  oidcClientAssertion:
    keySource: private_key
    audience: [a, b]
    extraHeaders: { one: '1', two: '2' }
    privateKey: { pemKeyFile: ${pem.keyFile}, pemCertFile: ${pem.certFile} }
  oidcScopes: [groups, email]
  boundAudiences: [nomad, other]
  boundIssuer: [sso]
  allowedRedirectUris: ['http://localhost:4649/oidc/callback']
  signingAlgs: [RS256, ES256]
  expirationLeeway: 1m
  claimMappings: { sub: user, email: mail }
  listClaimMappings: { groups: roles, teams: teams }`;
  }
  const read = async (): Promise<Method> => (await live.request<Method>('GET', '/v1/acl/auth-method/sso')).body;
  const put = async (body: Fields): Promise<void> => {
    const { status, body: reply } = await live.request('PUT', '/v1/acl/auth-method/sso', body);
    expect(status, JSON.stringify(reply)).toBe(200);
  };
  const assertion = (): Fields => whole.Config['OIDCClientAssertion'] as Fields;
  const inAssertion = (change: Fields): Fields => ({ OIDCClientAssertion: { ...assertion(), ...change } });
  const inKey = (change: Fields): Fields =>
    inAssertion({ PrivateKey: { ...(assertion()['PrivateKey'] as Fields), ...change } });

  /** By path in the spec: what somebody changes of the method, and of its configuration. */
  const CHANGES: Readonly<Record<string, () => { method?: Fields; config?: Fields }>> = {
    type: () => ({ method: { Type: 'JWT' } }),
    tokenLocality: () => ({ method: { TokenLocality: 'global' } }),
    tokenNameFormat: () => ({ method: { TokenNameFormat: 'other' } }),
    maxTokenTtl: () => ({ method: { MaxTokenTTL: '10m' } }),
    default: () => ({ method: { Default: true } }),
    'config.jwtValidationPubKeys': () => ({ config: { JWTValidationPubKeys: ['x'] } }),
    'config.jwksUrl': () => ({ config: { JWKSURL: 'http://127.0.0.1:10' } }),
    'config.jwksCaCert': () => ({ config: { JWKSCACert: pem.certificate } }),
    'config.oidcDiscoveryUrl': () => ({ config: { OIDCDiscoveryURL: 'http://127.0.0.1:10' } }),
    'config.discoveryCaPem': () => ({ config: { DiscoveryCaPem: [pem.certificate] } }),
    'config.oidcClientId': () => ({ config: { OIDCClientID: 'other' } }),
    'config.oidcClientSecret': () => ({ config: { OIDCClientSecret: 'theirs' } }),
    'config.oidcClientAssertion.keySource': () => ({ config: inAssertion({ KeySource: 'nomad', PrivateKey: null }) }),
    'config.oidcClientAssertion.audience': () => ({ config: inAssertion({ Audience: ['a'] }) }),
    'config.oidcClientAssertion.keyAlgorithm': () => ({ config: inAssertion({ KeyAlgorithm: 'RS512' }) }),
    'config.oidcClientAssertion.extraHeaders': () => ({ config: inAssertion({ ExtraHeaders: { one: '1' } }) }),
    'config.oidcClientAssertion.privateKey.pemKey': () => ({ config: inKey({ PemKeyFile: '', PemKey: pem.key }) }),
    'config.oidcClientAssertion.privateKey.pemKeyFile': () => ({ config: inKey({ PemKeyFile: pem.otherKeyFile }) }),
    'config.oidcClientAssertion.privateKey.keyId': () => ({
      config: inKey({ PemCertFile: '', KeyID: 'other', KeyIDHeader: 'kid' }),
    }),
    'config.oidcClientAssertion.privateKey.pemCert': () => ({
      config: inKey({ PemCertFile: '', PemCert: pem.certificate }),
    }),
    'config.oidcClientAssertion.privateKey.pemCertFile': () => ({ config: inKey({ PemCertFile: pem.otherCertFile }) }),
    'config.oidcClientAssertion.privateKey.keyIdHeader': () => ({ config: inKey({ KeyIDHeader: 'x5t' }) }),
    'config.oidcEnablePkce': () => ({ config: { OIDCEnablePKCE: true } }),
    'config.oidcDisableUserInfo': () => ({ config: { OIDCDisableUserInfo: true } }),
    'config.oidcScopes': () => ({ config: { OIDCScopes: ['groups'] } }),
    'config.boundAudiences': () => ({
      config: { BoundAudiences: [...(whole.Config['BoundAudiences'] as string[]), 'x'] },
    }),
    'config.boundIssuer': () => ({ config: { BoundIssuer: null } }),
    'config.allowedRedirectUris': () => ({ config: { AllowedRedirectURIs: ['https://evil.example.com'] } }),
    'config.signingAlgs': () => ({ config: { SigningAlgs: ['RS256'] } }),
    'config.expirationLeeway': () => ({ config: { ExpirationLeeway: '2m' } }),
    'config.notBeforeLeeway': () => ({ config: { NotBeforeLeeway: '-1s' } }),
    'config.clockSkewLeeway': () => ({ config: { ClockSkewLeeway: '1s' } }),
    'config.claimMappings': () => ({ config: { ClaimMappings: { sub: 'user', email: 'user2' } } }),
    'config.listClaimMappings': () => ({ config: { ListClaimMappings: null } }),
    'config.verboseLogging': () => ({ config: { VerboseLogging: true } }),
  };
  /** Of two that exclude each other, one takes the other's place. */
  const ALSO: Readonly<Record<string, readonly string[]>> = {
    'config.oidcClientAssertion.keySource': [
      'privateKey.pemKeyFile',
      'privateKey.pemCertFile',
      'privateKey.keyIdHeader',
    ],
    'config.oidcClientAssertion.privateKey.pemKey': ['privateKey.pemKeyFile'],
    'config.oidcClientAssertion.privateKey.keyId': ['privateKey.pemCertFile', 'privateKey.keyIdHeader'],
    'config.oidcClientAssertion.privateKey.pemCert': ['privateKey.pemCertFile'],
  };

  it('has no field that the cases below leave out', () => {
    expect(Object.keys(CHANGES)).toEqual(Object.keys(methodFieldRules));
  });

  it.each(Object.keys(CHANGES))(
    'somebody changes %s: the plan shows just that, and apply puts it back',
    async (path) => {
      const { method = {}, config = {} } = CHANGES[path]?.() ?? {};
      await put({ ...whole, ...method, Config: { ...whole.Config, ...config } });
      const { steps } = await workspace.apply();
      const also = (ALSO[path] ?? []).map((part) => `spec.config.oidcClientAssertion.${part}`);
      expect(steps.map((s) => [s.action, new Set(s.changes.map((c) => c.path))])).toEqual([
        ['update', new Set([`spec.${path}`, ...also])],
      ]);
      const { ModifyIndex: _index, ModifyTime: _time, Hash: _hash, ...now } = await read();
      expect(whole).toMatchObject(now);
    },
  );
});

/** Files that the servers read: they run on this machine. */
function makePem(
  folder: string,
): Readonly<Record<'key' | 'certificate' | `${'key' | 'otherKey' | 'cert' | 'otherCert'}File`, string>> {
  const { server, client } = makeCertificates(join(folder, 'certificates'));
  const key = (): string =>
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const keyFile = join(folder, 'key.pem');
  const otherKeyFile = join(folder, 'other-key.pem');
  writeFileSync(keyFile, key());
  writeFileSync(otherKeyFile, key());
  return {
    key: readFileSync(keyFile, 'utf8'),
    certificate: readFileSync(server.certFile, 'utf8'),
    keyFile,
    otherKeyFile,
    certFile: server.certFile,
    otherCertFile: client.certFile,
  };
}
