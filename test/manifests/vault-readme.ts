import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cleanEnvironment } from '../servers/command.ts';
import type { VaultServer } from '../servers/vault.ts';
import { VAULT_FOLDER } from './vault-policy-file.ts';

/** The commands of manifests/vault/README.md for one login; those for the policy have no tag. */
export function commandsFor(login: 'kubernetes' | 'jwt' | 'approle' | undefined): string {
  const readme = readFileSync(join(VAULT_FOLDER, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/(?:<!-- run: (\w+) -->\n\n)?```sh\n([\s\S]*?)```/g)];
  const script = blocks.find(([, tag]) => tag === login)?.[2];
  if (script === undefined) throw new Error(`the README has no commands for ${String(login)}`);
  return script;
}

/** Runs commands as an administrator of Vault would, where the policy's file is. @returns what they printed. @throws Error */
export function runOnVault(vault: VaultServer, script: string): string {
  const env = cleanEnvironment({
    VAULT_ADDR: vault.address,
    VAULT_TOKEN: vault.token,
    HOME: '/nonexistent',
    PATH: `${dirname(vault.bin)}:${process.env['PATH'] ?? ''}`,
  });
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `set -euo pipefail\n${script}`], {
    cwd: VAULT_FOLDER,
    env,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${script}\nended with ${String(status)}: ${stdout}${stderr}`);
  return stdout;
}
