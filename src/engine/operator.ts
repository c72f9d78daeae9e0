import { setMaxListeners } from 'node:events';
import pLimit from 'p-limit';
import { messageOf } from '../contract/errors.ts';
import { typesOf } from '../contract/kind.ts';
import type { Observer } from '../contract/observer.ts';
import type { Reporter } from '../contract/report.ts';
import { isWhole, type Declaration, type Desire } from '../contract/source.ts';
import type { Clock } from '../contract/clock.ts';
import { Controller } from './controller.ts';
import { NomadFeed } from './feed.ts';
import { isWrite, resourceText, type PlannedStep } from '../plan/step.ts';
import { idOfConnection } from './logins.ts';
import { Sweep } from './sweep.ts';
import { resourceLookup } from './tracker.ts';
import { connectionBehind, typeOf, type Connection, type World } from './world.ts';

export interface OperatorOptions {
  readonly world: World;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Between 0 and 1. */
  readonly random: () => number;
  readonly allowMassDelete: boolean;
  /** Writes through one NomadCluster in one pass from which on its event stream is let go meanwhile. Default 250. */
  readonly burst?: number;
  /**
   * Opens the connections that are declared now and in use, and closes the others. One that is as it was is the same
   * object as before; one that can't be opened says why it is refused.
   * @returns the declaration without them.
   */
  readonly connect: (
    declaration: Declaration,
  ) => Promise<{ readonly connections: readonly Connection[]; readonly declaration: Declaration }>;
  /** What may be pruned under a declaration. */
  readonly scopeOf: (desire: Desire) => (source: string) => boolean;
  /** Told how each resource came out of each pass. */
  readonly report?: Reporter | undefined;
}

/** How often files with secrets are looked at, and how many a second. */
const LOCAL = { rereadMs: 15_000, requestBudget: 50 };
/** Keys that Nomad signs with are read this often, since nothing tells of their rotation. */
const UNTOLD_ON_NOMAD_MS = 15_000;
const AT_ONCE = 16;
const BURST = 250;
const AFTER_MISTAKE_MS = 5_000;

