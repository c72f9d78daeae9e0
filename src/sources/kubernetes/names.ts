import type { AnyKind } from '../../contract/kind.ts';
import { API_VERSION, GROUP } from '../../contract/resource.ts';

/** Stands on every resource of which something may exist outside; it goes last. */
export const FINALIZER = `${GROUP}/finalizer`;
/** Its value, whatever it is, asks for a pass each time that it changes. */
export const RECONCILE_REQUESTED = `${GROUP}/reconcile-requested-at`;

/** Where the objects of a kind are, everywhere or in one namespace. */
export function collectionPath(kind: AnyKind, namespace?: string): string {
  const base = `/apis/${API_VERSION}`;
  return namespace === undefined || kind.scope === 'Cluster'
    ? `${base}/${kind.plural}`
    : `${base}/namespaces/${namespace}/${kind.plural}`;
}

/** @param namespace empty for what belongs to no namespace. */
export function objectPath(kind: AnyKind, namespace: string, name: string): string {
  return `${collectionPath(kind, namespace === '' ? undefined : namespace)}/${name}`;
}
