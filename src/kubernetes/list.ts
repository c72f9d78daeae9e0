import { TargetError } from '../contract/errors.ts';
import type { Collection, KubernetesObject } from '../contract/kubernetes.ts';
import type { Connection } from './connection.ts';
import { refusal, unreadable } from './refusal.ts';

/** A list as of one moment. */
export interface Listed<T> {
  readonly objects: readonly T[];
  /** What a watch goes on from. */
  readonly version: string;
}

interface Page<T> {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[] | null;
}

const PAGE = 500;
/** How often a list is begun anew because the server forgot where it was. */
const TRIES = 3;

/** All objects of a collection, by pages, all as of the first one. @throws TargetError */
export async function listAll<T extends KubernetesObject>(
  connection: Connection,
  collection: Collection,
  signal: AbortSignal | undefined,
): Promise<Listed<T>> {
  for (let left = TRIES - 1; ; left--) {
    try {
      return await pages<T>(connection, collection, signal);
    } catch (error) {
      if (left === 0 || !(error instanceof TargetError) || error.status !== 410) throw error;
    }
  }
}

async function pages<T extends KubernetesObject>(
  connection: Connection,
  collection: Collection,
  signal: AbortSignal | undefined,
): Promise<Listed<T>> {
  const objects: T[] = [];
  let next: string | undefined;
  for (;;) {
    const page = await pageOf<T>(connection, collection, next, signal);
    for (const item of page.items ?? []) objects.push(whole(page, item));
    next = page.metadata.continue;
    if (!next) return { objects, version: page.metadata.resourceVersion };
  }
}

async function pageOf<T>(
  connection: Connection,
  collection: Collection,
  next: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Page<T>> {
  const query = { limit: String(PAGE), ...(next !== undefined && { continue: next }) };
  const request = { method: 'GET', path: collectionPath(collection, query), headers: {}, idempotent: true } as const;
  const response = await connection.request({ ...request, signal });
  const named = { method: 'GET', address: connection.address, path: collection.path } as const;
  if (response.status !== 200) throw refusal(named, response);
  try {
    return JSON.parse(response.text) as Page<T>;
  } catch {
    throw unreadable(named, response);
  }
}

/** Path and query of a collection. */
export function collectionPath(collection: Collection, query: Readonly<Record<string, string>>): string {
  const { path, labelSelector, fieldSelector } = collection;
  const all = { ...query, ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }) };
  return `${path}?${new URLSearchParams(all).toString()}`;
}

/** Of the kinds that are built in, the objects of a list do not say what they are. */
function whole<T extends KubernetesObject>(page: Page<T>, item: T): T {
  const { apiVersion, kind } = page;
  const named = item.kind === undefined && kind?.endsWith('List') === true;
  const typed = named && apiVersion !== undefined ? { apiVersion, kind: kind.slice(0, -'List'.length), ...item } : item;
  return withoutManagedFields(typed);
}

/** They can be larger than all the rest, and nobody reads them. */
export function withoutManagedFields<T>(object: T): T {
  const metadata = (object as { metadata?: { managedFields?: unknown } } | null)?.metadata;
  if (metadata !== undefined) delete metadata.managedFields;
  return object;
}
