import { randomUUID } from 'node:crypto';
import { listen, type Reply, type RequestHook } from './http.ts';
import { NomadSandbox } from './nomad/server.ts';
import { seed } from './seed.ts';
import { reachByHttp, type NomadReach } from './vault/nomad-engine.ts';
import { VaultSandbox } from './vault/server.ts';

export { PortUnavailable, type HookAnswer, type RequestEvent, type RequestHook } from './http.ts';
export { NomadSandbox } from './nomad/server.ts';
export { VaultSandbox } from './vault/server.ts';

export interface SandboxOptions {
  /** 127.0.0.1 where omitted. */
  readonly host?: string;
  /** 0 for a free one. */
  readonly nomadPort?: number;
  readonly vaultPort?: number;
  /** SecretID of the bootstrap token; random where omitted. */
  readonly nomadToken?: string;
  readonly vaultToken?: string;
  /** Whether it begins with things that somebody else made. */
  readonly seed?: boolean;
  /** Whether Vault has namespaces, as Vault Enterprise does. */
  readonly enterprise?: boolean;
  readonly onRequest?: RequestHook;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
}

export interface Sandbox {
  readonly nomad: {
    readonly address: string;
    readonly token: string;
    readonly accessorId: string;
    readonly server: NomadSandbox;
  };
  readonly vault: { readonly address: string; readonly token: string; readonly server: VaultSandbox };
  /** Sees every request at both of its boundaries; can be changed at any time. */
  onRequest: RequestHook | undefined;
  close(): Promise<void>;
}

/** Nomad's limits.http_max_conns_per_client, and its answer to the next one. */
const MAX_CONNECTIONS = 100;
const TOO_MANY: Reply = {
  status: 429,
  body: 'Your IP is issuing too many concurrent connections, please rate limit your calls\n',
};

/** Serves Nomad's ACL API and Vault's API in this process. @throws PortUnavailable, and then serves neither. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const {
    host = '127.0.0.1',
    nomadToken = randomUUID(),
    vaultToken = `hvs.${randomUUID()}`,
    clock = Date.now,
  } = options;
  const nomad = new NomadSandbox(clock);
  let nomadAddress = '';
  // What Vault asks of the Nomad beside it is no request that anybody could see or disturb on its way.
  const reach: NomadReach = async (asked) => {
    if (asked.address !== nomadAddress) return reachByHttp(asked);
    const headers = { 'x-nomad-token': asked.token };
    const { status, body } = await nomad.handle({ ...asked, query: new URLSearchParams(), headers, body: asked.body });
    return { status, body };
  };
  const vault = new VaultSandbox(vaultToken, reach, clock);
  vault.isEnterprise = options.enterprise ?? false;
  await nomad.keyring.rotate();
  const { AccessorID } = nomad.acl.bootstrap(nomadToken);
  if (options.seed === true) await seed(nomad, vault, vaultToken);

  let requests = 0;
  const hooks: { onRequest: RequestHook | undefined } = { onRequest: options.onRequest };
  const common = { host, count: () => ++requests, hook: () => hooks.onRequest };
  const nomadServer = await listen({
    ...common,
    target: 'nomad',
    port: options.nomadPort ?? 0,
    handle: (r) => nomad.handle(r),
    maxConnections: MAX_CONNECTIONS,
    tooMany: TOO_MANY,
  });
  nomadAddress = nomadServer.address;
  const vaultServer = await listen({
    ...common,
    target: 'vault',
    port: options.vaultPort ?? 0,
    handle: (r) => vault.handle(r),
  }).catch(async (error: unknown) => {
    await nomadServer.close();
    throw error;
  });
  return Object.assign(hooks, {
    nomad: { address: nomadServer.address, token: nomadToken, accessorId: AccessorID, server: nomad },
    vault: { address: vaultServer.address, token: vaultToken, server: vault },
    close: async () => {
      await Promise.all([nomadServer.close(), vaultServer.close()]);
    },
  });
}
