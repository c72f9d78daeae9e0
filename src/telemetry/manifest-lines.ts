import { positionText, type ManifestError } from '../contract/resource.ts';
import type { Log } from './log.ts';

/** Lines about the manifests: an error once while it lasts, and once when it is gone; deletions that are held back. */
export class ManifestLines {
  readonly #log: Log;
  #errors: ReadonlyMap<string, ManifestError> = new Map();
  #count: number | undefined;
  #held = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  desired(count: number, errors: readonly ManifestError[], held: number): void {
    this.#counted(count);
    this.#judged(keyed(errors));
    this.#holding(held);
  }

  /** The first reading is news; later on each change has its own line. */
  #counted(count: number): void {
    if (count === this.#count) return;
    const level = this.#count === undefined ? 'info' : 'debug';
    this.#count = count;
    this.#log[level](`${resources(count)} declared`, { declared: count });
  }

  #judged(errors: ReadonlyMap<string, ManifestError>): void {
    const before = this.#errors;
    this.#errors = errors;
    for (const [key, error] of errors) {
      if (before.has(key)) continue;
      const { message: _message, ...fields } = error;
      this.#log.error(`${positionText(error)}: ${about(error)}`, fields);
    }
    for (const [key, error] of before) {
      if (errors.has(key)) continue;
      this.#log.info(`${error.file}: no more: ${about(error)}`, { file: error.file, path: error.path });
    }
  }

  #holding(held: number): void {
    if (held === this.#held) return;
    this.#held = held;
    if (held === 0) this.#log.info('no deletions are held back any more', { held });
    else this.#log.warn(`${deletions(held)} held back: --allow-mass-delete lets them through`, { held });
  }
}

function about({ path, message }: ManifestError): string {
  return path === '' ? message : `${path}: ${message}`;
}

function resources(count: number): string {
  return count === 1 ? '1 resource' : `${String(count)} resources`;
}

function deletions(count: number): string {
  return count === 1 ? '1 deletion is' : `${String(count)} deletions are`;
}

/** Without line and column, which move with every edit above; equal ones of a file are told apart by their order. */
function keyed(errors: readonly ManifestError[]): Map<string, ManifestError> {
  const byKey = new Map<string, ManifestError>();
  const seen = new Map<string, number>();
  for (const error of errors) {
    const same = JSON.stringify([error.file, error.path, error.message]);
    const order = seen.get(same) ?? 0;
    seen.set(same, order + 1);
    byKey.set(`${same} ${String(order)}`, error);
  }
  return byKey;
}
