import type { LoginNeed } from '../contract/credential.ts';
import {
  typesOf,
  type AnyKind,
  type ConnectionReference,
  type ObjectType,
  type PlanContext,
} from '../contract/kind.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import type { Io } from '../contract/target.ts';
import type { VariablePlace } from '../contract/variables.ts';
import { resourceText, type Desired, type ObjectKey, type Unreadable } from '../plan/step.ts';
import type { Ledger } from './ledger.ts';
import { indexLookup, objectLookup, resourceLookup, type Tracker } from './tracker.ts';
import type { LiveView } from './view.ts';

/** What is known of a connection without asking it. */
export interface Connection {
  readonly kind: ConnectionReference['kind'];
  readonly name: string;
  readonly address: string;
  readonly namespace?: string | undefined;
  /** The namespace that it leads into, where that is made by us: before everything else in it. */
  readonly makes?: ObjectKey | undefined;
  /** Requests that may be under way at once. */
  readonly maxConnections: number;
  /** How often what nobody tells of is read again; milliseconds. */
  readonly rereadMs: number;
  /** Requests a second at most for that; without it, as many as it takes. */
  readonly requestBudget?: number | undefined;
  /** `spec.grants` as declared. */
  readonly grants?: Grants | undefined;
  /** What its credential is had by, as far as that can be managed by resources. */
  readonly loginNeeds?: readonly LoginNeed[];
  /** Why nothing may be done through it: its address changed since the inventory was written. */
  readonly refused?: Unreadable | undefined;
  /** Why nothing may be declared through it any more; what was made through it before can still be deleted. */
  readonly retired?: Unreadable | undefined;
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
  /** What is declared, by `resourceText`. Connections are not among them. */
  resources: ReadonlyMap<string, Resource>;
  /** Those whose deletion was asked for, by `resourceText`. */
  deleting: ReadonlyMap<string, Resource>;
  connections: readonly Connection[];
  readonly view: LiveView;
  readonly tracker: Tracker;
  readonly ledger: Ledger;
  readonly io: Io;
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly pathName: (absolute: string) => string;
  /** @see PlanContext.inventoryAt */
  readonly inventoryAt?: VariablePlace | undefined;
  /** Whether what the inventory holds under this source is pruned when nothing declares it. */
  inScope: (source: string) => boolean;
}

/** By `resourceText`; in their order. */
export function byId(resources: readonly Resource[]): Map<string, Resource> {
  return new Map(resources.map((resource) => [resourceText(idOf(resource)), resource]));
}

export function connectionOf(world: World, kind: Connection['kind'], name: string): Connection | undefined {
  return world.connections.find((c) => c.kind === kind && c.name === name);
}

/** Whether two connections, of whatever names, lead to one server. */
export function isSameServer(a: Connection, b: Connection): boolean {
  return a.kind === b.kind && a.address === b.address && a.namespace === b.namespace;
}

/** What is said of a connection that nobody declares. */
export function missingConnection(kind: Connection['kind'], name: string): string {
  return `there is no ${kind} named ${name}: declare it, or name another one`;
}

/**
 * What kinds derive their objects from. Made once per derivation: `now` does not move within it.
 * @param looked collects what was looked at, for the tracker.
 */
export function contextOf(world: World, looked: Set<string> = new Set()): PlanContext {
  return {
    owner: world.owner,
    now: world.now(),
    live: ({ connection, type, name }) => {
      looked.add(objectLookup(connection, type, name));
      return world.view.failure(connection, type) ?? world.view.get(connection, type, name);
    },
    liveBy: (connection, type, index) => {
      looked.add(indexLookup(connection, type, index));
      return world.view.by(connection, type, index);
    },
    failure: (connection, type) => world.view.failure(connection, type),
    owned: (key) => world.ledger.get(key),
    ownedBy: (resource) => world.ledger.ownedBy(resourceText(idOf(resource))),
    nomadAddress: (name) => connectionOf(world, 'NomadCluster', name)?.address,
    vaultServer: (name) => connectionOf(world, 'VaultServer', name),
    resource: (id) => {
      const text = resourceText(id);
      looked.add(resourceLookup(text));
      return world.resources.get(text);
    },
    inventoryAt: world.inventoryAt,
    pathName: world.pathName,
  };
}

/** The objects that a resource stands for as its kind has it, whoever else stands for them and whatever is granted. */
export function derive(world: World, resource: Resource, looked?: Set<string>): readonly Desired[] {
  return kindOf(world, resource).objects(resource, contextOf(world, looked));
}

export function kindOf(world: World, resource: Pick<Resource, 'kind'>): AnyKind {
  const kind = world.kinds.find((k) => k.kind === resource.kind);
  if (kind === undefined) throw new Error(`no kind ${resource.kind} is registered`);
  return kind;
}

/** @throws Error for a type that no kind has: the inventory was written by a newer version. */
export function typeOf(world: World, name: string): ObjectType {
  const type = typesOf(world.kinds).get(name);
  if (type !== undefined) return type;
  throw new Error(`unknown type of object "${name}": was the inventory written by a newer version of nomad-access?`);
}

/** The connection that objects of a type are made through; none for what is local, or not declared. */
export function connectionBehind(
  world: World,
  { connection, type }: Pick<ObjectKey, 'connection' | 'type'>,
): Connection | undefined {
  const kind = typeOf(world, type).connection;
  return kind === 'local' ? undefined : connectionOf(world, kind, connection);
}
