import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { messageOf, UsageError } from '../contract/errors.ts';
import type { Resource } from '../contract/resource.ts';
import type { RecordedConnection } from '../contract/state.ts';
import type { Connection } from '../engine/world.ts';
import type { NomadClusterSpec } from '../kinds/nomad-cluster/index.ts';
import { seconds } from '../kinds/schema.ts';
import type { VaultServerSpec } from '../kinds/vault-server/index.ts';
import { nomadEnvironment, sameAddress, vaultEnvironment, type Environment } from '../targets/environment.ts';
import type { HttpOptions } from '../http/http.ts';
import { NomadClient } from '../targets/nomad/client.ts';
import type { TlsOptions } from '../http/tls.ts';
import { VaultClient } from '../targets/vault/client.ts';

type ConnectionKind = Connection['kind'];
type Spec = NomadClusterSpec | VaultServerSpec;

/** A connection as declared, with what is needed to open it. */
export interface DeclaredConnection extends Connection {
  readonly spec: Spec;
  /** Folder that relative paths of the spec start from; absolute. */
  readonly folder: string;
  readonly isFromEnvironment: boolean;
  /** Only the inventory knows it: nothing declares it any more. */
  readonly isRecorded: boolean;
}

/** What decides where credentials may go. */
export interface Access {
  readonly env: Environment;
  /** As given to --allow-address. */
  readonly allowed: readonly string[];
  /** All that are opened together. */
  readonly connections: readonly DeclaredConnection[];
  /** Asked in the tick of every send. @see HttpOptions.gate */
  readonly gate?: (() => void) | undefined;
  /** Told of every request. */
  readonly onReply?: (connection: DeclaredConnection, method: string, status: number, seconds: number) => void;
}

/** The connections that the environment stands for: declared as `default` where none of the kind is. */
export function environmentConnections(env: Environment): { kind: ConnectionKind; spec: unknown }[] {
  return [
    { kind: 'NomadCluster', spec: { ...nomadEnvironment(env), auth: { tokenEnv: 'NOMAD_TOKEN' } } },
    { kind: 'VaultServer', spec: { ...vaultEnvironment(env), auth: { tokenEnv: 'VAULT_TOKEN' } } },
  ];
}

/** What the directory source calls the connections that no file declares. */
export const ENVIRONMENT = 'environment';

export function isConnection(resource: Resource): boolean {
  return resource.kind === 'NomadCluster' || resource.kind === 'VaultServer';
}

/** What decides which connections there are. */
export interface Declaring {
  readonly resources: readonly Resource[];
  readonly recorded: readonly RecordedConnection[];
  /** Names of connections whose new address was accepted by a person. */
  readonly accepted: readonly string[];
  /** Folder of the inventory's paths; absolute. */
  readonly base: string;
  readonly env: Environment;
}

/** The declared connections, and those that only the inventory knows. */
export function declaredConnections({ resources, recorded, accepted, base, env }: Declaring): DeclaredConnection[] {
  const declared = resources
    .filter(isConnection)
    .map((r) =>
      connectionOf(
        r.kind as ConnectionKind,
        r.metadata.name,
        r.spec as Spec,
        r.folder,
        r.source === ENVIRONMENT,
        false,
      ),
    );
  const known = new Set(declared.map((c) => `${c.kind}/${c.name}`));
  const former = recorded
    .filter((c) => !known.has(`${c.kind}/${c.name}`))
    .map((c) => {
      const spec = { ...(c.spec as Spec), ...(c.isFromEnvironment === true && environmentOf(c.kind, env)) };
      return connectionOf(c.kind, c.name, spec, resolve(base, c.folder ?? '.'), c.isFromEnvironment === true, true);
    });
  return [...declared, ...former].map((c) => refuseMoved(c, recorded, accepted));
}

/** As the inventory remembers it. @param pathName how it writes a path. */
export function recordOf(c: DeclaredConnection, pathName: (absolute: string) => string): RecordedConnection {
  const { kind, name, address, spec } = c;
  return {
    kind,
    name,
    address,
    spec,
    folder: pathName(c.folder),
    ...(c.isFromEnvironment && { isFromEnvironment: true }),
  };
}

/** Where it leads to, and how, may have another spelling today. */
function environmentOf(kind: ConnectionKind, env: Environment): Partial<Spec> {
  return kind === 'NomadCluster' ? nomadEnvironment(env) : vaultEnvironment(env);
}

function connectionOf(
  kind: ConnectionKind,
  name: string,
  spec: Spec,
  folder: string,
  isFromEnvironment: boolean,
  isRecorded: boolean,
): DeclaredConnection {
  const { address, maxConnections, grants } = spec;
  return {
    kind,
    name,
    address: address.replace(/\/$/, ''),
    ...('namespace' in spec && { namespace: spec.namespace }),
    maxConnections,
    rereadMs: 1000 * seconds('resyncInterval' in spec ? spec.resyncInterval : spec.sweepInterval),
    ...('requestBudget' in spec && { requestBudget: spec.requestBudget }),
    ...(grants && { grants }),
    spec,
    folder,
    isFromEnvironment,
    isRecorded,
  };
}

