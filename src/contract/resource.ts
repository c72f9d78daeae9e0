import type { ResourceId } from '../plan/step.ts';

export const GROUP = 'nomad-access.io';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** Where in the manifests something stands; lines and columns count from 1, and are absent where a file as a whole is meant. */
export interface Position {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

export function positionText({ file, line, column }: Position): string {
  return line === undefined ? file : `${file}:${String(line)}:${String(column ?? 1)}`;
}

/** One declared resource, validated, with its defaults filled in. */
export interface Resource<Spec = unknown> {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations: Readonly<Record<string, string>>;
    /** The API server's own identifier; absent where no API server has it. */
    readonly uid?: string;
    /** When the API server took it; RFC 3339, UTC. */
    readonly createdAt?: string;
  };
  readonly spec: Spec;
  /** The manifest, relative to the inventory's folder; or the API server's object. */
  readonly source: string;
  /** Folder that relative paths in the spec start from; absolute. */
  readonly folder: string;
  /** Where a field of the resource stands, for error messages: `spec.jobAcl.task`. */
  readonly locate: (path: string) => Position;
}

export function idOf(resource: Resource): ResourceId {
  return { kind: resource.kind, namespace: resource.metadata.namespace, name: resource.metadata.name };
}

/** What is wrong in the manifests, as `validate -o json` prints it. `path` is the dotted path of the field. */
export interface ManifestError extends Position {
  readonly path: string;
  readonly message: string;
}
