import type { ManifestError, Resource } from './resource.ts';

/** The desired view at one moment. */
export interface Desire {
  readonly resources: readonly Resource[];
  /**
   * Resources whose deletion was asked for one by one: their objects go, however many there are, and what they say of
   * suspension and of the deletion itself still counts.
   */
  readonly deleting?: readonly Resource[];
  /** What is wrong in the manifests. While it is followed, the resources of a broken file are those that it last declared. */
  readonly errors: readonly ManifestError[];
  /** The roots that were read, relative to the inventory's folder: only what was recorded under them is pruned. */
  readonly roots: readonly string[];
  /**
   * Files and folders of which it is not known what they declare, relative to the inventory's folder: they can't be read,
   * and were never read since we started, or one of their resources is left out because another one holds what it claims.
   * Nothing that was recorded under them is pruned.
   */
  readonly unknown: readonly string[];
}

/** What became of some resources since the desired view before; all others are as they were. */
export interface DesireChange {
  /** New, or not what they were. */
  readonly changed: readonly Resource[];
  /** Asked to be deleted, now or before. @see Desire.deleting */
  readonly deleting: readonly Resource[];
  /** Gone, by `resourceText`. */
  readonly gone: readonly string[];
}

export type Declaration = Desire | DesireChange;

export function isWhole(declaration: Declaration): declaration is Desire {
  return 'resources' in declaration;
}