/** What was made at one address must not be looked for, or deleted, at another one. */
function refuseMoved(
  connection: DeclaredConnection,
  recorded: readonly RecordedConnection[],
  accepted: readonly string[],
): DeclaredConnection {
  const before = recorded.find((c) => c.kind === connection.kind && c.name === connection.name);
  if (before === undefined || accepted.includes(connection.name) || sameServer(before, connection)) return connection;
  const error =
    `${connection.kind} ${connection.name} is declared at ${connection.address}, but what the inventory holds was made at ${before.address}. ` +
    `If both are the same servers, add --accept-address-change ${connection.name}; if not, put the old address back, or destroy first`;
  return { ...connection, refused: { error, reason: 'AddressChanged' } };
}

function sameServer(recorded: RecordedConnection, now: DeclaredConnection): boolean {
  const part = (spec: unknown, field: string): unknown => (spec as Record<string, unknown>)[field];
  const field = now.kind === 'VaultServer' ? 'namespace' : 'region';
  return sameAddress(recorded.address, now.address) && part(recorded.spec, field) === part(now.spec, field);
}

/** @throws UsageError where the credential can't be had, or must not go to that address. */
export async function openNomad(connection: DeclaredConnection, access: Access): Promise<NomadClient> {
  const spec = connection.spec as NomadClusterSpec;
  guardAddress(connection, nomadEnvironment(access.env).address, 'NOMAD_ADDR', access);
  const httpAuth = access.env['NOMAD_HTTP_AUTH'];
  return new NomadClient({
    ...(await openingOf(connection, access)),
    region: spec.region,
    httpAuth: httpAuth === '' ? undefined : httpAuth,
  });
}

/** @throws UsageError where the credential can't be had, or must not go to that address. */
export async function openVault(connection: DeclaredConnection, access: Access): Promise<VaultClient> {
  const spec = connection.spec as VaultServerSpec;
  guardAddress(connection, vaultEnvironment(access.env).address, 'VAULT_ADDR', access);
  return new VaultClient({ ...(await openingOf(connection, access)), namespace: spec.namespace });
}

async function openingOf(
  connection: DeclaredConnection,
  { env, gate, onReply }: Access,
): Promise<HttpOptions & { token: string }> {
  return {
    address: connection.address,
    token: await credential(connection, env),
    tls: tlsIn(connection.spec.tls, connection.folder),
    maxConnections: connection.maxConnections,
    ...(gate && { gate }),
    ...(onReply && {
      onReply: (method: string, status: number, seconds: number) => {
        onReply(connection, method, status, seconds);
      },
    }),
  };
}

/** Who writes manifests need not hold the credentials: they go only where whoever holds them said. */
function guardAddress(
  connection: DeclaredConnection,
  fromEnvironment: string,
  variable: string,
  { allowed, connections }: Access,
): void {
  if ([fromEnvironment, ...allowed].some((address) => sameAddress(address, connection.address))) return;
  const source = connection.isRecorded ? 'the inventory' : 'the manifest';
  const isVariableTaken = connections.some(
    (c) => c !== connection && c.kind === connection.kind && sameAddress(c.address, fromEnvironment),
  );
  const ways = [...(isVariableTaken ? [] : [`set ${variable} to it`]), `add --allow-address ${connection.address}`];
  throw new UsageError(
    `${connection.kind} ${connection.name}: no credential is sent to ${connection.address}, because only ${source} names that address. ` +
      `If it is right, ${ways.join(' or ')}`,
  );
}

async function credential(connection: DeclaredConnection, env: Environment): Promise<string> {
  const { auth } = connection.spec;
  const where = `${connection.kind} ${connection.name}`;
  if (auth.tokenEnv !== undefined) {
    const token = env[auth.tokenEnv] ?? '';
    if (token !== '') return token.trim();
    if (connection.kind === 'VaultServer' && auth.tokenEnv === 'VAULT_TOKEN')
      return tokenFrom(join(homedir(), '.vault-token'), where, 'set VAULT_TOKEN');
    throw new UsageError(`${where}: the environment variable ${auth.tokenEnv} is not set: it must hold the token`);
  }
  if (auth.tokenFile !== undefined)
    return tokenFrom(resolve(connection.folder, auth.tokenFile), where, 'spec.auth.tokenFile');
  throw new UsageError(`${where}: spec.auth.tokenSecretRef needs the Kubernetes source; use tokenEnv or tokenFile`);
}

async function tokenFrom(path: string, where: string, hint: string): Promise<string> {
  const content = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UsageError(`${where}: there is no token (${hint}): ${messageOf(error)}`);
  });
  if (content.trim() === '') throw new UsageError(`${where}: ${path} is empty: it must hold the token`);
  return content.trim();
}

function tlsIn(tls: TlsOptions | undefined, folder: string): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  const inFolder = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : resolve(folder, path);
  return {
    ...tls,
    caFile: inFolder(tls.caFile),
    caPath: inFolder(tls.caPath),
    clientCertFile: inFolder(tls.clientCertFile),
    clientKeyFile: inFolder(tls.clientKeyFile),
  };
}
