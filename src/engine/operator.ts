import pLimit from 'p-limit';
import type { Observer } from '../contract/observer.ts';
import type { Resource } from '../contract/resource.ts';
import type { Desire } from '../contract/source.ts';
import type { Clock } from './clock.ts';
import { Controller } from './controller.ts';
import { NomadFeed } from './feed.ts';
import { Sweep } from './sweep.ts';
import { connectionOf, typeOf, type Connection, type World } from './world.ts';

export interface OperatorOptions {
  readonly world: World;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Between 0 and 1. */
  readonly random: () => number;
  readonly allowMassDelete: boolean;
  /**
   * Opens the connections that are declared now and in use, and closes the others. One that is as it was is the same
   * object as before; one that can't be opened says why it is refused. Connections are not among `resources`.
   */
  readonly connect: (
    desire: Desire,
  ) => Promise<{ readonly connections: readonly Connection[]; readonly resources: readonly Resource[] }>;
  /** What may be pruned under a declaration. */
  readonly scopeOf: (desire: Desire) => (source: string) => boolean;
}

/** How often files with secrets are looked at, and how many a second. */
const LOCAL = { rereadMs: 15_000, requestBudget: 50 };
/** Keys that Nomad signs with are read this often, since nothing tells of their rotation. */
const UNTOLD_ON_NOMAD_MS = 15_000;
const AT_ONCE = 16;

interface Follower {
  readonly connection: Connection | undefined;
  readonly stop: AbortController;
  readonly feed?: NomadFeed;
  readonly sweep: Sweep;
  readonly done: Promise<unknown>;
}

/**
 * Follows the declaration and the live servers, and keeps them equal until it is stopped: one follower for each
 * connection feeds the live view, and the controller acts on what changes.
 */
export class Operator {
  readonly #options: OperatorOptions;
  readonly #controller: Controller;
  /** By `kind/name`. */
  readonly #followers = new Map<string, Follower>();

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { world, clock, observer, random, allowMassDelete } = options;
    this.#controller = new Controller({
      world,
      clock,
      observer,
      random,
      allowMassDelete,
      look: (ids) => this.#look(ids),
    });
  }

  /** Runs until the signal is aborted; then lets running writes finish, and saves. @throws what saving the inventory threw. */
  async run(desires: AsyncIterable<Desire>, signal: AbortSignal): Promise<void> {
    const running = this.#controller.run(signal);
    const following = this.#follow(desires, AbortSignal.any([signal, this.#controller.ended]));
    try {
      await Promise.race([running, following]);
      await running;
    } finally {
      for (const follower of this.#followers.values()) follower.stop.abort();
      await Promise.all([...this.#followers.values()].map((follower) => follower.done));
    }
  }

  async #follow(desires: AsyncIterable<Desire>, signal: AbortSignal): Promise<void> {
    for await (const desire of desires) {
      if (signal.aborted) return;
      await this.#take(desire);
    }
  }

  async #take(desire: Desire): Promise<void> {
    const { world, connect, scopeOf } = this.#options;
    const { connections, resources } = await connect(desire);
    world.connections = connections;
    world.inScope = scopeOf(desire);
    for (const [key, follower] of this.#followers) {
      if (follower.connection === undefined || connections.includes(follower.connection)) continue;
      follower.stop.abort();
      this.#followers.delete(key);
      this.#options.observer.disconnected(follower.connection);
    }
    for (const connection of connections) {
      const key = `${connection.kind}/${connection.name}`;
      if (connection.refused === undefined && !this.#followers.has(key)) this.#start(key, connection);
    }
    if (!this.#followers.has(LOCAL_KEY)) this.#start(LOCAL_KEY, undefined);
    await this.#controller.update({ ...desire, resources });
  }

  #start(key: string, connection: Connection | undefined): void {
    const stop = new AbortController();
    const feed = connection?.kind === 'NomadCluster' ? this.#feed(connection) : undefined;
    const sweep = this.#sweep(connection);
    const done = Promise.all([feed?.run(stop.signal), sweep.run(stop.signal)]);
    this.#followers.set(key, { connection, stop, sweep, done, ...(feed && { feed }) });
  }

  #feed(connection: Connection): NomadFeed {
    const { world, clock, random, observer } = this.#options;
    return new NomadFeed({
      world,
      connection: connection.name,
      api: world.io.nomad(connection.name),
      clock,
      random,
      resyncMs: connection.rereadMs,
      onSync: (isSynced, error) => {
        observer.synced(connection, isSynced, error);
      },
    });
  }

  #sweep(connection: Connection | undefined): Sweep {
    const { world, clock, observer } = this.#options;
    const kind = connection?.kind ?? 'local';
    const name = connection?.name ?? 'local';
    const types = world.kinds.flatMap((k) => k.types).filter((t) => t.connection === kind && t.watch === undefined);
    return new Sweep({
      world,
      kind,
      connection: name,
      clock,
      intervalMs: kind === 'NomadCluster' ? UNTOLD_ON_NOMAD_MS : (connection ?? LOCAL).rereadMs,
      budget: (connection ?? LOCAL).requestBudget ?? LOCAL.requestBudget,
      resources: () => [...new Set(types.flatMap((type) => [...world.tracker.lookingAt(name, type.name)]))],
      onSync: (isSynced, error) => {
        if (connection?.kind === 'VaultServer') observer.synced(connection, isSynced, error);
        else if (!isSynced) observer.warned(`${kind} ${name}: ${error ?? ''}`);
      },
      onStretch: (seconds) => {
        observer.warned(
          `${kind} ${name}: with its request budget, reading everything again takes ${seconds.toFixed(0)} s`,
        );
      },
    });
  }

  /** @returns the resources of which something could not be read. */
  async #look(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const shelves = new Map(ids.map((id) => [id, this.#options.world.tracker.shelvesOf(id)]));
    const keys = new Set([...shelves.values()].flat().map((shelf) => this.#keyOf(shelf)));
    const feeds = [...keys].flatMap((key) => this.#followers.get(key)?.feed ?? []);
    await Promise.all(feeds.map((feed) => feed.refresh()));
    const missed = new Set<string>();
    const broken = new Set<string>();
    const limit = pLimit(AT_ONCE);
    await Promise.all(ids.map((id) => limit(() => this.#lookAt(id, shelves.get(id) ?? [], missed, broken))));
    return missed;
  }

  /** @param broken followers that have failed already: nothing more is asked of them. */
  async #lookAt(
    id: string,
    shelves: readonly { connection: string; type: string }[],
    missed: Set<string>,
    broken: Set<string>,
  ): Promise<void> {
    const { world } = this.#options;
    for (const shelf of shelves) {
      const type = typeOf(world, shelf.type);
      const isRefused =
        type.connection !== 'local' && connectionOf(world, type.connection, shelf.connection)?.refused !== undefined;
      if (type.watch !== undefined && !isRefused && world.view.failure(shelf.connection, shelf.type) !== undefined)
        missed.add(id);
    }
    const swept = new Set(
      shelves.filter(({ type }) => typeOf(world, type).watch === undefined).map((s) => this.#keyOf(s)),
    );
    for (const key of swept) {
      const follower = this.#followers.get(key);
      if (follower === undefined) continue;
      if (!broken.has(key) && (await follower.sweep.read(id, follower.stop.signal))) continue;
      broken.add(key);
      missed.add(id);
    }
  }

  #keyOf({ connection, type }: { readonly connection: string; readonly type: string }): string {
    const kind = typeOf(this.#options.world, type).connection;
    return kind === 'local' ? LOCAL_KEY : `${kind}/${connection}`;
  }
}

const LOCAL_KEY = 'local/local';
