import { startSandbox } from '../../src/sandbox/index.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad } from '../servers/nomad.ts';
import { startVault } from '../servers/vault.ts';

interface Server {
  readonly address: string;
  readonly token: string;
}

/** One Nomad and one Vault: the real ones, or the sandbox in their place. */
export interface Implementation {
  readonly nomad: Server;
  readonly vault: Server;
  /** Lets time pass on Nomad where that can be had; a real server takes as long as it takes. */
  age(milliseconds: number): void;
  stop(): Promise<void>;
}

/** Every fact is tried on each of these; a missing real server is skipped visibly, on CI it is a failure. */
export const implementations: readonly {
  readonly name: string;
  readonly skip: boolean;
  readonly start: () => Promise<Implementation>;
}[] = [
  {
    name: 'the sandbox',
    skip: false,
    start: async () => {
      let ahead = 0;
      const sandbox = await startSandbox({ clock: () => Date.now() + ahead });
      return {
        nomad: sandbox.nomad,
        vault: sandbox.vault,
        age: (milliseconds) => (ahead += milliseconds),
        stop: () => sandbox.close(),
      };
    },
  },
  {
    name: 'the real servers',
    skip: !requireServers('nomad', 'vault'),
    start: async () => {
      const [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
      return {
        nomad,
        vault,
        age: () => undefined,
        stop: async () => {
          await Promise.all([nomad.stop(), vault.stop()]);
        },
      };
    },
  },
];
