import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { makeCertificates } from '../servers/certificates.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { Issuer } from './issuer.ts';
import { LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

const indented = (pem: string, by: number): string => pem.trim().replace(/^/gm, ' '.repeat(by));
const newKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }).toString();

describe.skipIf(!requireServers('nomad', 'vault'))('the ways in which Vault learns the keys', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-issuer-'));
  let nomad: NomadServer;
  let vault: VaultServer;
  let live: LiveVault;
  let workspace: Workspace;
  let plain: Issuer;
  let secure: Issuer;
  let ca: string;
  let before: unknown;

  beforeAll(async () => {
    const certificates = makeCertificates(folder);
    ca = readFileSync(certificates.caFile, 'utf8');
    [nomad, vault, plain, secure] = await Promise.all([
      startNomad({ client: false }),
      startVault(),
      Issuer.start(),
      Issuer.start(certificates.server),
    ]);
    live = new LiveVault(vault);
    before = await live.everything();
  });
  afterAll(async () => {
    await Promise.all([nomad.stop(), vault.stop(), plain.stop(), secure.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    workspace = new Workspace({ nomad, vault });
  });
  afterEach(async () => {
    expect((await workspace.destroy('--state', 'manifests/.nomad-access.state.json')).code).toBe(0);
    workspace.dispose();
    expect(await live.everything()).toEqual(before);
  });

  const declare = (spec: string): void => {
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads', spec));
  };
  const config = async (): Promise<Record<string, unknown>> => (await live.data('auth/jwt-nomad/config')) ?? {};
  const logsIn = async (issuer: Issuer): Promise<boolean> =>
    (await live.login('jwt-nomad', 'nomad-workloads', await issuer.sign('web'))).status === 200;

  async function converges(): Promise<void> {
    const { code, steps } = await workspace.apply();
    expect(code, JSON.stringify(steps)).toBe(0);
    await nothingToDo();
  }
  async function nothingToDo(): Promise<void> {
    const { code, stdout } = await workspace.run('plan', '-f', 'manifests', '--detailed-exitcode');
    expect(code, stdout).toBe(0);
  }

  /** Writes the configuration with just these fields changed; null takes a field away. */
  async function drift(change: Record<string, unknown>): Promise<void> {
    const isSet = ([, value]: [string, unknown]): boolean =>
      value !== null && value !== '' && !(typeof value === 'object' && Object.keys(value).length === 0);
    const fields = Object.fromEntries(Object.entries({ ...(await config()), ...change }).filter(isSet));
    const { status, body } = await live.request('POST', 'auth/jwt-nomad/config', fields);
    expect(status, JSON.stringify(body)).toBe(204);
  }

  /** That a change by hand shows under those paths, and that an apply puts it back. */
  async function isPutBack(paths: readonly string[], change: Record<string, unknown>): Promise<void> {
    const declared = meaningOf(await config());
    await drift(change);
    const plan = await workspace.plan();
    const changed = plan.steps.filter((s) => s.action === 'update').flatMap((s) => s.changes.map((c) => c.path));
    expect(changed.sort()).toEqual([...paths].sort());
    expect((await workspace.apply()).code).toBe(0);
    expect(meaningOf(await config())).toEqual(declared);
  }

  it('jwksUrl with the CA of its server: a PEM with and without a last line end is the same', async () => {
    declare(`jwksUrl: ${secure.jwksUrl}\njwksCaPem: |\n${indented(ca, 2)}`);
    await converges();
    expect([await logsIn(secure), await logsIn(plain)]).toEqual([true, false]);
    declare(`jwksUrl: ${secure.jwksUrl}\njwksCaPem: |-\n${indented(ca, 2)}`);
    await nothingToDo();
    await isPutBack(['spec.jwksCaPem'], { jwks_ca_pem: `${ca}\n${ca}` });
    await isPutBack(['spec.jwksUrl', 'spec.jwksCaPem'], { jwks_url: plain.jwksUrl, jwks_ca_pem: null });
  });

  it('a CA that did not sign the server’s certificate fails, and says what to look at', async () => {
    const other = mkdtempSync(join(folder, 'other-'));
    declare(
      `jwksUrl: ${secure.jwksUrl}\njwksCaPem: |\n${indented(readFileSync(makeCertificates(other).caFile, 'utf8'), 2)}`,
    );
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    expect(JSON.stringify(steps)).toContain('does it trust its certificate (jwksCaPem)?');
  });

  it('jwksPairs: tokens of every cluster log in, and the order of the pairs means nothing', async () => {
    const first = `  - jwksUrl: ${secure.jwksUrl}\n    jwksCaPem: |\n${indented(ca, 6)}`;
    const second = `  - jwksUrl: ${plain.jwksUrl}`;
    declare(['jwksPairs:', first, second].join('\n'));
    await converges();
    expect([await logsIn(secure), await logsIn(plain)]).toEqual([true, true]);
    declare(['jwksPairs:', second, first].join('\n'));
    await nothingToDo();
    declare(['jwksPairs:', second, first.replace('|', '|-')].join('\n'));
    await nothingToDo();
    const pair = { jwks_url: plain.jwksUrl };
    await drift({ jwks_pairs: [pair, { jwks_url: secure.jwksUrl, jwks_ca_pem: ca }] });
    await nothingToDo();
    await isPutBack(['spec.jwksPairs'], { jwks_pairs: [pair] });
    await isPutBack(['spec.jwksPairs'], {
      jwks_pairs: [pair, { jwks_url: secure.jwksUrl, jwks_ca_pem: `${ca}\n${ca}` }],
    });
    await isPutBack(['spec.jwksPairs', 'spec.jwksUrl'], { jwks_pairs: null, jwks_url: plain.jwksUrl });
    declare(`jwksPairs:\n${second}`);
    await converges();
    expect([await logsIn(secure), await logsIn(plain)]).toEqual([false, true]);
  });

  it('oidcDiscoveryUrl, with the CA of its server', async () => {
    declare(`oidcDiscoveryUrl: ${secure.address}\noidcDiscoveryCaPem: |\n${indented(ca, 2)}`);
    await converges();
    expect([await logsIn(secure), await logsIn(plain)]).toEqual([true, false]);
    declare(`oidcDiscoveryUrl: ${secure.address}\noidcDiscoveryCaPem: |-\n${indented(ca, 2)}`);
    await nothingToDo();
    await isPutBack(['spec.oidcDiscoveryCaPem'], { oidc_discovery_ca_pem: `${ca}\n${ca}` });
    await isPutBack(['spec.oidcDiscoveryUrl', 'spec.oidcDiscoveryCaPem'], {
      oidc_discovery_url: plain.address,
      oidc_discovery_ca_pem: null,
    });
    await isPutBack(['spec.oidc.clientId'], { oidc_client_id: 'somebody', oidc_client_secret: 'else' });
    await isPutBack(['spec.oidcDiscoveryUrl', 'spec.oidcDiscoveryCaPem', 'spec.jwksUrl'], {
      oidc_discovery_url: null,
      oidc_discovery_ca_pem: null,
      jwks_url: plain.jwksUrl,
    });
  });

  it('what only OIDC logins need is taken away', async () => {
    declare(`jwksUrl: ${plain.jwksUrl}`);
    await converges();
    await isPutBack(['spec.oidc.responseMode'], { oidc_response_mode: 'query' });
    await isPutBack(['spec.oidc.responseMode', 'spec.oidc.responseTypes'], {
      oidc_response_mode: 'form_post',
      oidc_response_types: ['code', 'id_token'],
    });
    await isPutBack(['spec.oidc.providerConfig'], { provider_config: { provider: 'azure' } });
    await isPutBack(['spec.oidc.unsupportedCriticalCertExtensions'], {
      unsupported_critical_cert_extensions: ['2.5.29.99'],
    });
  });

  it('syncKeys: a foreign key is taken away at once, a missing one comes back', async () => {
    declare('syncKeys: {}');
    await converges();
    const keys = (await config())['jwt_validation_pubkeys'] as string[];
    await isPutBack(['spec.syncKeys'], { jwt_validation_pubkeys: [...keys, newKey()] });
    await isPutBack(['spec.syncKeys'], { jwt_validation_pubkeys: [newKey()] });
    await isPutBack(['spec.syncKeys', 'spec.jwksUrl'], { jwt_validation_pubkeys: null, jwks_url: plain.jwksUrl });
  });

  it('syncKeys after a lost inventory keeps a former key for as long as tokens signed by it may live', async () => {
    const former = newKey().trim();
    declare('syncKeys: {}');
    await converges();
    const [current = ''] = (await config())['jwt_validation_pubkeys'] as string[];
    await drift({ jwt_validation_pubkeys: [former] });
    workspace.remove('.nomad-access.state.json');
    declare('adoptionPolicy: Always\nsyncKeys: { keepFor: 1s }');
    const { code } = await workspace.apply();
    expect(code).toBe(0);
    expect((await config())['jwt_validation_pubkeys']).toEqual([current.trim(), former]);
    await expect
      .poll(async () => (await workspace.plan()).steps.flatMap((s) => s.changes.map((c) => c.after)), {
        timeout: 20_000,
      })
      .toEqual([[current.trim()]]);
    await converges();
  });

  it('from one way to another, and back', async () => {
    declare('');
    await converges();
    for (const spec of [
      `oidcDiscoveryUrl: ${plain.address}`,
      'syncKeys: {}',
      `jwksPairs: [{ jwksUrl: "${plain.jwksUrl}" }]`,
      '',
    ]) {
      declare(spec);
      await converges();
    }
  });

  it('another mount at the path is refused and stays as it is', async () => {
    declare('');
    await converges();
    await live.request('DELETE', 'sys/auth/jwt-nomad');
    await live.request('POST', 'sys/auth/jwt-nomad', { type: 'userpass' });
    const mount = (await live.data('sys/auth'))?.['jwt-nomad/'];
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps[0]).toMatchObject({
      action: 'refuse',
      reason: 'Immutable',
      changes: [{ path: 'spec.path', before: 'auth mount of type userpass', after: 'auth mount of type jwt' }],
    });
    expect((await live.data('sys/auth'))?.['jwt-nomad/']).toEqual(mount);
    expect(await live.list('auth/jwt-nomad/users')).toEqual([]);
    await live.request('DELETE', 'sys/auth/jwt-nomad');
    await converges();
  });
});

/** White space after a PEM, and a CA that is empty or missing, are no difference to Vault. */
function meaningOf(config: Record<string, unknown>): unknown {
  const pairs = (config['jwks_pairs'] ?? []) as { jwks_url: string; jwks_ca_pem?: string }[];
  const texts = Object.entries(config).map(([field, value]) => [
    field,
    typeof value === 'string' ? value.trim() : value,
  ]);
  return {
    ...Object.fromEntries(texts),
    jwks_pairs: pairs.map((pair) => [pair.jwks_url, (pair.jwks_ca_pem ?? '').trim()]),
  };
}
