import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { makeCertificates, type Certificates } from '../servers/certificates.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY/;

/** Nomad asks for a client certificate, so that there is a private key that could be printed. */
describe.skipIf(!requireServers('nomad', 'vault'))('secrets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-secrets-'));
  let nomad: NomadServer;
  let vault: VaultServer;
  let workspace: Workspace;
  let certificates: Certificates;
  const secrets = new Set<string>();
  /** What files held, as it was after each command. */
  const stored: string[] = [];

  beforeAll(async () => {
    certificates = makeCertificates(folder);
    const { caFile, server } = certificates;
    [nomad, vault] = await Promise.all([
      startNomad({ client: false, tls: { caFile, ...server, verifyHttpsClient: true } }),
      startVault(),
    ]);
    workspace = new Workspace({ nomad, vault });
    secrets.add(nomad.token).add(vault.token);
    for (const line of keyLines(certificates.client.keyFile)) secrets.add(line);
  });
  afterAll(async () => {
    workspace.dispose();
    rmSync(folder, { recursive: true, force: true });
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  /** Everything that could make a library talk. */
  const loud = (): Record<string, string> => ({
    NOMAD_CACERT: certificates.caFile,
    NOMAD_CLIENT_CERT: certificates.client.certFile,
    NOMAD_CLIENT_KEY: certificates.client.keyFile,
    DEBUG: '*',
    NODE_DEBUG: 'http,https,net,tls,undici,fetch',
  });

  /** The SecretID of every token that Nomad holds now. */
  async function collectSecrets(): Promise<void> {
    const ask = async (path: string): Promise<unknown> =>
      JSON.parse((await nomad.run('operator', 'api', '-X', 'GET', path)).stdout) as unknown;
    for (const { AccessorID } of (await ask('/v1/acl/tokens')) as { AccessorID: string }[])
      secrets.add(((await ask(`/v1/acl/token/${AccessorID}`)) as { SecretID: string }).SecretID);
  }

  function collectFiles(): void {
    const files = filesUnder(workspace.folder).filter((path) => !path.includes('/secrets/'));
    stored.push(...files.map((path) => readFileSync(path, 'utf8')));
  }

  async function run(...args: string[]): Promise<void> {
    await workspace.start(args, loud()).outcome;
    collectFiles();
  }

  /** Every command on manifests in every format. */
  async function runEverything(): Promise<void> {
    const on = ['-f', 'manifests'];
    for (const command of ['validate', 'plan', 'status', 'agent-config'])
      for (const output of ['text', 'json']) await run(command, ...on, '-o', output);
    await run('plan', ...on, '-o', 'markdown');
    await run('apply', ...on, '-y');
    await collectSecrets();
    await run('apply', ...on, '-y', '-o', 'json');
    for (const command of ['plan', 'status', 'agent-config']) await run(command, ...on);
  }

  /** The sandbox prints its own tokens, which are good for nothing else; but none of those that it finds. */
  async function runSandbox(): Promise<string> {
    const { child, outcome } = workspace.start(['sandbox'], loud());
    child.stdout?.once('data', () => void child.kill('SIGINT'));
    return (await outcome).stdout;
  }

  /** What the lock file holds while an apply has it. */
  async function lockDuringApply(): Promise<string> {
    let content = '';
    const watcher = watch(workspace.manifests, (_event, name) => {
      if (name?.endsWith('.lock') !== true || content !== '') return;
      try {
        content = readFileSync(join(workspace.manifests, name), 'utf8');
      } catch {
        // It is gone again.
      }
    });
    await run('apply', '-f', 'manifests', '-y');
    watcher.close();
    return content;
  }

  it('are in no output, log, lock or state, whatever happens', { timeout: 300_000 }, async () => {
    workspace.write(
      'all.yaml',
      manifest('AclPolicy', 'one', READ),
      manifest('VaultJwtIntegration', 'workloads', 'syncKeys: {}'),
    );
    const ci = (more = ''): string =>
      manifest('AclToken', 'ci', `policies: [one]\nwriteSecretTo: { file: { path: secrets/ci } }\n${more}`);
    workspace.write(
      'token.yaml',
      ci(),
      manifest('AclToken', 'nowhere', 'policies: [one]\nwriteSecretTo: { none: {} }'),
      manifest('AclToken', 'boss', 'type: management\nwriteSecretTo: { file: { path: secrets/boss } }'),
    );
    await runEverything();
    expect(workspace.read('secrets/ci').trim()).toMatch(/^[0-9a-f-]{36}$/);
    expect(await new LiveVault(vault).mounts()).toContain('jwt-nomad/');

    // A secret stands in the file of another one, tokens are replaced and removed.
    workspace.write('secrets/ci', workspace.read('secrets/boss'));
    await runEverything();
    workspace.write('token.yaml', ci('global: true'));
    await runEverything();
    // Nomad refuses a policy, then both refuse the credentials.
    workspace.write('bad.yaml', manifest('AclPolicy', 'bad', "rules: 'nonsense {'"));
    await runEverything();
    const wrong = { nomad: `${nomad.token.slice(0, -4)}0000`, vault: 'wrong-token-to-look-for' };
    secrets.add(wrong.nomad).add(wrong.vault);
    workspace.retarget({
      nomad: { address: nomad.address, token: wrong.nomad },
      vault: { address: vault.address, token: wrong.vault },
    });
    await runEverything();
    workspace.retarget({ nomad, vault });
    workspace.remove('bad.yaml');
    const lock = await lockDuringApply();
    expect(lock).toContain('pid');
    stored.push(lock);
    expect(await runSandbox()).toContain('NOMAD_TOKEN=');
    await run('destroy', '-f', 'manifests', '-y', '-o', 'json');
    for (const command of ['crds', 'version', '--version', '--help', 'nonsense']) await run(command);
    expect(await new LiveVault(vault).mounts()).toEqual(['token/']);

    // Two tokens, two wrong ones, the lines of the key, and every token that there ever was.
    expect(secrets.size).toBeGreaterThan(9);
    expect(stored.some((text) => text.includes('"objects":[{'))).toBe(true);
    const everything = [...workspace.printed, ...stored].join('\n');
    expect(everything.length).toBeGreaterThan(20_000);
    expect(leaksIn(everything, secrets)).toEqual([]);

    // The search finds what is there.
    for (const secret of secrets) {
      const planted = everything.slice(0, 5000) + secret + everything.slice(5000);
      expect(leaksIn(planted, secrets)).toContain(secret);
    }
    expect(leaksIn(Buffer.from(nomad.token).toString('base64'), secrets)).toEqual([nomad.token]);
    const key = readFileSync(certificates.client.keyFile, 'utf8');
    expect(leaksIn(everything + key, new Set())).toEqual(['a private key']);
  });

  it('lie in files that nobody else can read, in folders that nobody else can enter', async () => {
    rmSync(workspace.manifests, { recursive: true });
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: deep/er/ci } }'),
    );
    await workspace.start(['apply', '-f', 'manifests', '-y'], loud()).outcome;
    const mode = (path: string): number => statSync(join(workspace.manifests, path)).mode & 0o777;
    expect([mode('deep/er/ci'), mode('deep/er'), mode('deep'), mode('.nomad-access.state.json')]).toEqual([
      0o600, 0o700, 0o700, 0o600,
    ]);
  });
});

/** The secrets that a text holds, as they are or in base64; and private keys of whatever origin. */
function leaksIn(text: string, secrets: ReadonlySet<string>): string[] {
  const found = [...secrets].filter((s) => text.includes(s) || text.includes(base64(s)));
  return PRIVATE_KEY.test(text) ? [...found, 'a private key'] : found;
}

/** Without its end, which depends on what follows. */
function base64(text: string): string {
  return Buffer.from(text)
    .toString('base64')
    .replace(/..?=*$/, '');
}

function keyLines(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.length > 40 && !line.startsWith('-----'));
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}
