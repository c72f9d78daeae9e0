import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { serverBinary } from './binaries.ts';
import { cleanEnvironment, type CommandResult, runCommand } from './command.ts';
import { askServer } from './http.ts';
import { withFreePorts } from './ports.ts';
import { startProcess, temporaryDirectory } from './process.ts';

export interface VaultOptions {
  /** Default: a random one, which a search for leaked secrets can tell from the word "root". */
  rootToken?: string;
  /** `inmem` is a dev server; `file` survives a restart, and can be sealed and unsealed. Default inmem. */
  storage?: 'inmem' | 'file';
  /** Of file storage. Kept by `stop`, so that a second start on it is a restart of the same server. */
  dataDir?: string;
  /** Default: a free one. */
  port?: number;
}

export interface VaultServer {
  address: string;
  token: string;
  bin: string;
  pid: number;
  unsealKey: string;
  seal: () => Promise<void>;
  unseal: () => Promise<void>;
  stop: () => Promise<void>;
  /** The vault command line, with VAULT_ADDR and VAULT_TOKEN set. */
  run: (...args: string[]) => Promise<CommandResult>;
}

/** One Vault, unsealed, with KV version 2 at secret/ whatever the storage. */
export function startVault(options: VaultOptions = {}): Promise<VaultServer> {
  if (options.port !== undefined) return startOn(options.port, options);
  // A dev server announces the next port for its cluster, but listens there only when highly available.
  return withFreePorts(1, ([port = 0]) => startOn(port, options));
}

interface Keys {
  token: string;
  unsealKey: string;
}

async function startOn(port: number, options: VaultOptions): Promise<VaultServer> {
  const bin = serverBinary('vault');
  const directory = temporaryDirectory('vault');
  const address = `http://127.0.0.1:${port}`;
  const token = options.rootToken ?? `root-${randomUUID()}`;
  const dataDir = options.dataDir ?? join(directory.path, 'data');
  const isFile = options.storage === 'file';
  // Without a HOME of its own a dev server's and the command line's token helper would write into the developer's.
  const environment = { HOME: directory.path, TMPDIR: directory.path };
  try {
    const server = await startProcess({
      name: 'vault',
      bin,
      args: isFile ? ['server', '-config', writeConfig(directory.path, dataDir, address)] : devArguments(port, token),
      env: cleanEnvironment(environment),
      directory: directory.path,
      ready: isFile ? () => fileReady(address, dataDir, token) : (log) => devReady(address, token, log),
    });
    const { unsealKey } = server.value;
    return {
      address,
      token: server.value.token,
      bin,
      pid: server.pid,
      unsealKey,
      seal: async () => {
        await call(address, 'PUT', 'sys/seal', server.value.token);
      },
      unseal: async () => {
        await call(address, 'PUT', 'sys/unseal', undefined, { key: unsealKey });
      },
      stop: async () => {
        await server.stop();
        directory.remove();
      },
      run: (...args) => {
        const credentials = { VAULT_ADDR: address, VAULT_TOKEN: server.value.token };
        return runCommand(bin, args, { env: cleanEnvironment({ ...environment, ...credentials }) });
      },
    };
  } catch (error) {
    directory.remove();
    throw error;
  }
}

function devArguments(port: number, token: string): string[] {
  const listen = `-dev-listen-address=127.0.0.1:${port}`;
  return ['server', '-dev', '-dev-no-store-token', `-dev-root-token-id=${token}`, listen];
}

function writeConfig(directory: string, dataDir: string, address: string): string {
  mkdirSync(dataDir, { recursive: true });
  const file = join(directory, 'vault.hcl');
  const lines = [
    `storage "file" {\n  path = ${JSON.stringify(join(dataDir, 'storage'))}\n}`,
    `listener "tcp" {\n  address = ${JSON.stringify(new URL(address).host)}\n  tls_disable = true\n}`,
    `api_addr = ${JSON.stringify(address)}`,
    // Locking memory needs a privilege that a test run need not have.
    'disable_mlock = true',
  ];
  writeFileSync(file, lines.join('\n'));
  return file;
}

/** The dev server mounts secret/ after it has begun to answer; its unseal key is found only in what it prints. */
async function devReady(address: string, token: string, log: () => string): Promise<Keys | undefined> {
  await call(address, 'GET', 'secret/config', token);
  const unsealKey = /^Unseal Key: (\S+)$/m.exec(log())?.[1];
  return unsealKey === undefined ? undefined : { token, unsealKey };
}

const initShape = z.object({ keys_base64: z.tuple([z.string()]), root_token: z.string() });
const keysShape = z.object({ token: z.string(), unsealKey: z.string() });

/** Initialises a new data directory, then unseals; each step only where the server is not beyond it yet. */
async function fileReady(address: string, dataDir: string, token: string): Promise<Keys | undefined> {
  const { status } = await askServer(`${address}/v1/sys/health`);
  const keysFile = join(dataDir, 'keys.json');
  const keys = existsSync(keysFile) ? keysShape.parse(JSON.parse(readFileSync(keysFile, 'utf8'))) : undefined;
  if (status === 501) {
    const made = initShape.parse(
      await call(address, 'PUT', 'sys/init', undefined, { secret_shares: 1, secret_threshold: 1 }),
    );
    const kept: Keys = { token: made.root_token, unsealKey: made.keys_base64[0] };
    writeFileSync(keysFile, JSON.stringify(kept), { mode: 0o600 });
    return undefined;
  }
  if (keys === undefined) return undefined;
  if (status === 503) {
    await call(address, 'PUT', 'sys/unseal', undefined, { key: keys.unsealKey });
    return undefined;
  }
  if (status !== 200) return undefined;
  if (existsSync(join(dataDir, 'set-up'))) return keys;
  await call(address, 'POST', 'sys/mounts/secret', keys.token, { type: 'kv', options: { version: '2' } });
  const wanted = { id: token, policies: ['root'], no_parent: true };
  await call(address, 'POST', 'auth/token/create', keys.token, wanted);
  writeFileSync(keysFile, JSON.stringify({ ...keys, token }), { mode: 0o600 });
  writeFileSync(join(dataDir, 'set-up'), '');
  return { ...keys, token };
}

async function call(
  address: string,
  method: 'GET' | 'PUT' | 'POST',
  path: string,
  token: string | undefined,
  body?: unknown,
): Promise<unknown> {
  const headers = token === undefined ? {} : { 'X-Vault-Token': token };
  const answer = await askServer(`${address}/v1/${path}`, { method, headers, body });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
