import type { Owned } from '../plan/step.ts';

/** How a connection was declared when something was made through it. Holds names of credentials, never credentials. */
export interface RecordedConnection {
  readonly kind: 'NomadCluster' | 'VaultServer';
  readonly name: string;
  readonly address: string;
  readonly spec: unknown;
  /** Folder that relative paths in the spec start from, relative to the inventory's `base` where it lies below that. */
  readonly folder?: string | undefined;
  /** It was not declared, but made from the environment. */
  readonly isFromEnvironment?: boolean | undefined;
  /** `kind/name` of the connection that its credential comes from: remembered as long as this one. */
  readonly credentialFrom?: string | undefined;
}

/** All of an inventory but its objects. Paths are relative to `base`. */
export interface InventoryHead {
  readonly version: 1;
  readonly owner: string;
  /** Folder of the manifests at the last save, where it is not the folder that holds the inventory; absolute. */
  readonly base?: string | undefined;
  readonly connections: readonly RecordedConnection[];
}

/** What the operator owns. */
export interface Inventory extends InventoryHead {
  readonly objects: readonly Owned[];
}

/** What a save brings to the backend. */
export interface InventoryChange {
  readonly head: InventoryHead;
  /** By `keyText`, what was set or removed (undefined) since the last save that succeeded. */
  readonly changed: ReadonlyMap<string, Owned | undefined>;
  /** All objects as they are when it is called, for a backend that writes everything anew. */
  readonly objects: () => readonly Owned[];
}

/** The right to write the inventory, and so to act at all. */
export interface StateLock {
  /** Whether it is certainly still ours, by the monotonic clock. Never waits: it is asked in the tick of every send. */
  isValid(): boolean;
  /** Aborted once it is lost for good. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/** Where the inventory lives: a file, Nomad Variables, or ConfigMaps of Kubernetes. */
export interface StateBackend {
  /** For messages: the file's path, the variable's path. */
  readonly location: string;
  /** @returns undefined where there is none yet. @throws UsageError where it can't be read as an inventory. */
  load(): Promise<Inventory | undefined>;
  /**
   * Atomic for each object: afterwards its old or its new entry is there, never a mixture.
   * @throws TargetError or UsageError; nothing is lost then, the next save names the same objects again.
   */
  save(change: InventoryChange): Promise<void>;
  /**
   * Keeps every other writer out until released.
   * @param wait waits for the other one until aborted. Without it a holder is an error.
   * @throws UsageError that names the holder.
   */
  lock(wait?: AbortSignal): Promise<StateLock>;
}
