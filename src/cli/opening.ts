import { resolve } from 'node:path';
import { systemClock, type Clock } from '../contract/clock.ts';
import type { Credential, NomadLeases, NomadTokens } from '../contract/credential.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import { noCredential } from '../credentials/credential-text.ts';
import { Http, type HttpOptions } from '../http/http.ts';
import { connectOptions, type TlsOptions } from '../http/tls.ts';
import type { NomadClusterSpec } from '../kinds/nomad-cluster/index.ts';
import type { VaultServerSpec } from '../kinds/vault-server/index.ts';
import { nomadEnvironment, sameAddress, vaultEnvironment, type Environment } from '../targets/environment.ts';
import { NomadClient, type NomadClientOptions } from '../targets/nomad/client.ts';
import { nomadTokens } from '../targets/nomad/tokens.ts';
import { VaultClient } from '../targets/vault/client.ts';
import { nomadLeases } from '../targets/vault/leases.ts';
import { vaultTokens } from '../targets/vault/tokens.ts';
import type { MayBootstrap } from './bootstrapping.ts';
import type { DeclaredConnection } from './connections.ts';
import { isOurs, nomadCredential, vaultCredential, type CredentialAccess } from './credentials.ts';

/** What connections are opened with, and what decides where credentials may go. */
export interface Access {
  readonly env: Environment;
  /** As given to --allow-address. */
  readonly allowed: readonly string[];
  /** All that are opened together. */
  readonly connections: readonly DeclaredConnection[];
  /** Leases of the VaultServer of that name, as it is open now. @throws TargetError where it is not. */
  readonly leases?: (vault: string) => NomadLeases;
  /** Given where connections are declared in Kubernetes, by administrators, and Secrets hold credentials. */
  readonly kubernetes?: KubernetesApi | undefined;
  /** Asked in the tick of every send. @see HttpOptions.gate */
  readonly gate?: (() => void) | undefined;
  /** Told of every request. */
  readonly onReply?: (connection: DeclaredConnection, method: string, status: number, seconds: number) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Between 0 and 1. Default: Math.random */
  readonly random?: () => number;
  /** @see CredentialAccess.isLasting; default: no */
  readonly isLasting?: boolean;
  /** Whether a connection without a credential is opened, too, and says so in the credential's `trouble`; default: no */
  readonly toleratesNoCredential?: boolean;
  /** @see CredentialAccess.mayBootstrap; default: nothing is bootstrapped */
  readonly mayBootstrap?: MayBootstrap | undefined;
}

/** A connection that is open. */
export interface Open<Client> {
  readonly client: Client;
  readonly credential: Credential;
  /** Of a VaultServer: tokens of its secrets engine for Nomad. */
  readonly leases?: NomadLeases;
  /** Ends the credential, too. */
  close(): Promise<void>;
}

/**
 * @param onChange told when there is another token, or trouble with it is not what it was.
 * @throws UsageError where the credential can't be had as long as we run, or must not go to that address.
 */
export async function openNomad(
  connection: DeclaredConnection,
  access: Access,
  onChange: () => void = () => undefined,
): Promise<Open<NomadClient>> {
  const options = nomadOptions(connection, access);
  const made: { client?: NomadClient } = {};
  const changed = (): void => {
    made.client?.tokenChanged();
    onChange();
  };
  const ways = { tokens: () => nomadTokens(options), leases: access.leases ?? noLeases };
  const opening = nomadCredential(connection, credentialAccess(access, changed), ways);
  const credential = await tolerated(opening, access);
  const client = new NomadClient({ ...options, token: credential });
  made.client = client;
  return { client, credential, close: () => client.close() };
}

/** What Nomad does before there is any token. The caller closes it. @throws UsageError where a credential must not go there. */
export function openNomadTokens(connection: DeclaredConnection, access: Access): NomadTokens {
  return nomadTokens(nomadOptions(connection, access));
}

