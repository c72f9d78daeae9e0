import { UsageError } from '../../contract/errors.ts';
import { PortUnavailable, startSandbox } from '../../sandbox/index.ts';
import type { Output } from '../report.ts';
import type { Terminal } from '../terminal.ts';

export interface SandboxCommandOptions {
  readonly output: Output;
  readonly nomadPort: number;
  readonly vaultPort: number;
  readonly seed: boolean;
}

/** Serves Nomad's ACL API and Vault's API in process until it is stopped. */
export async function sandbox(options: SandboxCommandOptions, terminal: Terminal, stop: AbortSignal): Promise<number> {
  const { nomadPort, vaultPort, seed } = options;
  const running = await startSandbox({ nomadPort, vaultPort, seed }).catch((error: unknown) => {
    if (!(error instanceof PortUnavailable)) throw error;
    throw new UsageError(
      `port ${String(error.port)} is ${error.reason}: give another --${error.target}-port, or 0 for a free one`,
    );
  });
  const environment = {
    NOMAD_ADDR: running.nomad.address,
    NOMAD_TOKEN: running.nomad.token,
    VAULT_ADDR: running.vault.address,
    VAULT_TOKEN: running.vault.token,
  };
  if (options.output === 'json') terminal.out(JSON.stringify(environment));
  else for (const [name, value] of Object.entries(environment)) terminal.out(`export ${name}=${value}`);
  terminal.err(
    'The sandbox runs until it is stopped (Ctrl-C); nothing of it is kept. Its tokens are good for nothing else.',
  );
  await new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    stop.addEventListener('abort', () => {
      resolve();
    });
  });
  await running.close();
  return 0;
}
