import pLimit from 'p-limit';

/**
 * How many requests of one connection are under way at once. It begins with all that is allowed, halves when the server
 * says that it is too much, and grows back by one each time a full round of requests went well.
 */
export class AdaptiveLimit {
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #max: number;
  #successes = 0;
  /** Requests that were under way when the limit was last halved: their refusals count as that one. */
  #settling = 0;

  constructor(max: number) {
    this.#max = max;
    this.#limit = pLimit(max);
  }

  get concurrency(): number {
    return this.#limit.concurrency;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#limit(work);
  }

  succeeded(): void {
    if (this.#settling > 0) this.#settling--;
    if (this.#limit.concurrency >= this.#max || ++this.#successes < this.#limit.concurrency) return;
    this.#successes = 0;
    this.#limit.concurrency++;
  }

  overloaded(): void {
    if (this.#settling > 0) {
      this.#settling--;
      return;
    }
    this.#settling = this.#limit.activeCount - 1;
    this.#successes = 0;
    this.#limit.concurrency = Math.max(1, Math.floor(this.#limit.concurrency / 2));
  }
}
