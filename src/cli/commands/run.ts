import { relative, resolve } from 'node:path';
import { systemClock } from '../../contract/clock.ts';
import { messageOf, TargetError, UsageError } from '../../contract/errors.ts';
import type { Observer } from '../../contract/observer.ts';
import { isWhole, type Desire } from '../../contract/source.ts';
import type { StateBackend, StateLock } from '../../contract/state.ts';
import { Operator } from '../../engine/operator.ts';
import { kinds } from '../../kinds/index.ts';
import { watchDirectory } from '../../sources/directory/watch.ts';
import { createTelemetry, serveOperations, type LogFormat, type LogLevel } from '../../telemetry/index.ts';
import { environmentConnections, isConnection } from '../connections.ts';
import { openLedger, openState } from '../inventory.ts';
import { OpenConnections } from '../open-connections.ts';
import { placesOf, placeText, type ManifestOptions, type Places } from '../options.ts';
import { loadManifests, scopeOf, worldOf } from '../session.ts';
import { VERSION } from '../version.ts';

export interface RunOptions extends ManifestOptions {
  readonly source: 'directory';
  readonly listen: string;
  readonly allowMassDelete: boolean;
  readonly logFormat: LogFormat;
  readonly logLevel: LogLevel;
}

/** Before the lock is asked for again when that could not be done; milliseconds. */
const AGAIN_MS = 5_000;

interface Running {
  readonly options: RunOptions;
  readonly places: Places;
  readonly observer: Observer;
  readonly stop: AbortSignal;
}

/**
 * The operator: follows the manifests and the live servers, and keeps them equal until it is stopped. Of several with one
 * inventory, one acts and the others wait.
 */
export async function run(options: RunOptions, stop: AbortSignal): Promise<number> {
  const places = await placesOf(options, process.cwd());
  if (places.paths.length === 0) throw new UsageError('which manifests? Give -f FOLDER');
  const telemetry = createTelemetry({
    version: VERSION,
    ...(places.state.in === 'nomad' && { election: placeText(places.state) }),
    log: { format: options.logFormat, level: options.logLevel },
  });
  const server = await serveOperations({ listen: options.listen, telemetry });
  telemetry.log.info(`nomad-access ${VERSION} runs; ${server.url}/metrics`);
  try {
    await lead({ options, places, observer: telemetry.observer, stop });
    telemetry.log.info('stopped: what was begun is done and saved');
    return 0;
  } catch (error) {
    if (stop.aborted && error === stop.reason) return 0;
    if (error instanceof UsageError) telemetry.log.error(error.message);
    throw error;
  } finally {
    await server.close();
  }
}

/** Acts while it holds the lock of the inventory, and waits for it otherwise. */
async function lead(running: Running): Promise<void> {
  const { options, places, observer, stop } = running;
  const { resources } = await loadManifests(options, stop);
  const access = { env: process.env, allowed: options.allowAddress ?? [], connections: [] };
  const state = await openState(places, resources, access);
  const isOver = (): boolean => stop.aborted;
  try {
    while (!isOver()) {
      const lock = await lockOf(state.backend, running);
      if (lock === undefined) continue;
      observer.leading(true);
      const isCutShort = await term(running, state.backend, lock).finally(() => lock.release());
      if (isOver()) return;
      observer.leading(false);
      if (isCutShort) await systemClock.sleep(AGAIN_MS, stop).catch(() => undefined);
    }
  } finally {
    await state.close();
  }
}

/** @returns whether it ended because the inventory could not be reached: another one may do better. */
async function term(running: Running, backend: StateBackend, lock: StateLock): Promise<boolean> {
  try {
    await act(running, backend, lock);
    return false;
  } catch (error) {
    if (running.stop.aborted || !(error instanceof TargetError)) throw error;
    running.observer.warned(`the inventory can't be had: ${error.message}`);
    return true;
  }
}

/** @returns undefined where it could not be had now. */
async function lockOf(backend: StateBackend, { observer, stop }: Running): Promise<StateLock | undefined> {
  try {
    return await backend.lock().catch((error: unknown) => {
      if (!(error instanceof UsageError)) throw error;
      observer.leading(false);
      return backend.lock(stop);
    });
  } catch (error) {
    if (stop.aborted) return undefined;
    if (!(error instanceof TargetError)) throw error;
    observer.warned(`the lock of the inventory can't be had: ${error.message}`);
    await systemClock.sleep(AGAIN_MS, stop).catch(() => undefined);
    return undefined;
  }
}

/** One term: from having the lock to losing it, or to the end. */
async function act(
  { options, places, observer, stop }: Running,
  backend: StateBackend,
  lock: StateLock,
): Promise<void> {
  const { ledger, base } = await openLedger(whileHeld(backend, lock), options.owner, places);
  const opened = new OpenConnections({
    env: process.env,
    allowed: options.allowAddress ?? [],
    accepted: options.acceptAddressChange ?? [],
    base,
    ledger,
    isStrict: false,
    gate: () => {
      requireHeld(lock);
    },
    onReply: ({ kind, name }, method, status, seconds) => {
      observer.requested(kind === 'NomadCluster' ? 'nomad' : 'vault', name, method, status, seconds);
    },
  });
  const operator = new Operator({
    world: worldOf({ owner: options.owner, base, ledger, io: opened.io }),
    clock: systemClock,
    observer,
    random: Math.random,
    allowMassDelete: options.allowMassDelete,
    scopeOf: (desire) => scopeOf(places, base, desire),
    connect: async (desire) => {
      if (!isWhole(desire)) throw new Error('a folder is declared as a whole');
      const connections = await opened.update(desire.resources, scopeOf(places, base, desire));
      return {
        connections: connections.filter((c) => opened.isInUse(c)),
        declaration: { ...desire, resources: desire.resources.filter((r) => !isConnection(r)) },
      };
    },
  });
  const ended = new AbortController();
  const until = AbortSignal.any([stop, lock.lost, ended.signal]);
  try {
    await operator.run(desires(options, base, observer, until), until);
  } catch (error) {
    // Whoever took over may have written already: then the next term reads it.
    if (!lock.lost.aborted) throw error;
    observer.warned(messageOf(error));
  } finally {
    // Whoever follows the manifests would keep the process alive.
    ended.abort();
    await ledger.close();
    await opened.close();
  }
}

/** Whoever holds the lock now has read the inventory, and would find it changed. */
function whileHeld(backend: StateBackend, lock: StateLock): StateBackend {
  return {
    ...backend,
    save: async (...args) => {
      requireHeld(lock);
      await backend.save(...args);
    },
  };
}

/** @throws TargetError */
function requireHeld(lock: StateLock): void {
  if (lock.isValid()) return;
  throw new TargetError('the lock of the inventory is not held any more', { class: 'transient' });
}

/** The declaration, each time it changes; its errors call files as seen from the working directory. */
async function* desires(
  { file = [], owner }: RunOptions,
  base: string,
  observer: Observer,
  signal: AbortSignal,
): AsyncGenerator<Desire> {
  const cwd = process.cwd();
  const followed = watchDirectory(
    { kinds, paths: file, base, cwd, owner, environment: environmentConnections(process.env) },
    {
      signal,
      onWarning: (message) => {
        observer.warned(message);
      },
    },
  );
  for await (const desire of followed) {
    const errors = desire.errors.map((e) => ({ ...e, file: relative(cwd, resolve(base, e.file)) }));
    yield { ...desire, errors };
  }
}
