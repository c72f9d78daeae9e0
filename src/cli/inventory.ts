import { hostname } from 'node:os';
import { UsageError } from '../contract/errors.ts';
import { typesOf } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import type { Inventory, StateBackend } from '../contract/state.ts';
import { Ledger } from '../engine/ledger.ts';
import { kinds } from '../kinds/index.ts';
import { keyText } from '../plan/step.ts';
import { fileState } from '../state/file.ts';
import { nomadState } from '../state/nomad.ts';
import { NomadVariables } from '../targets/nomad/variables.ts';
import { declaredConnections, environmentConnections, vaultBehind, type DeclaredConnection } from './connections.ts';
import { openNomad, openVault, type Access } from './opening.ts';
import { placeText, type Places } from './options.ts';

/** Where the inventory lives, opened. */
export interface OpenState {
  readonly backend: StateBackend;
  close(): Promise<void>;
}

/** The NomadCluster that an inventory in Nomad is kept through. */
const CLUSTER = 'default';

/**
 * @param resources what is declared: an inventory in Nomad is reached through the NomadCluster named `default`, or the
 * environment's.
 * @throws UsageError
 */
export async function openState(
  { state, base }: Places,
  resources: readonly Resource[],
  access: Access,
): Promise<OpenState> {
  if (state.in === 'file') return { backend: fileState(state.path), close: () => Promise.resolve() };
  const { cluster, connections } = clusterIn(resources, base, access);
  const vault = connections.find((c) => c.kind === 'VaultServer' && c.name === vaultBehind(cluster));
  const behind = vault && (await openVault(vault, access));
  const { leases } = behind ?? {};
  const open = await openNomad(cluster, { ...access, connections, ...(leases && { leases: () => leases }) });
  const { client, credential } = open;
  const close = async (): Promise<void> => {
    await open.close();
    await behind?.close();
  };
  // What passes is waited for by whoever asks.
  if (credential.trouble?.reason === 'Denied') {
    const { error } = credential.trouble;
    await close();
    throw new UsageError(`NomadCluster ${cluster.name}: ${error}`);
  }
  const holder = `process ${String(process.pid)} on ${hostname()}`;
  const { path, namespace } = state;
  return {
    backend: nomadState({ api: new NomadVariables(client), path, namespace, holder }),
    close,
  };
}

function clusterIn(
  resources: readonly Resource[],
  base: string,
  { env }: Access,
): { cluster: DeclaredConnection; connections: DeclaredConnection[] } {
  const recorded = environmentConnections(env).map(({ kind, spec }) => {
    const { address } = spec as { address: string };
    const whole = { maxConnections: 8, resyncInterval: '5m', sweepInterval: '15s', ...(spec as object) };
    return { kind, name: CLUSTER, address, spec: whole, isFromEnvironment: true };
  });
  const connections = declaredConnections({ resources, recorded, accepted: [CLUSTER], base, env, isKubernetes: false });
  const found = connections.find((c) => c.kind === 'NomadCluster' && c.name === CLUSTER);
  if (found === undefined) throw new UsageError(`an inventory in Nomad needs a NomadCluster named ${CLUSTER}`);
  return { cluster: found, connections };
}

/** What the inventory holds. @throws UsageError where it is not for us. */
export async function openLedger(
  backend: StateBackend,
  owner: string,
  { state, base, isBaseApart, paths }: Places,
): Promise<{ ledger: Ledger; isFound: boolean; base: string }> {
  const inventory = await backend.load();
  const place = placeText(state);
  if (inventory === undefined && paths.length === 0)
    throw new UsageError(`there is no inventory at ${place}: is the path right?`);
  const ledger = ledgerOf(inventory, backend, owner, place);
  // Without manifests, its paths are where they were when they were last written.
  const folder = paths.length === 0 ? (inventory?.base ?? base) : base;
  ledger.base = isBaseApart ? folder : inventory?.base === folder ? folder : undefined;
  return { ledger, isFound: inventory !== undefined, base: folder };
}

/** @throws UsageError where the inventory is not for us. */
export function ledgerOf(
  inventory: Inventory | undefined,
  backend: StateBackend,
  owner: string,
  place = backend.location,
): Ledger {
  if (inventory !== undefined && inventory.owner !== owner) {
    throw new UsageError(
      `the inventory ${place} belongs to owner "${inventory.owner}": give --owner ${inventory.owner}, or another --state`,
    );
  }
  const types = typesOf(kinds);
  const ledger = new Ledger(backend, owner, inventory, (type) => types.get(type)?.connection);
  refuseUnknownTypes(ledger, place);
  return ledger;
}

/** Nothing is done with half of an inventory. */
function refuseUnknownTypes(ledger: Ledger, location: string): void {
  const unknown = ledger.all().find(({ key }) => !typesOf(kinds).has(key.type));
  if (unknown === undefined) return;
  throw new UsageError(
    `the inventory ${location} holds ${keyText(unknown.key)}, of a type that this version does not know: upgrade nomad-access`,
  );
}
