import { addAbortSignal } from 'node:stream';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { ManifestError, Resource } from '../contract/resource.ts';
import type { Desire } from '../contract/source.ts';
import type { Io, NomadApi, SecretHandover, VaultApi } from '../contract/target.ts';
import { Ledger } from '../engine/ledger.ts';
import { Tracker } from '../engine/tracker.ts';
import { LiveView } from '../engine/view.ts';
import { byId, type World } from '../engine/world.ts';
import { kinds } from '../kinds/index.ts';
import { fileSink } from '../sinks/file.ts';
import { loadDirectory } from '../sources/directory/index.ts';
import { keyText } from '../plan/step.ts';
import { fileState } from '../state/file.ts';
import { resolve } from 'node:path';
import {
  declaredConnections,
  environmentConnections,
  isConnection,
  openNomad,
  openVault,
  type DeclaredConnection,
} from './connections.ts';
import { pathNameIn, placesOf, under, type ManifestOptions, type Places } from './options.ts';

/** What is wrong in the manifests: nothing was asked of any server. */
export class InvalidManifests extends Error {
  override readonly name = 'InvalidManifests';
  constructor(readonly errors: readonly ManifestError[]) {
    super(`${String(errors.length)} errors in the manifests`);
  }
}

/** Everything that a command on manifests works with: the one place where source, engine and targets meet. */
export interface Session {
  readonly world: World;
  /** What a person should know beside the plan, a sentence each. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

export interface SessionOptions extends ManifestOptions {
  /** Whether the inventory will be written: then nobody else may. */
  readonly write: boolean;
  /** `declared`: what the manifests say; `nothing`: as if there were no manifests under the paths. */
  readonly desire: 'declared' | 'nothing';
  /** Whether it is worth a note that there is no inventory. */
  readonly needsInventory?: boolean;
}

const cwd = (): string => process.cwd();

/** Reads manifests without an inventory or a server. Files are called as seen from the working directory. */
export async function loadManifests(
  { file, owner }: Pick<ManifestOptions, 'file' | 'owner'>,
  signal: AbortSignal,
): Promise<Desire> {
  if (file === undefined || file.length === 0) throw new UsageError('which manifests? Give -f FILE, -f FOLDER or -f -');
  const desire = await loadDirectory({
    kinds,
    paths: file,
    base: cwd(),
    cwd: cwd(),
    owner,
    stdin: () => readStdin(signal),
    environment: environmentConnections(process.env),
  });
  signal.throwIfAborted();
  return desire;
}

