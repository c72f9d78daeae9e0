/**
 * What the source, the sinks, the credentials and the state ask of a Kubernetes API server. `src/kubernetes` implements it:
 * kept-alive connections, retries inside a request and the translation of every failure into a TargetError are its.
 */

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  /** RFC 3339 */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Any object of the API; `managedFields` is dropped when it is read. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** A list that can be watched: all objects of a type, everywhere or in one namespace. */
export interface Collection {
  /** `/apis/nomad-access.io/v1alpha1/aclpolicies`, `/api/v1/namespaces/apps/secrets` */
  readonly path: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** What happens to a collection, told in order. */
export interface CollectionHandler<T extends KubernetesObject> {
  /** All that there is, as of a list: what is not among it is gone. Told first, and again whenever events may be missing. */
  replaced(objects: readonly T[]): void;
  /** New, or not what it was. */
  changed(object: T): void;
  /** Gone, or no longer selected. @param object its last state. */
  removed(object: T): void;
  /** It can't be followed now, and why; undefined: it can again. Told each time that changes. */
  trouble?(why: string | undefined): void;
}

/** `merge`: RFC 7386; `json`: RFC 6902; `apply`: server-side apply, which takes over what others hold of the fields named. */
export type PatchType = 'merge' | 'json' | 'apply';

/** Paths begin with `/api/` or `/apis/` and name one object or a collection. */
export interface KubernetesApi {
  /** @returns undefined for 404. @throws TargetError */
  get<T>(path: string, signal?: AbortSignal): Promise<T | undefined>;
  /** All objects, by pages; begins anew where a page has expired. @throws TargetError */
  list<T extends KubernetesObject>(collection: Collection, signal?: AbortSignal): Promise<readonly T[]>;
  /** Not idempotent. @throws TargetError; status 409 where it exists already. */
  create<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T>;
  /** With `metadata.resourceVersion` a check-and-set. @throws TargetError; status 409 where the object is not as it was. */
  replace<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T>;
  /**
   * With `metadata.resourceVersion` in the body a check-and-set.
   * @returns undefined for 404. @throws TargetError; status 409 as above, 422 where the result is invalid.
   */
  patch<T>(path: string, type: PatchType, body: unknown, signal?: AbortSignal): Promise<T | undefined>;
  /** @param uid, @param resourceVersion preconditions. A missing object is no error. @throws TargetError; 409 where one fails. */
  delete(path: string, preconditions?: { readonly uid?: string; readonly resourceVersion?: string }): Promise<void>;
  /**
   * Follows a collection until the signal is aborted: a paged list, then a watch with bookmarks.
   *
   * Guarantees: no change goes unseen, whatever breaks in between (a reset, a silent connection, an expired resource version,
   * a restarted server); a failure is tried again with a growing, jittered delay; never throws.
   */
  follow<T extends KubernetesObject>(
    collection: Collection,
    handler: CollectionHandler<T>,
    signal: AbortSignal,
  ): Promise<void>;
}

/** Whether a resource version is a later one: they are whole numbers of any length. */
export function isNewer(version: string, than: string): boolean {
  return version.length === than.length ? version > than : version.length > than.length;
}

/** Who we are to server-side apply. */
export const FIELD_MANAGER = 'nomad-access';
