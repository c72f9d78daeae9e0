import type { ManifestError, Resource } from './resource.ts';

/** The desired view at one moment. */
export interface Desire {
  readonly resources: readonly Resource[];
  readonly errors: readonly ManifestError[];
  /** The roots that were read, relative to the inventory's folder: only what was recorded under them is pruned. */
  readonly roots: readonly string[];
}
