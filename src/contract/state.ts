import type { Owned } from '../plan/step.ts';

/** How a connection was declared when something was made through it. Holds names of credentials, never credentials. */
export interface RecordedConnection {
  readonly kind: 'NomadCluster' | 'VaultServer';
  readonly name: string;
  readonly address: string;
  readonly spec: unknown;
}

/** What the operator owns. Paths are relative to the folder that holds it. */
export interface Inventory {
  readonly version: 1;
  readonly owner: string;
  readonly connections: readonly RecordedConnection[];
  readonly objects: readonly Owned[];
}

/** Where the inventory lives: a file now, a Nomad Variable later. */
export interface StateBackend {
  /** For messages: the file's path, the variable's path. */
  readonly location: string;
  /** @returns undefined where there is none yet. @throws UsageError where it can't be read as an inventory. */
  load(): Promise<Inventory | undefined>;
  /** Atomic: afterwards the old or the new one is there, never a mixture. */
  save(inventory: Inventory): Promise<void>;
  /**
   * Keeps every other writer out until released.
   * @throws UsageError that names the holder.
   */
  lock(): Promise<{ release(): Promise<void> }>;
}
