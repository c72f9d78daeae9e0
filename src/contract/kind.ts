import type { z } from 'zod';
import type { FieldRule } from '../plan/diff.ts';
import type { Desired, Live, ObjectKey, Owned, PlannedStep, ResourceId, Unreadable } from '../plan/step.ts';
import type { Fields } from '../plan/value.ts';
import type { Importer } from './import.ts';
import type { Io } from './target.ts';
import type { Resource } from './resource.ts';
import type { VariablePlace } from './variables.ts';

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'date' | 'integer' | 'boolean';
  readonly jsonPath: string;
  readonly priority?: number;
  readonly description?: string;
}

/** A field of the spec that names a connection. */
export interface ConnectionReference {
  readonly kind: 'NomadCluster' | 'VaultServer';
  readonly name: string;
  /** `spec.nomadRef` */
  readonly path: string;
}

/** What a resource's objects are derived from, beside its spec. Reading it costs nothing: it is all in memory. */
export interface PlanContext {
  /** Owner's name of this installation (`--owner`). */
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The live object of that key, as last read; Unreadable where reading it, or its whole type, failed. */
  live(key: ObjectKey): Live | Unreadable | undefined;
  /** The live objects of a type on a connection that its `index` files under this name. */
  liveBy(connection: string, type: string, index: string): readonly Live[];
  /** Why the list of that type could not be read, if it couldn't. */
  failure(connection: string, type: string): Unreadable | undefined;
  /** What the inventory holds under this resource. */
  ownedBy(resource: Resource): readonly Owned[];
  /** What the inventory holds for a key, whoever declares it. */
  owned(key: ObjectKey): Owned | undefined;
  /** Address of a NomadCluster, for what is derived from it; undefined where there is no such connection. */
  nomadAddress(connection: string): string | undefined;
  /** A VaultServer, for the agent configuration that names it. */
  vaultServer(connection: string): { readonly address: string; readonly namespace?: string | undefined } | undefined;
  /** Another declared resource, validated; a change of it leads to a new plan. Undefined where there is none of that name. */
  resource(id: ResourceId): Resource | undefined;
  /** Where in Nomad the inventory is, if it is there: that path and all below it are nobody else's. */
  readonly inventoryAt?: VariablePlace | undefined;
  /** An absolute path as the inventory writes it: relative to its folder, where it lies below that. */
  pathName(absolute: string): string;
}

/** What shall be read: objects of one type on one connection. */
export interface ReadRequest {
  readonly connection: string;
  /** Declared objects, derived before anything was read (so names may still be provisional). */
  readonly desired: readonly Desired[];
  /** Objects that the inventory holds, declared or not. */
  readonly owned: readonly Owned[];
  /** What is only looked at. */
  readonly observed?: readonly ObjectKey[];
  /** What was read before of that name: an object whose index and hash did not change need not be read again. */
  readonly cached: (name: string) => Live | undefined;
}

/** What was read. */
export interface Reading {
  /** By the name that the view keeps them under; what is absent is absent here. */
  readonly objects: ReadonlyMap<string, Live | Unreadable>;
  /** Nomad's index at which the objects stood so; absent where the server has none. */
  readonly index?: number;
}

/** How Nomad tells of changes of a type. */
export interface WatchedType {
  /** Topic of the event stream. */
  readonly topic: string;
  /** List whose index moves with the objects. */
  readonly list: string;
  /** The object that an event carries; undefined where the event does not tell all of it. */
  live(payload: unknown): Live | undefined;
}