/** A type on a connection. */
interface Shelf {
  readonly connection: string;
  readonly type: string;
}

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
  #turn: Promise<void> = Promise.resolve();

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { world, clock, observer, random, allowMassDelete, report } = options;
    this.#controller = new Controller({
      world,
      clock,
      observer,
      random,
      allowMassDelete,
      look: (ids, seen) => this.#look(ids, seen),
      writing: (steps) => this.#hold(steps),
      report,
    });
  }

  /** Runs until the signal is aborted; then lets running writes finish, and saves. @throws what saving the inventory threw. */
  async run(declarations: AsyncIterable<Declaration>, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const running = this.#controller.run(AbortSignal.any([signal, over.signal]));
    const following = this.#follow(declarations, AbortSignal.any([signal, this.#controller.ended]));
    try {
      await Promise.race([running, following]);
      await running;
    } finally {
      // Whatever ended it: nothing is closed before the controller is through.
      over.abort();
      await running.catch(() => undefined);
      for (const follower of this.#followers.values()) follower.stop.abort();
      await Promise.all([...this.#followers.values()].map((follower) => follower.done));
    }
  }

  /** Looks at resources again: somebody asks for it, or something changed that no live view tells of. */
  reconcile(ids: Iterable<string>): void {
    this.#controller.reconcile(ids);
  }

  async #follow(declarations: AsyncIterable<Declaration>, signal: AbortSignal): Promise<void> {
    for await (const declaration of declarations) {
      if (signal.aborted) return;
      await this.#untilTaken(declaration, signal);
    }
  }

  /** A mistake of ours in taking one in must not make it deaf to what follows. */
  async #untilTaken(declaration: Declaration, signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#options;
    for (let isTaken = false; !isTaken && !signal.aborted;) {
      try {
        await this.#take(declaration);
        isTaken = true;
      } catch (error) {
        observer.warned(`what is declared can't be taken in: ${messageOf(error)}`);
        await clock.sleep(AFTER_MISTAKE_MS, signal).catch(() => undefined);
      }
    }
  }

  /** Opens connections anew though nothing was declared anew: a credential came, went or works again. */
  async reconnect(): Promise<void> {
    await this.#take({ changed: [], deleting: [], gone: [] });
  }

  /** One after the other. */
  #take(taken: Declaration): Promise<void> {
    const turn = this.#turn.catch(() => undefined).then(() => this.#taken(taken));
    this.#turn = turn;
    return turn;
  }

  async #taken(taken: Declaration): Promise<void> {
    const { world, connect, scopeOf } = this.#options;
    const { connections, declaration } = await connect(taken);
    const before = world.connections;
    world.connections = connections;
    if (isWhole(declaration)) world.inScope = scopeOf(declaration);
    if (connections !== before || this.#followers.size === 0) this.#connect(connections);
    const users = this.#usersOf(connections.filter((c) => !before.includes(c)));
    for (const id of this.#waitingFor(connections, before)) users.add(id);
    if (!this.#followers.has(LOCAL_KEY)) this.#start(LOCAL_KEY, undefined);
    if (isWhole(declaration)) this.#controller.update(declaration);
    else this.#controller.change(declaration);
    this.#controller.reconcile(users);
  }

  /** The resources that look at something of these connections. */
  #usersOf(connections: readonly Connection[]): Set<string> {
    const { world } = this.#options;
    const types = [...typesOf(world.kinds).values()];
    return new Set(
      connections.flatMap(({ kind, name }) =>
        types
          .filter((type) => type.connection === kind)
          .flatMap((type) => [...world.tracker.lookingAt(name, type.name)]),
      ),
    );
  }

  /** The resources of which something waits until one of the connections, that is not as it was, is declared otherwise. */
  #waitingFor(connections: readonly Connection[], before: readonly Connection[]): string[] {
    const changed = [
      ...connections.filter((c) => !before.includes(c)),
      ...before.filter((c) => !connections.includes(c)),
    ];
    const { tracker } = this.#options.world;
    return changed.flatMap((c) => tracker.readersOf(resourceLookup(resourceText(idOfConnection(c)))));
  }

  #connect(connections: readonly Connection[]): void {
    for (const [key, follower] of this.#followers) {
      if (follower.connection === undefined || connections.includes(follower.connection)) continue;
      follower.stop.abort();
      this.#followers.delete(key);
      this.#options.observer.disconnected(named(follower.connection));
    }
    for (const connection of connections) {
      const key = keyOf(connection);
      if (connection.refused !== undefined) this.#refuse(connection);
      else if (!this.#followers.has(key)) this.#start(key, connection);
    }
  }

  /** What was made through it is not looked for; plans say why. */
  #refuse({ kind, name, refused }: Connection): void {
    const { world } = this.#options;
    if (refused === undefined) return;
    for (const type of typesOf(world.kinds).values())
      if (type.connection === kind) world.view.fail(name, type, refused);
  }

  #start(key: string, connection: Connection | undefined): void {
    if (connection !== undefined) this.#options.observer.synced(named(connection), false);
    const stop = new AbortController();
    // Every request under way listens to it.
    setMaxListeners(0, stop.signal);
    const feed = connection?.kind === 'NomadCluster' ? this.#feed(connection) : undefined;
    const sweep = this.#sweeper(connection);
    const done = Promise.all([
      feed && this.#supervised(() => feed.run(stop.signal), stop.signal),
      this.#supervised(() => sweep.run(stop.signal), stop.signal),
    ]);
    this.#followers.set(key, { connection, stop, sweep, done, ...(feed && { feed }) });
  }

  /** A mistake of ours in following one connection must not end the operator. */
  async #supervised(follow: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#options;
    while (!signal.aborted) {
      try {
        await follow();
      } catch (error) {
        observer.warned(`unexpected: ${messageOf(error)}`);
        await clock.sleep(AFTER_MISTAKE_MS, signal).catch(() => undefined);
      }
    }
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
        observer.synced(named(connection), isSynced, error);
      },
    });
  }

  #sweeper(connection: Connection | undefined): Sweep {
    const { world, clock, observer } = this.#options;
    const kind = connection?.kind ?? 'local';
    const name = connection?.name ?? 'local';
    const types = [...typesOf(world.kinds).values()].filter((t) => t.connection === kind && t.watch === undefined);
    return new Sweep({
      world,
      kind,
      connection: name,
      clock,
      intervalMs: kind === 'NomadCluster' ? UNTOLD_ON_NOMAD_MS : (connection ?? LOCAL).rereadMs,
      budget: (connection ?? LOCAL).requestBudget ?? LOCAL.requestBudget,
      resources: () => [...new Set(types.flatMap((type) => [...world.tracker.lookingAt(name, type.name)]))],
      onSync: (isSynced, error) => {
        if (connection?.kind === 'VaultServer') observer.synced(named(connection), isSynced, error);
        else if (!isSynced) observer.warned(`${kind} ${name}: ${error ?? ''}`);
      },
      onStretch: (seconds) => {
        observer.warned(
          `${kind} ${name}: with its request budget, reading everything again takes ${seconds.toFixed(0)} s`,
        );
      },
    });
  }

  /** @returns the resources of which something could not be read. @param seen told of each of the others as soon as it was. */
  async #look(ids: readonly string[], seen: (id: string) => void = () => undefined): Promise<ReadonlySet<string>> {
    const shelves = new Map(ids.map((id) => [id, this.#options.world.tracker.shelvesOf(id)]));
    const keys = new Set([...shelves.values()].flat().map((shelf) => this.#keyOf(shelf)));
    const feeds = [...keys].flatMap((key) => this.#followers.get(key)?.feed ?? []);
    await Promise.all(feeds.map((feed) => feed.refresh()));
    const missed = new Set<string>();
    const broken = new Set<Follower>();
    const limit = pLimit(AT_ONCE);
    const lookAt = async (id: string, swept: readonly Follower[]): Promise<void> => {
      const isSeen = (await this.#sweep(id, swept, broken)) && this.#isListed(shelves.get(id) ?? []);
      if (isSeen) seen(id);
      else missed.add(id);
    };
    const reads = ids.map((id): [string, Follower[]] => [id, this.#sweptBy(shelves.get(id) ?? [])]);
    // Whoever needs no read of its own waits for nobody, and is planned together with its like.
    await Promise.all(
      reads.map(([id, swept]) => (swept.length === 0 ? lookAt(id, swept) : limit(() => lookAt(id, swept)))),
    );
    return missed;
  }

  /** Lets go the event streams of clusters through which much is written. @returns what ends it. */
  #hold(steps: readonly PlannedStep[]): () => void {
    const { burst = BURST } = this.#options;
    const writes = new Map<string, number>();
    for (const { key } of steps.filter(isWrite)) {
      const follower = this.#keyOf(key);
      writes.set(follower, (writes.get(follower) ?? 0) + 1);
    }
    const holds = [...writes].flatMap(([key, n]) => (n < burst ? [] : (this.#followers.get(key)?.feed?.hold() ?? [])));
    return () => {
      for (const end of holds) end();
    };
  }

  #isListed(shelves: readonly Shelf[]): boolean {
    const { world } = this.#options;
    return shelves.every(({ connection, type }) => {
      if (typeOf(world, type).watch === undefined) return true;
      // Of what is refused, or not there, plans say so.
      const behind = connectionBehind(world, { connection, type });
      return behind === undefined || behind.refused !== undefined || world.view.failure(connection, type) === undefined;
    });
  }

  #sweptBy(shelves: readonly Shelf[]): Follower[] {
    const untold = shelves.filter(({ type }) => typeOf(this.#options.world, type).watch === undefined);
    return [...new Set(untold.flatMap((shelf) => this.#followers.get(this.#keyOf(shelf)) ?? []))];
  }

  /** @param broken followers whose server can't be reached: nothing more is asked of them. */
  async #sweep(id: string, followers: readonly Follower[], broken: Set<Follower>): Promise<boolean> {
    for (const follower of followers) {
      if (broken.has(follower)) return false;
      const turn = await follower.sweep.read(id, follower.stop.signal);
      if (turn === 'out') broken.add(follower);
      if (turn !== 'read') return false;
    }
    return true;
  }

  #keyOf({ connection, type }: Shelf): string {
    const kind = typeOf(this.#options.world, type).connection;
    return kind === 'local' ? LOCAL_KEY : `${kind}/${connection}`;
  }
}

const LOCAL_KEY = 'local/local';

function keyOf({ kind, name }: Connection): string {
  return `${kind}/${name}`;
}

function named({ kind, name }: Connection): { kind: string; name: string } {
  return { kind, name };
}
