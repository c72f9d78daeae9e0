import type { ManifestError, Resource } from './resource.ts';

/** The desired view at one moment. */
export interface Desire {
  readonly resources: readonly Resource[];
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