/** One type of live object: how it is read and written. What it shall hold comes from a kind. */
export interface ObjectType {
  /** `acl-policy`; the middle part of `connection/type/name`. */
  readonly name: string;
  readonly connection: 'NomadCluster' | 'VaultServer' | 'local';
  /** Types whose objects must stand before these are written; on deletion the reverse. */
  readonly after: readonly string[];
  /** Read after the other types, because what its objects shall hold depends on what those hold. */
  readonly late?: boolean;
  /**
   * Reads what the request names; an object that is absent is absent from the result.
   * @throws TargetError when nothing could be read; a single object that can't be read is Unreadable in the result.
   */
  read(io: Io, request: ReadRequest, signal: AbortSignal): Promise<Reading>;
  /** Without it, objects are read again from time to time. */
  readonly watch?: WatchedType;
  /** What a live object is kept under in the view, where that is not its key's name: a token's accessor ID. */
  identify?(live: Live): string;
  /** The name in the key of a live object, where the view keeps it under another one: a token's marked name. */
  keyName?(live: Live): string;
  /** A second way to find a live object: the owner in a token's marker. */
  index?(live: Live): string | undefined;
  /** The rules by which fields are compared, for the fingerprint of a live object. */
  readonly rules?: Readonly<Record<string, FieldRule>>;
  /** Once begun, a write is never aborted. @returns the object as it stands now. */
  create?(io: Io, desired: SettledDesired): Promise<Live>;
  update?(io: Io, desired: SettledDesired, live: Live): Promise<Live>;
  /** @returns Nomad's index of the deletion, where it has one. */
  remove?(io: Io, target: { key: ObjectKey; live: Live; owned: Owned }): Promise<number | undefined>;
  /** Removes what a create that was interrupted may have left beside the object, and not the object. */
  abandon?(io: Io, key: ObjectKey): Promise<void>;
  /** The live object of an inventory entry, where its key alone does not tell. */
  find?(owned: Owned, live: ReadonlyMap<string, Live | Unreadable>): Live | Unreadable | undefined;
  /**
   * What the inventory shall remember beside `detail` before a create or an update is sent, so that what that leaves is known for
   * ours whatever else is lost by then. Never a secret. @throws TargetError
   */
  foretell?(io: Io, desired: SettledDesired): Promise<Fields>;
  /** What the inventory shall remember of the object as it stands after a write, or when it is found. Never a secret. */
  remember?(live: Live): Fields;
  /** Why an object of ours must not be deleted though nobody declares it any more: a mount that carries foreign roles. */
  retain?(key: ObjectKey, live: Live, isOurs: (key: ObjectKey) => boolean): string | undefined;
  /** The object that it goes with: it is deleted by that one's deletion, and only then. */
  readonly partOf?: (key: ObjectKey) => ObjectKey;
  /** The object that it stands in and vanishes with: what is found there once that one is somebody else's is theirs, too. */
  readonly within?: (key: ObjectKey) => ObjectKey;
  /** The object that can't do without one of ours, which is deleted only once that one is: an engine and its token. */
  readonly neededBy?: (owned: Owned) => ObjectKey | undefined;
  /** What a deletion does beyond the object itself, for the plan's line. */
  deletionNote?(live: Live): string | undefined;
}

/** A desired object at the moment of its write: nothing is deferred any more. */
export interface SettledDesired extends Omit<Desired, 'fields'> {
  readonly fields: Fields;
}

/** A rule over several fields: CEL for the API server, a function for the directory, one message. */
export interface SpecRule {
  /** CEL over `self` (the spec). Absent where CEL can't say it. */
  readonly cel?: string;
  /** @returns true when the spec keeps the rule. Absent for transition rules (CEL with `oldSelf`). */
  readonly holds?: (spec: never) => boolean;
  /** Field that the error points to, relative to the spec: `jobAcl.task`. */
  readonly path: string;
  readonly message: string;
}

/**
 * A kind of resource: one small folder that says only what is particular to it. Types, validation, CRD and
 * reference pages are derived from `spec`.
 */
export interface Kind<Spec = unknown> {
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Cluster' | 'Namespaced';
  /** What it is, in a sentence or two: the CRD's description and the head of its reference page. */
  readonly description: string;
  readonly spec: z.ZodType<Spec>;
  readonly rules: readonly SpecRule[];
  readonly printerColumns: readonly PrinterColumn[];
  readonly example: string;
  /** What `path` says in a plan's changes where it names no field of the spec literally, with what is meant. */
  readonly planPaths?: Readonly<Record<string, string>>;
  readonly types: readonly ObjectType[];
  references(spec: Spec): readonly ConnectionReference[];
  /** Checks that need more than one field or are more than CEL can say: paths relative to the spec. Pure. */
  check?(resource: Resource<Spec>): readonly { readonly path: string; readonly message: string }[];
  /** The live objects that the resource stands for, dependencies first. Pure and total. */
  objects(resource: Resource<Spec>, context: PlanContext): readonly Desired[];
  /** Objects that are only looked at, never managed (a JWKS, the names of roles). */
  observes?(resource: Resource<Spec>): readonly ObjectKey[];
  /** How live objects become manifests (`import`). */
  readonly importer?: Importer;
  /** What `status` shows under `live`, from the planned objects. */
  status?(
    resource: Resource<Spec>,
    steps: readonly PlannedStep[],
    context: PlanContext,
  ): Readonly<Record<string, unknown>>;
}

/** For the registry: a kind whose spec's type is forgotten. */
export type AnyKind = Kind;

const typesOfKinds = new WeakMap<readonly AnyKind[], ReadonlyMap<string, ObjectType>>();

/** The types of objects that kinds have, by name; made once for each list of kinds. */
export function typesOf(kinds: readonly AnyKind[]): ReadonlyMap<string, ObjectType> {
  const known = typesOfKinds.get(kinds);
  if (known !== undefined) return known;
  const types = new Map(kinds.flatMap((kind) => kind.types).map((type) => [type.name, type]));
  typesOfKinds.set(kinds, types);
  return types;
}
