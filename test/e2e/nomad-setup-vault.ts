import { cleanEnvironment, runCommand } from '../servers/command.ts';
import type { NomadServer } from '../servers/nomad.ts';
import type { VaultServer } from '../servers/vault.ts';

/** What most people use instead: `nomad setup vault -y`. */
export function nomadSetupVault(
  nomad: NomadServer,
  vault: VaultServer,
  jwksUrl: string,
): Promise<{ code: number; stderr: string }> {
  const env = cleanEnvironment({
    NOMAD_ADDR: nomad.address,
    NOMAD_TOKEN: nomad.token,
    VAULT_ADDR: vault.address,
    VAULT_TOKEN: vault.token,
  });
  return runCommand(nomad.bin, ['setup', 'vault', '-y', '-jwks-url', jwksUrl], { env });
}
