import type { Change, FieldRule } from './diff.ts';
import type { DesiredFields, Fields } from './value.ts';

export type Action = 'create' | 'update' | 'replace' | 'delete' | 'noop' | 'refuse';

/** Why a step is what it is: one vocabulary for plans, conditions and events. */
export type Reason =
  // create, update, replace, delete
  | 'New'
  | 'Missing'
  | 'Changed'
  | 'Immutable'
  | 'Removed'
  | 'Replaced'
  | 'Rotated'
  | 'Resumed'
  // noop
  | 'InSync'
  | 'Adopted'
  | 'Orphaned'
  | 'Gone'
  | 'Expired'
  | 'Suspended'
  // refuse
  | 'Conflict'
  | 'Protected'
  | 'NotGranted'
  | 'NotFound'
  | 'InUse'
  | 'AddressChanged'
  | 'Unavailable'
  | 'Denied'
  | 'Blocked'
  | 'Waiting'
  | 'Contested'
  | 'Held';

/** Which live object: the connection's name, the type of object, and its name on the server. */
export interface ObjectKey {
  readonly connection: string;
  readonly type: string;
  readonly name: string;
}

/** Which resource declares it. */
export interface ResourceId {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export type DeletionPolicy = 'Delete' | 'Orphan';
export type AdoptionPolicy = 'IfIdentical' | 'Always' | 'Never';

/** A live object as last read. */
export interface Live {
  readonly fields: Fields;
  /** The server's own identifier: a token's accessor ID, a mount's accessor. */
  readonly id?: string;
  /** Nomad's ModifyIndex, where it has one: tells which of two readings is the newer one. */
  readonly index?: number;
  /** Read-only facts that are never compared: hashes, expiry, what a mount carries. */
  readonly facts?: Fields;
  /** Set where nobody may change the object through us, with the reason: the own token, the bootstrap token. */
  readonly protected?: string;
}

/** Reading the object failed: the plan can say so, but must not take it for absent. */
export interface Unreadable {
  readonly error: string;
  readonly reason: 'Unavailable' | 'Denied' | 'NotFound' | 'AddressChanged';
}

/** What the inventory remembers of an object that is ours. Never a secret. */
export interface Owned {
  readonly key: ObjectKey;
  readonly resource: ResourceId;
  /** `pending`: written before the create, so that a crash in between loses nothing. */
  readonly state: 'pending' | 'owned';
  /** While pending: the fingerprint of what was about to be made. */
  readonly intent?: string;
  readonly id?: string;
  readonly adopted: boolean;
  readonly deletionPolicy: DeletionPolicy;
  readonly suspended: boolean;
  /** Manifest that declared it, relative to the inventory's folder. */
  readonly source: string;
  /** What a kind wants to remember: expiry, key sightings, whose secret a sink holds. */
  readonly detail?: Fields;
}

/** One live object that a resource stands for, as it shall be. */
export interface Desired {
  readonly key: ObjectKey;
  readonly resource: ResourceId;
  readonly fields: DesiredFields;
  readonly rules: Readonly<Record<string, FieldRule>>;
  /** The live object that stands for it now, as found by its kind. */
  readonly live: Live | Unreadable | undefined;
  /** Objects that must stand before this one is written: created and updated first, deleted last. */
  readonly dependsOn: readonly ObjectKey[];
  /** Of these the ones that are not there now, and without which the server refuses the write: also where nothing declares them. */
  readonly lacking?: readonly ObjectKey[];
  /** The object of the same resource that gets what a create of this one gives, and depends on it: a token's sink. */
  readonly madeFor?: ObjectKey;
  readonly adoptionPolicy: AdoptionPolicy;
  readonly deletionPolicy: DeletionPolicy;
  readonly suspended: boolean;
  readonly source: string;
  /** Prefix of the field paths when printed: `roles.nomad-workloads`. */
  readonly pathPrefix?: string;
  /** It exists already by declaration (a token named by its accessor ID): never created. */
  readonly mustExist?: boolean;
  /** The kind already knows that nothing may be done, and why. */
  readonly verdict?: { readonly action: 'noop' | 'refuse'; readonly reason: Reason; readonly message: string };
  /** Objects of ours that stay untouched although nothing declares them, as long as this verdict stands. */
  readonly keeps?: readonly ObjectKey[];
  /** A foreign object is adopted only if these can be adopted too, or do not exist yet: a mount with its config. */
  readonly adoptWith?: readonly ObjectKey[];
  /**
   * This object takes the place of another live one: `because` its time has come, or else because a field changed that can't
   * be changed in place. Once nothing declares that one any more it is deleted, whatever the deletion policy says.
   */
  readonly replaces?: { readonly key: ObjectKey; readonly live: Live; readonly because?: string };
  /** Another object has taken its place: how long it stays, said while nothing is to be changed of it. */
  readonly stays?: { readonly message: string; readonly until?: number };
  /** What the inventory shall remember beside the usual. */
  readonly detail?: Fields;
  /** Under this name the inventory shall remember, too, when its write was through; milliseconds since the epoch. */
  readonly stamp?: string;
  /** When time alone may change what shall be done; milliseconds since the epoch. */
  readonly dueAt?: number;
}

/** One entry of a plan: pure data, printed by `plan`, executed by `apply` and `run`, the source of conditions. */
export interface Step {
  readonly action: Action;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** `connection/type/liveName` */
  readonly object: string;
  readonly changes: readonly Change[];
  readonly reason: Reason;
  /** A sentence for people; empty where the reason says all. */
  readonly message: string;
}

/** A step with what the engine needs to carry it out. */
export interface PlannedStep {
  readonly step: Step;
  readonly key: ObjectKey;
  readonly desired?: Desired;
  readonly live?: Live;
  readonly owned?: Owned;
  readonly dependsOn: readonly ObjectKey[];
}

export interface Summary {
  readonly create: number;
  readonly update: number;
  readonly replace: number;
  readonly delete: number;
  readonly noop: number;
  readonly refuse: number;
}

export function keyText(key: ObjectKey): string {
  return `${key.connection}/${key.type}/${key.name}`;
}

export function resourceText(id: ResourceId): string {
  return `${id.kind} ${id.namespace}/${id.name}`;
}

/** The kind in what `resourceText` gives. */
export function kindIn(resource: string): string {
  return resource.slice(0, resource.indexOf(' '));
}

/** Whether a step changes something on a server or in a sink, if it can be done. */
export function isWrite({ step: { action } }: Pick<PlannedStep, 'step'>): boolean {
  return action !== 'noop' && action !== 'refuse';
}

export function summarise(steps: readonly Step[]): Summary {
  const summary = { create: 0, update: 0, replace: 0, delete: 0, noop: 0, refuse: 0 };
  for (const step of steps) summary[step.action]++;
  return summary;
}

export function isUnreadable(live: Live | Unreadable | undefined): live is Unreadable {
  return live !== undefined && 'error' in live;
}

/** The live object, where it is there and could be read. */
export function readable(live: Live | Unreadable | undefined): Live | undefined {
  return isUnreadable(live) ? undefined : live;
}
