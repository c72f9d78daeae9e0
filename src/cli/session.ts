import { resolve } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { UsageError } from '../contract/errors.ts';
import type { ManifestError } from '../contract/resource.ts';
import type { Desire } from '../contract/source.ts';
import type { Io, SecretHandover } from '../contract/target.ts';
import { localSecrets } from '../credentials/local-secrets.ts';
import type { Ledger } from '../engine/ledger.ts';
import { Tracker } from '../engine/tracker.ts';
import { LiveView } from '../engine/view.ts';
import { byId, type World } from '../engine/world.ts';
import { kinds } from '../kinds/index.ts';
import { fileSink } from '../sinks/file.ts';
import { NO_KUBERNETES } from '../sinks/no-kubernetes.ts';
import { ENVIRONMENT } from '../sources/directory/environment.ts';
import { loadDirectory } from '../sources/directory/index.ts';
import type { MayBootstrap } from './bootstrapping.ts';
import { environmentConnections, isWorldly } from './connections.ts';
import { openLedger, openState } from './inventory.ts';
import { OpenConnections } from './open-connections.ts';
import {
  DEFAULT_OWNER,
  pathNameIn,
  placesOf,
  placeText,
  under,
  type ManifestOptions,
  type Places,
  type Reading,
  type StatePlace,
} from './options.ts';

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
  /** Asked before a Nomad is bootstrapped whose NomadCluster says so; without it, none is. */
  readonly mayBootstrap?: MayBootstrap | undefined;
}

/** How long a command that ends soon leaves results unsaved; milliseconds. */
const SAVE_DELAY_MS = 2_000;

const cwd = (): string => process.cwd();

/** Reads manifests without an inventory or a server. Files are called as seen from the working directory. */
export async function loadManifests({ file, owner = DEFAULT_OWNER }: Reading, signal: AbortSignal): Promise<Desire> {
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

/** The same, where nothing is wrong in them. @throws UsageError, InvalidManifests, the signal's reason */
export async function validManifests(...asked: Parameters<typeof loadManifests>): Promise<Desire> {
  const desire = await loadManifests(...asked);
  if (desire.errors.length > 0) throw new InvalidManifests(desire.errors);
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
  return `No manifests were found in ${paths.join(', ')}. In a folder files that end in .yaml, .yml or .json count, hidden ones do not.`;
}

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
  const desire =
    options.desire === 'declared' && places.paths.length > 0 ? await validManifests(options, signal) : undefined;
  const allowed = options.allowAddress ?? [];
  const access = { env: process.env, allowed, connections: [], mayBootstrap: options.mayBootstrap };
  const state = await openState(places, desire?.resources ?? [], access);
  const closing: (() => Promise<unknown>)[] = [() => state.close()];
  const close = async (): Promise<void> => {
    for (const end of closing.reverse()) await end();
  };
  try {
    if (options.write) {
      const lock = await state.backend.lock();
      closing.push(() => lock.release());
    }
    const { ledger, isFound, base } = await openLedger(state.backend, options.owner, places);
    // All is saved at the end anyway, and every save takes time from the writes.
    ledger.saveDelayMs = SAVE_DELAY_MS;
    const declared = desire && inBase(desire, base);
    const resources = declared?.resources ?? [];
    const inScope = scopeOf(places, base, declared);
    const accepted = options.acceptAddressChange ?? [];
    const opened = new OpenConnections({ ...access, accepted, base, ledger, isStrict: true });
    closing.push(() => opened.close());
    const connections = await opened.update(resources, inScope);
    const world = worldOf({ owner: options.owner, base, ledger, io: opened.io, state: places.state });
    world.resources = byId(resources.filter((r) => isWorldly(r, ledger)));
    world.connections = connections;
    world.inScope = inScope;
    return { world, notes: notesOf(places, desire, isFound, options.needsInventory ?? false), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Nothing is declared in it and nothing connected yet. @param base folder of the inventory's paths; absolute. */
export function worldOf(options: {
  readonly owner: string;
  readonly base: string;
  readonly ledger: Ledger;
  /** Where the inventory is. */
  readonly state?: StatePlace;
  readonly io: Pick<Io, 'nomad' | 'variables' | 'vault'> & Partial<Pick<Io, 'kubernetesSecrets' | 'secretSources'>>;
}): World {
  const { owner, base, ledger, io, state } = options;
  return {
    kinds,
    resources: new Map(),
    deleting: new Map(),
    connections: [],
    view: new LiveView(),
    tracker: new Tracker(),
    ledger,
    io: {
      kubernetesSecrets: NO_KUBERNETES,
      secretSources: localSecrets(process.env),
      ...io,
      files: fileSink(base),
      secrets: secretHandover(),
    },
    owner,
    now: Date.now,
    pathName: pathNameIn(base),
    ...(state?.in === 'nomad' && { inventoryAt: state }),
    inScope: () => false,
  };
}

function notesOf(places: Places, desire: Desire | undefined, isFound: boolean, isNeeded: boolean): string[] {
  const empty = desire && emptinessOf(desire, places.paths);
  return [
    ...(empty === undefined ? [] : [empty]),
    ...(isFound || !isNeeded ? [] : [`There is no inventory at ${placeText(places.state)}: nothing is recorded yet.`]),
  ];
}

/** What may be pruned: what was recorded under the roots that were read; all of it where none was given. */
export function scopeOf(places: Places, base: string, desire: Desire | undefined): (source: string) => boolean {
  if (places.paths.length === 0) return () => true;
  const name = pathNameIn(base);
  const roots = under(desire?.roots ?? places.paths.map((path) => (path === '-' ? '-' : name(resolve(cwd(), path)))));
  const unknown = under(desire?.unknown ?? []);
  return (source) => roots(source) && !unknown(source);
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
