import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { askServer, type HttpOptions } from './http.ts';
import type { NomadTls } from './nomad-config.ts';
import { GiveUpError } from './process.ts';

export interface NomadReady {
  token: string;
  accessorId: string;
}

/**
 * A node that registers in the milliseconds between the leader's election and its making of the keyring is refused, and
 * waits 15-30 s before it tries again (about one start of four). A second start finds the keyring made, and takes two seconds.
 */
export class RefusedRegistrationError extends GiveUpError {}

const tokenShape = z.object({ AccessorID: z.string(), SecretID: z.string() });
const keysShape = z.object({ keys: z.array(z.unknown()).min(1) });
const agentShape = z.object({ stats: z.object({ client: z.object({ node_id: z.string() }) }) });
const nodeShape = z.object({
  Status: z.literal('ready'),
  Drivers: z.object({ raw_exec: z.object({ Healthy: z.literal(true) }) }),
  Attributes: z.record(z.string(), z.string()),
});

type Ask = (path: string, options?: HttpOptions) => Promise<unknown>;

/** What `startProcess` asks until it answers: the first step that is not done yet throws. */
export function nomadReadiness(
  address: string,
  dataDir: string,
  options: { token?: string; client?: boolean; bootstrap?: boolean; vaultAddress?: string; tls?: NomadTls },
): (log: () => string) => Promise<NomadReady | undefined> {
  const isBare = options.bootstrap === false;
  const token = isBare ? '' : (options.token ?? chosenToken(dataDir));
  const tls = options.tls && clientFiles(options.tls);
  const ask: Ask = async (path, more = {}) => {
    const headers = { 'X-Nomad-Token': token };
    const { status, body } = await askServer(address + path, { headers, ...more, ...(tls && { tls }) });
    if (status !== 200) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  return async (log) => {
    if (isBare) return bareReady(ask);
    if (options.token === undefined) await bootstrap(ask, token);
    const self = tokenShape.parse(await ask('/v1/acl/token/self'));
    // Identities of workloads are signed by the keyring, which the leader makes a moment after its election.
    keysShape.parse(await ask('/.well-known/jwks.json'));
    if (options.client !== false) {
      if (/error registering: .*keyring has not been initialized/.test(log())) throw new RefusedRegistrationError();
      const attributes = await readyNode(ask);
      // Without this attribute the scheduler places no job that has a vault block.
      if (options.vaultAddress !== undefined && attributes['vault.version'] === undefined) return undefined;
    }
    return { token, accessorId: self.AccessorID };
  };
}

/** A leader stands, and has made the keyring. */
async function bareReady(ask: Ask): Promise<NomadReady> {
  z.string()
    .min(1)
    .parse(await ask('/v1/status/leader'));
  keysShape.parse(await ask('/.well-known/jwks.json'));
  return { token: '', accessorId: '' };
}

/**
 * The bootstrap token's SecretID, chosen here rather than by the server: a reply that is lost loses nothing. It is kept in the
 * data directory, because bootstrapping works once in its life and a restart needs the same token.
 */
function chosenToken(dataDir: string): string {
  const file = join(dataDir, 'bootstrap-token');
  if (!existsSync(file)) writeFileSync(file, randomUUID(), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

async function bootstrap(ask: Ask, token: string): Promise<void> {
  const done = await ask('/v1/acl/token/self').catch(() => undefined);
  if (done !== undefined) return;
  // The server holds this request until a leader is elected, up to 5 s.
  await ask('/v1/acl/bootstrap', { method: 'PUT', body: { BootstrapSecret: token } });
}

async function readyNode(ask: Ask): Promise<Record<string, string>> {
  const agent = agentShape.parse(await ask('/v1/agent/self'));
  const node = await ask(`/v1/node/${agent.stats.client.node_id}`);
  const ready = nodeShape.safeParse(node);
  if (!ready.success) await hurryHeartbeat(ask);
  return nodeShape.parse(node).Attributes;
}

/**
 * A registered node may stay "initializing" until its first heartbeat, up to 10 s later. Every successful call of the
 * client's to the server brings that forward; asking the client itself is one, because it has the token checked by the
 * server (each time, as the configuration's token_ttl is tiny).
 */
async function hurryHeartbeat(ask: Ask): Promise<void> {
  await ask('/v1/client/stats').catch(() => undefined);
}

function clientFiles(tls: NomadTls): { ca: string; cert: string; key: string } {
  const read = (file: string): string => readFileSync(file, 'utf8');
  return { ca: read(tls.caFile), cert: read(tls.certFile), key: read(tls.keyFile) };
}
