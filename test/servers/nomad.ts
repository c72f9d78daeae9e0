import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverBinary } from './binaries.ts';
import { cleanEnvironment, type CommandResult, runCommand } from './command.ts';
import { agentConfig, type NomadPorts, type NomadTls } from './nomad-config.ts';
import { type NomadReady, nomadReadiness, RefusedRegistrationError } from './nomad-readiness.ts';
import { endTasks } from './nomad-tasks.ts';
import { withFreePorts } from './ports.ts';
import { onExit, type ServerSpec, startProcess, temporaryDirectory } from './process.ts';

export interface NomadOptions {
  /** Extra HCL; merged over the harness' own configuration, so `server { ... }` may appear again. */
  config?: string;
  /** Lets workloads log in there: the agent's `vault` block as `nomad setup vault` expects it. */
  vaultAddress?: string;
  /** Also a client that runs raw_exec tasks. Default true. */
  client?: boolean;
  region?: string;
  ports?: NomadPorts;
  /** Kept by `stop`, so that a second start on it is a restart of the same server (with the same token). */
  dataDir?: string;
  tls?: NomadTls;
  /** A management token to use instead of bootstrapping: for the second region of a federation. */
  token?: string;
  /** false: ACLs are as on a new server, bootstrapped by nobody, and `token` is empty. Needs `client: false`. */
  bootstrap?: boolean;
  /** false: ACLs are off; needs `bootstrap: false`. */
  acl?: boolean;
}

export interface NomadServer {
  address: string;
  /** SecretID of the bootstrap management token. */
  token: string;
  accessorId: string;
  region: string;
  ports: NomadPorts;
  bin: string;
  dataDir: string;
  pid: number;
  stop: () => Promise<void>;
  /** The nomad command line, with NOMAD_ADDR and NOMAD_TOKEN set. */
  run: (...args: string[]) => Promise<CommandResult>;
}

/**
 * One agent with ACLs and raw_exec on. Ready means: leader elected, ACLs bootstrapped, keyring made, node ready. That takes
 * 1.2-2.2 s, nearly all of it raft's election timeout (1-2 s, random), which Nomad does not let anyone shorten.
 */
export function startNomad(options: NomadOptions = {}): Promise<NomadServer> {
  if (options.ports !== undefined) return startOn(options.ports, options);
  return withFreePorts(3, ([http = 0, rpc = 0, serf = 0]) => startOn({ http, rpc, serf }, options));
}

async function startOn(ports: NomadPorts, options: NomadOptions): Promise<NomadServer> {
  const bin = serverBinary('nomad');
  const directory = temporaryDirectory('nomad');
  const dataDir = options.dataDir ?? join(directory.path, 'data');
  mkdirSync(dataDir, { recursive: true });
  const configuration = join(directory.path, 'agent.hcl');
  writeFileSync(configuration, agentConfig({ ...options, ports, dataDir }));
  const extra = join(directory.path, 'extra.hcl');
  writeFileSync(extra, options.config ?? '');

  const { tls } = options;
  const address = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${ports.http}`;
  const cleanUp = (): void => {
    endTasks(dataDir);
    directory.remove();
  };
  const forget = onExit(cleanUp);
  try {
    const spec: ServerSpec<NomadReady> = {
      name: 'nomad',
      bin,
      args: ['agent', '-config', configuration, '-config', extra],
      // Sockets of its plugins go to TMPDIR; kept in the directory they are removed with it.
      env: cleanEnvironment({ TMPDIR: directory.path }),
      directory: directory.path,
      ready: nomadReadiness(address, dataDir, options),
    };
    const server = await startProcess(spec).catch((error: unknown) => {
      if (error instanceof RefusedRegistrationError) return startProcess(spec);
      throw error;
    });
    const tlsEnvironment: Record<string, string> =
      tls === undefined
        ? {}
        : { NOMAD_CACERT: tls.caFile, NOMAD_CLIENT_CERT: tls.certFile, NOMAD_CLIENT_KEY: tls.keyFile };
    return {
      address,
      token: server.value.token,
      accessorId: server.value.accessorId,
      region: options.region ?? 'global',
      ports,
      bin,
      dataDir,
      pid: server.pid,
      stop: async () => {
        await server.stop();
        cleanUp();
        forget();
      },
      run: (...args) => {
        const credentials = { NOMAD_ADDR: address, NOMAD_TOKEN: server.value.token };
        return runCommand(bin, args, { env: cleanEnvironment({ ...credentials, ...tlsEnvironment }) });
      },
    };
  } catch (error) {
    cleanUp();
    forget();
    throw error;
  }
}