async function readStdin(signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** Why there is nothing in what was read, if there is nothing. */
export function emptinessOf(desire: Desire, paths: readonly string[]): string | undefined {
  if (desire.errors.length > 0 || desire.resources.some((r) => r.source !== ENVIRONMENT)) return undefined;
  return `No manifests were found in ${paths.join(', ')}: files that end in .yaml, .yml or .json count, hidden ones do not.`;
}

/** What the directory source calls the connections that no file declares. */
const ENVIRONMENT = 'environment';

/** The inventory calls files relative to its folder, wherever it was started from. */
function inBase(desire: Desire, base: string): Desire {
  const name = pathNameIn(base);
  const renamed = (file: string): string => (file === '-' || file === ENVIRONMENT ? file : name(resolve(cwd(), file)));
  return {
    ...desire,
    resources: desire.resources.map((r) => ({ ...r, source: renamed(r.source) })),
    roots: desire.roots.map(renamed),
    unknown: desire.unknown.map(renamed),
  };
}

/** @throws UsageError, InvalidManifests, the signal's reason: all of them before anything is asked of a server. */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<Session> {
  const places = await placesOf(options, cwd());
  const state = fileState(places.state);
  const lock = options.write ? await state.lock() : undefined;
  try {
    const inventory = await state.load();
    if (inventory === undefined && places.paths.length === 0)
      throw new UsageError(`there is no inventory at ${places.state}: is the path right?`);
    if (inventory !== undefined && inventory.owner !== options.owner) {
      throw new UsageError(
        `the inventory ${places.state} belongs to owner "${inventory.owner}": give --owner ${inventory.owner}, or another --state`,
      );
    }
    const ledger = new Ledger(state, options.owner, inventory, connectionKindOf);
    refuseUnknownTypes(ledger, places.state);
    const desire =
      options.desire === 'declared' && places.paths.length > 0
        ? inBase(await loadManifests(options, signal), places.base)
        : undefined;
    if (desire !== undefined && desire.errors.length > 0) throw new InvalidManifests(desire.errors);
    const resources = desire?.resources ?? [];
    const inScope = scopeOf(places, desire);
    const connections = declaredConnections(resources, ledger.connections(), options.acceptAddressChange ?? []);
    const used = usedConnections(resources, ledger, inScope, connections);
    const opened = await open(used, options.allowAddress ?? []);
    // A refused one stays recorded as it was, or the next run would take its new address for the old one.
    for (const c of used.filter((c) => c.refused === undefined))
      ledger.connect({ kind: c.kind, name: c.name, address: c.address, spec: c.spec });
    const world: World = {
      kinds,
      resources: byId(resources.filter((r) => !isConnection(r))),
      connections,
      view: new LiveView(),
      tracker: new Tracker(),
      ledger,
      io: { ...opened.io, files: fileSink(places.base), secrets: secretHandover() },
      owner: options.owner,
      now: Date.now,
      pathName: pathNameIn(places.base),
      inScope,
    };
    return {
      world,
      notes: notesOf(places, desire, inventory !== undefined, options.needsInventory ?? false),
      close: async () => {
        await Promise.all([opened.close(), lock?.release()]);
      },
    };
  } catch (error) {
    await lock?.release();
    throw error;
  }
}

function connectionKindOf(type: string): 'NomadCluster' | 'VaultServer' | 'local' | undefined {
  return kinds.flatMap((k) => k.types).find((t) => t.name === type)?.connection;
}

function notesOf(places: Places, desire: Desire | undefined, isFound: boolean, isNeeded: boolean): string[] {
  const empty = desire && emptinessOf(desire, places.paths);
  return [
    ...(empty === undefined ? [] : [empty]),
    ...(isFound || !isNeeded ? [] : [`There is no inventory at ${places.state}: nothing is recorded yet.`]),
  ];
}

/** Nothing is done with half of an inventory. */
function refuseUnknownTypes(ledger: Ledger, location: string): void {
  const known = new Set(kinds.flatMap((k) => k.types).map((t) => t.name));
  const unknown = ledger.all().find(({ key }) => !known.has(key.type));
  if (unknown === undefined) return;
  throw new UsageError(
    `the inventory ${location} holds ${keyText(unknown.key)}, of a type that this version does not know: upgrade nomad-access`,
  );
}

/** What may be pruned: what was recorded under the roots that were read; all of it where none was given. */
function scopeOf(places: Places, desire: Desire | undefined): (source: string) => boolean {
  if (places.paths.length === 0) return () => true;
  const name = pathNameIn(places.base);
  return under(desire?.roots ?? places.paths.map((path) => (path === '-' ? '-' : name(resolve(cwd(), path)))));
}

function usedConnections(
  resources: readonly Resource[],
  ledger: Ledger,
  inScope: (source: string) => boolean,
  connections: readonly DeclaredConnection[],
): DeclaredConnection[] {
  const used = new Set<string>();
  for (const resource of resources) {
    const kind = kinds.find((k) => k.kind === resource.kind);
    for (const { kind: of, name } of kind?.references(resource.spec) ?? []) used.add(`${of}/${name}`);
  }
  const types = new Map(kinds.flatMap((k) => k.types).map((t) => [t.name, t.connection]));
  for (const { key, source } of ledger.all()) {
    if (inScope(source)) used.add(`${types.get(key.type) ?? ''}/${key.connection}`);
  }
  return connections.filter((c) => used.has(`${c.kind}/${c.name}`));
}

/** Opens no connection yet, but settles every credential: what is missing is said before anything is done. */
async function open(
  connections: readonly DeclaredConnection[],
  allowed: readonly string[],
): Promise<{ io: Pick<Io, 'nomad' | 'vault'>; close: () => Promise<void> }> {
  const nomads = new Map<string, NomadApi & { close(): Promise<void> }>();
  const vaults = new Map<string, VaultApi & { close(): Promise<void> }>();
  const access = { env: process.env, allowed, connections };
  for (const connection of connections) {
    if (connection.refused !== undefined) continue;
    if (connection.kind === 'NomadCluster') nomads.set(connection.name, await openNomad(connection, access));
    else vaults.set(connection.name, await openVault(connection, access));
  }
  return {
    io: { nomad: (name) => opened(nomads, 'NomadCluster', name), vault: (name) => opened(vaults, 'VaultServer', name) },
    close: async () => {
      await Promise.all([...nomads.values(), ...vaults.values()].map((c) => c.close()));
    },
  };
}

function opened<T>(clients: ReadonlyMap<string, T>, kind: string, name: string): T {
  const client = clients.get(name);
  if (client === undefined) throw new TargetError(`there is no ${kind} named ${name}`, { class: 'dependency' });
  return client;
}

function secretHandover(): SecretHandover {
  const secrets = new Map<string, string>();
  return {
    put: (accessorId, secretId) => void secrets.set(accessorId, secretId),
    take: (accessorId) => {
      const secret = secrets.get(accessorId);
      secrets.delete(accessorId);
      return secret;
    },
  };
}
