import type { Log } from './log.ts';

interface Connection {
  readonly kind: string;
  readonly name: string;
}

interface Known {
  isSynced: boolean;
  /** Why it was not synced since it last was: each reason is told once. */
  readonly told: Set<string>;
}

/** Different reasons of one outage that are told. */
const MOST_REASONS = 8;

/** Lines about connections: transitions only. */
export class ConnectionLines {
  readonly #log: Log;
  readonly #known = new Map<string, Known>();

  constructor(log: Log) {
    this.#log = log;
  }

  synced(connection: Connection, isSynced: boolean, error?: string): void {
    const key = `${connection.kind} ${connection.name}`;
    const known = this.#known.get(key);
    if (!isSynced) {
      this.#notSynced(key, connection, error);
      return;
    }
    if (known?.isSynced === true) return;
    this.#known.set(key, { isSynced: true, told: new Set() });
    this.#log.info(`synced ${key}`, { ...connection });
  }

  disconnected(connection: Connection): void {
    const key = `${connection.kind} ${connection.name}`;
    if (!this.#known.delete(key)) return;
    this.#log.info(`disconnected ${key}: it is declared no more`, { ...connection });
  }

  /** At the start a connection is not synced yet; that is no news without an error. */
  #notSynced(key: string, connection: Connection, error: string | undefined): void {
    const known = this.#known.get(key) ?? { isSynced: false, told: new Set<string>() };
    const isLoss = known.isSynced;
    known.isSynced = false;
    this.#known.set(key, known);
    const signature = (error ?? '').replace(/\d+/g, '#');
    const isNews = error !== undefined && !known.told.has(signature) && known.told.size < MOST_REASONS;
    if (!isLoss && !isNews) return;
    if (error !== undefined) known.told.add(signature);
    const what = isLoss ? 'lost sync with' : 'not in sync with';
    this.#log.warn(`${what} ${key}${error === undefined ? '' : `: ${error}`}`, { ...connection });
  }
}
