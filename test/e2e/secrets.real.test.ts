import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('secrets', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let workspace: Workspace;
  const secrets = new Set<string>();

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    workspace = new Workspace({ nomad, vault });
    secrets.add(nomad.token).add(vault.token);
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  async function collectSecrets(): Promise<void> {
    const live = new LiveNomad(nomad);
    for (const { AccessorID } of await live.tokens()) secrets.add(String((await live.token(AccessorID))['SecretID']));
  }

  /** Every command in every format, with everything that could make a library talk. */
  async function runEverything(): Promise<void> {
    const loud = { DEBUG: '*', NODE_DEBUG: 'http,https,net,tls,undici,fetch', NODE_V8_COVERAGE: '' };
    const on = ['-f', 'manifests'];
    const commands = [
      ['validate', ...on],
      ['plan', ...on],
      ['plan', ...on, '-o', 'json'],
      ['plan', ...on, '-o', 'markdown'],
      ['apply', ...on, '-y'],
      ['apply', ...on, '-y', '-o', 'json'],
      ['status', ...on],
      ['status', ...on, '-o', 'json'],
      ['agent-config', ...on],
    ];
    for (const args of commands) {
      await workspace.start(args, loud).outcome;
      await collectSecrets();
    }
  }

  it('are in no output, log or state, whatever happens', async () => {
    workspace.write(
      'all.yaml',
      manifest('AclPolicy', 'one', `rules: 'namespace "default" { policy = "read" }'`),
      manifest('VaultJwtIntegration', 'workloads'),
    );
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: secrets/ci } }'),
      manifest('AclToken', 'nowhere', 'policies: [one]\nwriteSecretTo: { none: {} }'),
      manifest('AclToken', 'boss', 'type: management\nwriteSecretTo: { file: { path: secrets/boss } }'),
    );
    await runEverything();
    expect(workspace.read('secrets/ci').trim()).toMatch(/^[0-9a-f-]{36}$/);

    // The sink is edited, a secret stands where it should not, a token is replaced, credentials are refused.
    workspace.write('secrets/ci', [...secrets][2] ?? '');
    await runEverything();
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nglobal: true\nwriteSecretTo: { file: { path: secrets/ci } }'),
    );
    await runEverything();
    workspace.write('bad.yaml', manifest('AclPolicy', 'bad', "rules: 'nonsense {'"));
    await runEverything();
    workspace.retarget({
      nomad: { address: nomad.address, token: `${nomad.token.slice(0, -4)}0000` },
      vault: { address: vault.address, token: 'wrong-token-to-look-for' },
    });
    secrets.add('wrong-token-to-look-for').add(`${nomad.token.slice(0, -4)}0000`);
    await runEverything();
    workspace.retarget({ nomad, vault });
    await workspace.destroy();

    expect(secrets.size).toBeGreaterThan(6);
    const stored = filesUnder(workspace.folder).filter((path) => !path.includes('/secrets/'));
    expect(stored.some((path) => path.endsWith('.nomad-access.state.json'))).toBe(true);
    const everything = [...workspace.printed, ...stored.map((path) => readFileSync(path, 'utf8'))].join('\n');
    expect(everything.length).toBeGreaterThan(20_000);
    const leaked = [...secrets].filter((secret) => everything.includes(secret));
    expect(leaked).toEqual([]);
    expect(everything).not.toMatch(/-----BEGIN [A-Z ]*PRIVATE KEY/);
  }, 300_000);

  it('lie in files that nobody else can read, in folders that nobody else can enter', async () => {
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: deep/er/ci } }'),
    );
    await workspace.apply();
    const mode = (path: string): number => statSync(join(workspace.manifests, path)).mode & 0o777;
    expect([mode('deep/er/ci'), mode('deep/er'), mode('deep'), mode('.nomad-access.state.json')]).toEqual([
      0o600, 0o700, 0o700, 0o600,
    ]);
    await workspace.destroy();
  });
});

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}
