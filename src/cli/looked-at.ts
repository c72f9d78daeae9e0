import { homedir } from 'node:os';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { NomadLeases, NomadTokens } from '../contract/credential.ts';
import { UsageError } from '../contract/errors.ts';
import type { Resource } from '../contract/resource.ts';
import type { Transport } from '../http/http.ts';
import { kinds } from '../kinds/index.ts';
import { fromEnvironment } from '../sources/directory/environment.ts';
import type { NomadClient } from '../targets/nomad/client.ts';
import type { VaultClient } from '../targets/vault/client.ts';
import {
  connectionsIn,
  environmentConnections,
  isConnection,
  vaultBehind,
  type DeclaredConnection,
} from './connections.ts';
import { openNomad, openNomadTokens, openUnauthenticated, openVault, type Open } from './opening.ts';
import type { ManifestOptions, Reading } from './options.ts';
import { InvalidManifests, validManifests } from './session.ts';

/** Connections that are only looked through: without an inventory, and whether or not a resource uses them. */
export interface Looked {
  readonly connections: readonly DeclaredConnection[];
  /** Those, and all others that are declared. */
  readonly declared: readonly DeclaredConnection[];
  /** What is declared beside connections. */
  readonly resources: readonly Resource[];
  readonly io: { nomad(connection: string): NomadClient; vault(connection: string): VaultClient };
  /** Why there is no credential for a connection, where there is none. */
  trouble(connection: DeclaredConnection): string | undefined;
  /** What a Nomad does before there is any token; the caller closes it. */
  nomadTokens(connection: DeclaredConnection): NomadTokens;
  /** A way to a connection's server without its token; the caller closes it. */
  unauthenticated(connection: DeclaredConnection): Transport;
  /** What is not looked at, and why, a sentence each. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** What is looked at, beside what the manifests say. */
export interface Wanted {
  /** The kinds of connections that are needed. */
  readonly kinds: ReadonlySet<DeclaredConnection['kind']>;
  /** Whether a server is looked at, too, where there is no credential for it: one that a manifest or the environment names. */
  readonly toleratesNoCredential?: boolean;
}

/**
 * The connections that manifests declare, or those of the environment.
 * @throws UsageError, InvalidManifests, TargetError
 */
export async function openToLook(
  options: Reading & Pick<ManifestOptions, 'allowAddress'>,
  { kinds: wanted, toleratesNoCredential = false }: Wanted,
  signal: AbortSignal,
): Promise<Looked> {
  const { env } = process;
  const isDeclared = options.file !== undefined && options.file.length > 0;
  const resources = isDeclared ? (await validManifests(options, signal)).resources : ofEnvironment();
  const all = connectionsIn(resources, env);
  const meant = all.filter(({ kind }) => wanted.has(kind));
  const connections = meant.filter(
    (c) => !c.isFromEnvironment || hasCredential(c.kind) || (toleratesNoCredential && isSet(ADDRESS[c.kind])),
  );
  const notes = meant
    .filter((c) => !connections.includes(c))
    .map(({ kind }) => `${kind} is left out: neither a manifest declares one, nor is ${TOKEN[kind]} set.`);
  if (connections.length === 0) throw new UsageError(`nothing to look at: ${notes.join(' ')}`);
  const behind = new Set(connections.map(vaultBehind));
  const needed = all.filter((c) => c.kind === 'VaultServer' && !connections.includes(c) && behind.has(c.name));
  const opened = new Map<string, Open<NomadClient | VaultClient>>();
  // What needs credentials before what gives them: it may have some to give back.
  const close = async (): Promise<void> => {
    for (const open of [...opened.values()].reverse()) await open.close();
  };
  const together = [...needed, ...connections];
  const leases = (vault: string): NomadLeases => {
    const found = opened.get(`VaultServer/${vault}`)?.leases;
    if (found !== undefined) return found;
    throw new UsageError(`there is no VaultServer named ${vault}, which spec.auth.vault names`);
  };
  const access = { env, allowed: options.allowAddress ?? [], connections: together, leases, toleratesNoCredential };
  const vaultsFirst = [...together].sort(
    (one, other) => Number(other.kind === 'VaultServer') - Number(one.kind === 'VaultServer'),
  );
  try {
    for (const c of vaultsFirst) {
      const open = await (c.kind === 'NomadCluster' ? openNomad(c, access) : openVault(c, access));
      opened.set(`${c.kind}/${c.name}`, open);
      const { trouble } = open.credential;
      if (trouble !== undefined && !toleratesNoCredential)
        throw new UsageError(`${c.kind} ${c.name}: ${trouble.error}`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  const io: Looked['io'] = {
    nomad: (name) => opened.get(`NomadCluster/${name}`)?.client as NomadClient,
    vault: (name) => opened.get(`VaultServer/${name}`)?.client as VaultClient,
  };
  return {
    connections,
    declared: all,
    resources: resources.filter((r) => !isConnection(r)),
    io,
    trouble: ({ kind, name }) => opened.get(`${kind}/${name}`)?.credential.trouble?.error,
    nomadTokens: (connection) => openNomadTokens(connection, access),
    unauthenticated: (connection) => openUnauthenticated(connection, access),
    notes,
    close,
  };
}

/** @throws InvalidManifests that names the variable. */
function ofEnvironment(): Resource[] {
  const made = fromEnvironment(environmentConnections(process.env), kinds, process.cwd());
  const errors = made.flatMap((one) => ('errors' in one ? one.errors : []));
  if (errors.length > 0) throw new InvalidManifests(errors);
  return made.flatMap((one) => ('resource' in one ? [one.resource] : []));
}

const TOKEN = { NomadCluster: 'NOMAD_TOKEN', VaultServer: 'VAULT_TOKEN' } as const;
const ADDRESS = { NomadCluster: 'NOMAD_ADDR', VaultServer: 'VAULT_ADDR' } as const;

function isSet(variable: string): boolean {
  return (process.env[variable] ?? '') !== '';
}

function hasCredential(kind: DeclaredConnection['kind']): boolean {
  if (isSet(TOKEN[kind])) return true;
  return kind === 'VaultServer' && existsSync(join(homedir(), '.vault-token'));
}
