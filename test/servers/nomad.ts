import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { serverBinary } from './binaries.ts';
import { cleanEnvironment, type CommandResult, runCommand } from './command.ts';
import { askServer, type HttpOptions } from './http.ts';
import { agentConfig, type NomadPorts, type NomadTls } from './nomad-config.ts';
import { endTasks } from './nomad-tasks.ts';
import { withFreePorts } from './ports.ts';
import { onExit, startProcess, temporaryDirectory } from './process.ts';

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
 * about two seconds, nearly all of it raft's election timeout (1-2 s, random), which Nomad does not let anyone shorten.
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
    const server = await startProcess({
      name: 'nomad',
      bin,
      args: ['agent', '-config', configuration, '-config', extra],
      // Sockets of its plugins go to TMPDIR; kept in the directory they are removed with it.
      env: cleanEnvironment({ TMPDIR: directory.path }),
      directory: directory.path,
      ready: readiness(address, dataDir, options),
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

interface Bootstrapped {
  token: string;
  accessorId: string;
}

const tokenShape = z.object({ AccessorID: z.string(), SecretID: z.string() });
const agentShape = z.object({ stats: z.object({ client: z.object({ node_id: z.string() }) }) });
const keysShape = z.object({ keys: z.array(z.unknown()).min(1) });
const nodeShape = z.object({
  Status: z.literal('ready'),
  Drivers: z.object({ raw_exec: z.object({ Healthy: z.literal(true) }) }),
  Attributes: z.record(z.string(), z.string()),
});

/** What `startProcess` asks until it answers. The steps build on each other; each is done once. */
function readiness(address: string, dataDir: string, options: NomadOptions): () => Promise<Bootstrapped | undefined> {
  const { tls } = options;
  const files = tls && {
    ca: readFileSync(tls.caFile, 'utf8'),
    cert: readFileSync(tls.certFile, 'utf8'),
    key: readFileSync(tls.keyFile, 'utf8'),
  };
  let token = options.token;
  const ask = async (path: string, more: HttpOptions = {}): Promise<unknown> => {
    const headers = token === undefined ? {} : { 'X-Nomad-Token': token };
    const { status, body } = await askServer(address + path, { headers, ...more, ...(files && { tls: files }) });
    if (status !== 200) throw new Error(`${path}: ${status} ${String(body)}`);
    return body;
  };
  // Bootstrapping works once in the life of a data directory; a restart on it needs the token from then.
  const tokenFile = join(dataDir, 'bootstrap-token');
  if (token === undefined && existsSync(tokenFile)) token = readFileSync(tokenFile, 'utf8');

  return async () => {
    if (token === undefined) {
      const made = tokenShape.parse(await ask('/v1/acl/bootstrap', { method: 'PUT' }));
      token = made.SecretID;
      writeFileSync(tokenFile, token, { mode: 0o600 });
    }
    const self = tokenShape.parse(await ask('/v1/acl/token/self'));
    // Identities of workloads are signed by the keyring, which the leader makes a moment after its election.
    keysShape.parse(await ask('/.well-known/jwks.json'));
    if (options.client !== false) {
      const agent = agentShape.parse(await ask('/v1/agent/self'));
      const node = nodeShape.parse(await ask(`/v1/node/${agent.stats.client.node_id}`));
      // Without this attribute the scheduler places no job that has a vault block.
      if (options.vaultAddress !== undefined && node.Attributes['vault.version'] === undefined) return undefined;
    }
    return { token, accessorId: self.AccessorID };
  };
}
