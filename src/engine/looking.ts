import { messageOf } from '../contract/errors.ts';
import type { Clock } from '../contract/clock.ts';
import { Queue } from './queue.ts';

export interface LookingOptions {
  readonly clock: Clock;
  /**
   * Reads the live objects of these resources.
   * @param seen told of each resource as soon as all of it was read.
   * @returns those that could not be read.
   */
  readonly look: (ids: readonly string[], seen: (id: string) => void) => Promise<ReadonlySet<string>>;
  readonly onSeen: (id: string) => void;
  /** It could not be read; it is tried again. */
  readonly onMissed: (id: string) => void;
  /** These are still not read after a while. */
  readonly onSlow: (ids: readonly string[]) => void;
  readonly onMistake: (message: string) => void;
}

/** Before what could not be read is tried again, all of it together; milliseconds. */
const AGAIN_MS = 5_000;
/** What takes longer is told of; milliseconds. */
export const SLOW_MS = 3_000;

/**
 * What has to be looked at before anything is done to it.
 *
 * Guarantees: a resource counts as seen only by a look that began after it was asked for; of one resource one look runs at a time;
 * what can't be read is tried again until it was read, or is forgotten.
 */
export class Looking {
  readonly #options: LookingOptions;
  readonly #queue: Queue;
  readonly #unseen = new Set<string>();

  constructor(options: LookingOptions) {
    this.#options = options;
    this.#queue = new Queue(options.clock, () => {
      const ids = [...this.#queue.take().keys()];
      void this.#look(ids).catch((error: unknown) => {
        options.onMistake(messageOf(error));
        this.#retry(ids);
      });
    });
    this.#queue.open();
  }

  /** Whether a resource still has to be looked at. */
  isUnseen(id: string): boolean {
    return this.#unseen.has(id);
  }

  /** @param delay milliseconds. */
  add(id: string, delay = 0): void {
    this.#unseen.add(id);
    this.#queue.add(id, delay);
  }

  /** It need not be looked at any more. */
  forget(id: string): void {
    this.#unseen.delete(id);
  }

  /** No look begins any more. */
  close(): void {
    this.#queue.close();
  }

  async #look(taken: readonly string[]): Promise<void> {
    const { clock, look, onMissed, onSlow } = this.#options;
    const ids = taken.filter((id) => this.#unseen.has(id));
    const cancel = clock.after(SLOW_MS, () => {
      onSlow(ids.filter((id) => this.#unseen.has(id)));
    });
    const missed = await look(ids, (id) => {
      this.#saw(id);
    }).finally(cancel);
    const left = [...missed].filter((id) => this.#unseen.has(id) && !this.#queue.waits(id));
    for (const id of left) onMissed(id);
    for (const id of taken) this.#queue.done(id);
    this.#again(left);
  }

  /** Asked for again meanwhile, it is looked at once more. */
  #saw(id: string): void {
    if (!this.#queue.waits(id) && this.#unseen.delete(id)) this.#options.onSeen(id);
  }

  #again(ids: readonly string[]): void {
    for (const id of ids) if (this.#unseen.has(id)) this.#queue.add(id, AGAIN_MS);
  }

  #retry(ids: readonly string[]): void {
    for (const id of ids) this.#queue.done(id);
    this.#again(ids);
  }
}