/** @throws UsageError where the credential must not go to that address. */
function nomadOptions(
  connection: DeclaredConnection,
  access: Access,
): HttpOptions & Pick<NomadClientOptions, 'region' | 'httpAuth'> {
  const { address } = nomadEnvironment(access.env);
  guardAddress(connection, address, 'NOMAD_ADDR', access);
  // A proxy's password is a credential of ours, wherever the token comes from.
  const httpAuth = isAllowed(connection, address, access) ? access.env['NOMAD_HTTP_AUTH'] : undefined;
  const { region } = connection.spec as NomadClusterSpec;
  return { ...httpOf(connection, access), region, httpAuth: httpAuth === '' ? undefined : httpAuth };
}

/** As `openNomad`. */
export async function openVault(
  connection: DeclaredConnection,
  access: Access,
  onChange: () => void = () => undefined,
): Promise<Open<VaultClient>> {
  const { namespace } = connection.spec as VaultServerSpec;
  guardAddress(connection, vaultEnvironment(access.env).address, 'VAULT_ADDR', access);
  const options = { ...httpOf(connection, access), namespace };
  const opening = vaultCredential(connection, credentialAccess(access, onChange), () => vaultTokens(options));
  const credential = await tolerated(opening, access);
  const leases = nomadLeases(options, credential);
  const client = new VaultClient({ ...options, token: credential });
  const close = async (): Promise<void> => {
    await client.close();
    await leases.close();
  };
  return { client, credential, leases, close };
}

/** @throws UsageError */
async function tolerated(opening: Promise<Credential>, { toleratesNoCredential = false }: Access): Promise<Credential> {
  try {
    return await opening;
  } catch (error) {
    if (!toleratesNoCredential || !(error instanceof UsageError)) throw error;
    return noCredential(error.message);
  }
}

function noLeases(vault: string): never {
  throw new TargetError(`there is no VaultServer named ${vault}, which spec.auth.vault names`, { class: 'dependency' });
}

/** Asks without any token, once. The address must be one that `openNomad` or `openVault` has let pass. */
export function openUnauthenticated(connection: DeclaredConnection, access: Access): Http {
  const retry = { retries: 0, minTimeout: 0, maxTimeout: 0 };
  return new Http({ ...httpOf(connection, access), maxConnections: 1, timeoutMs: 10_000, retry });
}

function credentialAccess(access: Access, onChange: () => void): CredentialAccess {
  const { env, kubernetes, clock = systemClock, random = Math.random, isLasting = false, mayBootstrap } = access;
  return { env, kubernetes, clock, random, isLasting, mayBootstrap, onChange };
}

/** @throws UsageError where a certificate can't be read: before a credential is opened, which somebody would have to close. */
function httpOf(connection: DeclaredConnection, { gate, onReply }: Access): HttpOptions {
  const tls = tlsIn(connection.spec.tls, connection.folder);
  connectOptions(tls);
  return {
    address: connection.address,
    tls,
    maxConnections: connection.maxConnections,
    ...(gate && { gate }),
    ...(onReply && {
      onReply: (method: string, status: number, seconds: number) => {
        onReply(connection, method, status, seconds);
      },
    }),
  };
}

function isAllowed(connection: DeclaredConnection, fromEnvironment: string, { allowed }: Access): boolean {
  return [fromEnvironment, ...allowed].some((address) => sameAddress(address, connection.address));
}

/** Who writes manifests need not hold the credentials: they go only where whoever holds them said. */
function guardAddress(connection: DeclaredConnection, fromEnvironment: string, variable: string, access: Access): void {
  if (
    !isOurs(connection, access.kubernetes !== undefined, access.connections) ||
    isAllowed(connection, fromEnvironment, access)
  )
    return;
  const source = connection.isRecorded
    ? 'the inventory'
    : access.kubernetes
      ? `the ${connection.kind}`
      : 'the manifest';
  const isVariableTaken = access.connections.some(
    (c) => c !== connection && c.kind === connection.kind && sameAddress(c.address, fromEnvironment),
  );
  const ways = [...(isVariableTaken ? [] : [`set ${variable} to it`]), `add --allow-address ${connection.address}`];
  throw new UsageError(
    `${connection.kind} ${connection.name}: no credential is sent to ${connection.address}, because only ${source} names that address. ` +
      `If it is right, ${ways.join(' or ')}`,
  );
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
