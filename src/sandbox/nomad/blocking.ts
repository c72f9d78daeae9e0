import type { Reply, Request } from '../http.ts';
import type { Indexed, Store, Table } from './store.ts';

/** Replies with an index, and reads that wait for the next one (blocking queries). */

/** Longest wait of a blocking query; milliseconds. */
const LONGEST_WAIT = 300_000;

/** What was just written. */
export function written<T extends Indexed>(row: T): Reply {
  return indexed(row.ModifyIndex, row);
}

export function indexed(index: number, body?: unknown): Reply {
  return { status: 200, headers: { 'x-nomad-index': String(index) }, ...(body !== undefined && { body }) };
}

/** One object; with `index` it waits until the object has changed, has come or is gone. */
export async function single<T extends Indexed>(
  store: Store,
  request: Request,
  table: Table<T>,
  key: string,
  missing: string,
  shown: (row: T) => unknown = (row) => row,
): Promise<Reply> {
  const before = table.rows.get(key);
  const isChanged = (): boolean => table.rows.get(key) !== before;
  await movedOn(store, request, before?.ModifyIndex ?? table.lastIndex, isChanged);
  const row = table.rows.get(key);
  if (row !== undefined) return indexed(row.ModifyIndex, shown(row));
  return { ...indexed(table.lastIndex, missing), status: 404 };
}

/** A whole list; with `index` it waits until the table has changed. */
export async function list<T extends Indexed>(
  store: Store,
  request: Request,
  table: Table<T>,
  stubs: () => unknown[],
): Promise<Reply> {
  await movedOn(store, request, table.lastIndex, changed(table));
  return indexed(table.lastIndex, stubs());
}

/** Waits, where the index that is asked for has been reached already, until something changes or the time is over. */
export function movedOn(store: Store, request: Request, current: number, isChanged: () => boolean): Promise<void> {
  const index = Number(request.query.get('index') ?? 0);
  if (index < 1 || current > index) return Promise.resolve();
  return new Promise((done) => {
    const finish = (): void => {
      clearTimeout(timer);
      stop();
      done();
    };
    const timer = setTimeout(finish, waitOf(request));
    const stop = store.listen(() => {
      if (isChanged()) finish();
    });
  });
}

/** Whether a table has changed since this was asked for. */
export function changed(table: { readonly lastIndex: number }): () => boolean {
  const before = table.lastIndex;
  return () => table.lastIndex > before;
}

/** How long a blocking query may wait; milliseconds. */
export function waitOf(request: Request): number {
  const [, amount, unit] = /^([0-9.]+)(ms|s|m)$/.exec(request.query.get('wait') ?? '') ?? [];
  if (amount === undefined) return LONGEST_WAIT;
  return Math.min(LONGEST_WAIT, Number(amount) * (unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000));
}
