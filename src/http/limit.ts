import pLimit from 'p-limit';

/**
 * How many requests of one connection are under way at once. It begins with all that is allowed, halves when the server
 * says that it is too much, and grows back by one each time a full round of requests went well. What was under way when it
 * halved counts as that one refusal; a request that got no answer counts as nothing.
 */
export class AdaptiveLimit {
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #max: number;
  #successes = 0;
  #halvings = 0;

  constructor(max: number) {
    this.#max = max;
    this.#limit = pLimit(max);
  }

  get concurrency(): number {
    return this.#limit.concurrency;
  }

  /** @param isOverload whether a failure of the work says that it was too much. */
  run<T>(work: () => Promise<T>, isOverload: (error: unknown) => boolean): Promise<T> {
    return this.#limit(async () => {
      const begun = this.#halvings;
      try {
        const result = await work();
        this.#succeeded();
        return result;
      } catch (error) {
        if (begun === this.#halvings && isOverload(error)) this.#halve();
        throw error;
      }
    });
  }

  #succeeded(): void {
    if (this.#limit.concurrency >= this.#max || ++this.#successes < this.#limit.concurrency) return;
    this.#successes = 0;
    this.#limit.concurrency++;
  }

  #halve(): void {
    this.#halvings++;
    this.#successes = 0;
    this.#limit.concurrency = Math.max(1, Math.floor(this.#limit.concurrency / 2));
  }
}
