import { isDeepStrictEqual } from 'node:util';
import pLimit from 'p-limit';
import type { InventoryHead, RecordedConnection } from '../contract/state.ts';

/** Requests at once, of a load and of a save. */
export const REQUESTS = 8;

/**
 * A save in parts, whenever it ends: an object's connection is stored before it, and forgotten after it.
 * @param stored the head as it is stored; undefined where there is none.
 */
export async function saveInOrder(
  stored: InventoryHead | undefined,
  head: InventoryHead,
  saveHead: (head: InventoryHead) => Promise<void>,
  writes: readonly (() => Promise<void>)[],
): Promise<void> {
  const wide = { ...head, connections: united(stored?.connections ?? [], head.connections) };
  if (!isDeepStrictEqual(wide, stored)) await saveHead(wide);
  await all(writes);
  if (!isDeepStrictEqual(head, wide)) await saveHead(head);
}

/** All are tried, few at once; the first failure is thrown after the last of them has ended. */
export async function all(works: readonly (() => Promise<void>)[]): Promise<void> {
  const limit = pLimit(REQUESTS);
  const results = await Promise.allSettled(works.map((work) => limit(work)));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason as Error;
}

/** The newer declaration of each connection, and those that only the old ones name. */
function united(
  before: readonly RecordedConnection[],
  now: readonly RecordedConnection[],
): readonly RecordedConnection[] {
  const isNamed = (c: RecordedConnection): boolean => now.some((n) => n.kind === c.kind && n.name === c.name);
  const kept = before.filter((c) => !isNamed(c));
  return kept.length === 0 ? now : [...now, ...kept];
}
