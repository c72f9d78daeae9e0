import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportSPKI, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace, type Outcome } from './workspace.ts';

const ACCOUNT = 'system:serviceaccount:nomad-access:nomad-access';

describe.skipIf(!requireServers('nomad'))('init-auth', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  let key: CryptoKey;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad });
    const pair = await generateKeyPair('RS256');
    key = pair.privateKey;
    writeFileSync(join(workspace.folder, 'key.pem'), await exportSPKI(pair.publicKey));
  });
  afterAll(() => {
    workspace.dispose();
    return nomad.stop();
  });

  const init = (...args: string[]): Promise<Outcome> => workspace.run('init-auth', ...args);
  /** A ServiceAccount's token, as an API server signs it. */
  async function writeToken(subject: string, audience = 'nomad'): Promise<void> {
    const jwt = await new SignJWT({ sub: subject })
      .setProtectedHeader({ alg: 'RS256' })
      .setIssuer('https://kubernetes.default.svc')
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime('10m')
      .sign(key);
    writeFileSync(join(workspace.folder, 'token'), jwt);
  }

  it('prints what lets one ServiceAccount log in with management, and nobody else', async () => {
    const printed = await init(
      '--for',
      'kubernetes',
      '--public-key',
      'key.pem',
      '--issuer',
      'https://kubernetes.default.svc',
    );
    expect([printed.code, printed.stderr]).toEqual([0, '']);
    writeFileSync(join(workspace.folder, 'login.yaml'), printed.stdout);
    const applied = await workspace.run('apply', '-f', 'login.yaml', '--yes');
    expect(applied.code, applied.stderr).toBe(0);

    const auth = /auth: (\{ jwt: .*\})/.exec(printed.stdout)?.[1]?.replace(' } }', ', tokenFile: ../token } }') ?? '';
    workspace.write(
      'all.yaml',
      manifest('NomadCluster', 'default', `address: ${nomad.address}\nauth: ${auth}`),
      manifest('AclPolicy', 'made', `rules: 'node { policy = "read" }'`),
    );
    for (const [subject, audience] of [
      ['system:serviceaccount:nomad-access:other', 'nomad'],
      [ACCOUNT, 'vault'],
    ] as const) {
      await writeToken(subject, audience);
      expect((await workspace.apply()).code).toBe(1);
      expect(await live.policyNames()).toEqual([]);
    }
    await writeToken(ACCOUNT);
    expect((await workspace.apply()).code).toBe(0);
    expect(await live.policyNames()).toEqual(['made']);
    expect((await live.tokens()).map((t) => t.Name)).toEqual(['Bootstrap Token']);
  });

  it('prints the same as JSON', async () => {
    const { code, stdout } = await init('--for', 'nomad', '--job', 'ops/access', '-o', 'json');
    expect([code, JSON.parse(stdout)]).toMatchObject([
      0,
      {
        manifests: [
          { kind: 'AclAuthMethod', spec: { config: { jwksUrl: `${nomad.address}/.well-known/jwks.json` } } },
          { kind: 'AclBindingRule', spec: { selector: 'value.namespace == "ops" and value.job == "access"' } },
        ],
      },
    ]);
  });

  it.each<[string[], RegExp]>([
    [[], /--for <platform>/],
    [['--for', 'nowhere'], /Allowed choices are kubernetes, nomad/],
    [['--for', 'kubernetes'], /give --jwks-url, .* or --public-key/],
    [['--for', 'kubernetes', '--public-key', 'nowhere.pem'], /--public-key nowhere.pem: .*no such file/],
    [['--for', 'kubernetes', '--jwks-url', 'api.example.com'], /spec.config.jwksUrl must be a URL/],
    [['--for', 'kubernetes', '--jwks-url', 'https://a/b', '--service-account', 'alone'], /must be NAMESPACE\/NAME/],
    [['--for', 'nomad', '--job', 'a/b/c'], /--job a\/b\/c: must be NAMESPACE\/NAME/],
    [['--for', 'nomad', '--max-token-ttl', 'long'], /--max-token-ttl <duration>.*must be a duration/],
    [['--for', 'nomad', '--method', 'a.b'], /must be 1 to 128 letters, digits and dashes/],
  ])('%j is refused with what to do', async (args, text) => {
    const { code, stderr, stdout } = await init(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(text);
  });
});
