import type { AnyKind, ConnectionReference, ObjectType, PlanContext } from '../contract/kind.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import type { Io } from '../contract/target.ts';
import type { Unreadable } from '../plan/step.ts';
import type { Ledger } from './ledger.ts';
import type { LiveView } from './view.ts';

/** What is known of a connection without asking it. */
export interface Connection {
  readonly kind: ConnectionReference['kind'];
  readonly name: string;
  readonly address: string;
  readonly namespace?: string | undefined;
  /** Requests that may be under way at once. */
  readonly maxConnections: number;
  /** `spec.grants` as declared. */
  readonly grants?: Grants | undefined;
  /** Why nothing may be done through it: its address changed since the inventory was written. */
  readonly refused?: Unreadable | undefined;
}

/** What may be done through a connection; an absent list allows everything. Patterns: `*` matches any text. */
export interface Grants {
  readonly namespaces?: readonly string[] | undefined;
  readonly names?: readonly string[] | undefined;
  readonly managementTokens?: boolean | undefined;
  readonly globalTokens?: boolean | undefined;
  readonly anonymousPolicy?: boolean | undefined;
}

/** Everything that the engine works on: the kinds, the two views, the inventory, and the way out. */
export interface World {
  readonly kinds: readonly AnyKind[];
  readonly resources: readonly Resource[];
  readonly connections: readonly Connection[];
  readonly view: LiveView;
  readonly ledger: Ledger;
  readonly io: Io;
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly pathName: (absolute: string) => string;
  /** Whether what the inventory holds under this source is pruned when nothing declares it. */
  readonly inScope: (source: string) => boolean;
}

/** What kinds derive their objects from. Made once per derivation: `now` does not move within it. */
export function contextOf(world: World): PlanContext {
  const now = world.now();
  const find = (kind: ConnectionReference['kind'], name: string): Connection | undefined =>
    world.connections.find((c) => c.kind === kind && c.name === name);
  return {
    owner: world.owner,
    now,
    live: ({ connection, type, name }) =>
      world.view.failure(connection, type) ?? world.view.get(connection, type, name),
    liveBy: (connection, type, index) => world.view.by(connection, type, index),
    failure: (connection, type) => world.view.failure(connection, type),
    ownedBy: (resource) => world.ledger.ownedBy(idOf(resource)),
    nomadAddress: (name) => find('NomadCluster', name)?.address,
    vaultServer: (name) => find('VaultServer', name),
    pathName: world.pathName,
  };
}

export function kindOf(world: World, resource: Resource): AnyKind {
  const kind = world.kinds.find((k) => k.kind === resource.kind);
  if (kind === undefined) throw new Error(`no kind ${resource.kind} is registered`);
  return kind;
}

/** @throws Error for a type that no kind has: the inventory was written by a newer version. */
export function typeOf(world: World, name: string): ObjectType {
  for (const kind of world.kinds) {
    const type = kind.types.find((t) => t.name === name);
    if (type !== undefined) return type;
  }
  throw new Error(`unknown type of object "${name}": was the inventory written by a newer version of nomad-access?`);
}
