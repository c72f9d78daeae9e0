import { relative, resolve } from 'node:path';
import { systemClock } from '../contract/clock.ts';
import { messageOf } from '../contract/errors.ts';
import type { Observer } from '../contract/observer.ts';
import { isWhole, type Desire } from '../contract/source.ts';
import type { StateBackend, StateLock } from '../contract/state.ts';
import { Operator } from '../engine/operator.ts';
import { kinds } from '../kinds/index.ts';
import { ENVIRONMENT } from '../sources/directory/environment.ts';
import { watchDirectory } from '../sources/directory/watch.ts';
import { always } from './bootstrapping.ts';
import { environmentConnections, isWorldly, unknownAccepted } from './connections.ts';
import { openLedger, openState } from './inventory.ts';
import { lead, requireHeld } from './leading.ts';
import { OpenConnections } from './open-connections.ts';
import type { ManifestOptions, Places } from './options.ts';
import { loadManifests, scopeOf, worldOf } from './session.ts';

export interface DirectoryRun {
  readonly options: ManifestOptions & { readonly allowMassDelete: boolean };
  readonly places: Places;
  readonly observer: Observer;
  readonly stop: AbortSignal;
}

/** Keeps the servers equal to a folder of manifests until stopped. Of several with one inventory, one acts and the others wait. */
export async function runDirectory(running: DirectoryRun): Promise<void> {
  const { options, places, observer, stop } = running;
  const { resources } = await loadManifests(options, stop);
  const access = { env: process.env, allowed: options.allowAddress ?? [], connections: [], mayBootstrap: always };
  const state = await openState(places, resources, access);
  try {
    const { backend } = state;
    await lead({ backend, observer, stop, act: (held, lock) => act(running, held, lock) });
  } finally {
    await state.close();
  }
}

async function act(
  { options, places, observer, stop }: DirectoryRun,
  backend: StateBackend,
  lock: StateLock,
): Promise<void> {
  const { ledger, base } = await openLedger(backend, options.owner, places);
  const accepted = options.acceptAddressChange ?? [];
  let declared: Desire | undefined;
  const opened = new OpenConnections({
    onChange: () => {
      reconnect(operator, observer);
    },
    env: process.env,
    allowed: options.allowAddress ?? [],
    accepted,
    base,
    ledger,
    isStrict: false,
    mayBootstrap: always,
    gate: () => {
      requireHeld(lock);
    },
    onReply: ({ kind, name }, method, status, seconds) => {
      observer.requested(kind === 'NomadCluster' ? 'nomad' : 'vault', name, method, status, seconds);
    },
  });
  const operator: Operator = new Operator({
    world: worldOf({ owner: options.owner, base, ledger, io: opened.io, state: places.state }),
    clock: systemClock,
    observer,
    random: Math.random,
    allowMassDelete: options.allowMassDelete,
    scopeOf: (desire) => scopeOf(places, base, desire),
    connect: async (desire) => {
      const isFirst = declared === undefined;
      if (isWhole(desire)) declared = desire;
      const connections = await opened.update(declared?.resources ?? [], scopeOf(places, base, declared));
      // A warning, and once: it may be declared later.
      const unknown = isFirst ? unknownAccepted(accepted, connections) : undefined;
      if (unknown !== undefined) observer.warned(unknown);
      return {
        connections: connections.filter((c) => opened.isInUse(c)),
        declaration: isWhole(desire)
          ? { ...desire, resources: desire.resources.filter((r) => isWorldly(r, ledger)) }
          : desire,
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

/** What nobody waits for must not fail unheard. */
export function reconnect(operator: Operator, observer: Observer): void {
  operator.reconnect().catch((error: unknown) => {
    observer.warned(messageOf(error));
  });
}

/** The declaration, each time it changes; its errors call files as seen from the working directory. */
async function* desires(
  { file = [], owner }: ManifestOptions,
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
    const errors = desire.errors.map((e) =>
      e.file === ENVIRONMENT ? e : { ...e, file: relative(cwd, resolve(base, e.file)) },
    );
    yield { ...desire, errors };
  }
}
