import { describe, expect, it } from 'vitest';
import { AdaptiveLimit } from '../../src/http/limit.ts';

const TOO_MUCH = new Error('429');
const LOST = new Error('ECONNRESET');
const isOverload = (error: unknown): boolean => error === TOO_MUCH;

/** Requests under way, each ended by hand. */
class Requests {
  readonly limit: AdaptiveLimit;
  readonly ends: { succeed: () => void; fail: (error: Error) => void }[] = [];

  constructor(max: number) {
    this.limit = new AdaptiveLimit(max);
  }

  /** @returns how many of them are under way. */
  async begin(count: number): Promise<number> {
    const before = this.ends.length;
    for (let i = 0; i < count; i++) {
      this.limit
        .run(
          () =>
            new Promise<void>((succeed, fail) => {
              this.ends.push({ succeed, fail });
            }),
          isOverload,
        )
        .catch(() => undefined);
    }
    await settled();
    return this.ends.length - before;
  }

  async succeed(count: number): Promise<void> {
    for (const end of this.ends.splice(0, count)) end.succeed();
    await settled();
  }

  async fail(count: number, error: Error): Promise<void> {
    for (const end of this.ends.splice(0, count)) end.fail(error);
    await settled();
  }
}

/** Everything that follows from promises has happened. */
const settled = (): Promise<void> => new Promise((done) => setImmediate(done));

describe('how many requests are under way at once', () => {
  it('at first all that are allowed, and no more', async () => {
    expect(await new Requests(4).begin(10)).toBe(4);
  });

  it('half of them when the server says that it is too much, but never none', async () => {
    const requests = new Requests(5);
    const seen: number[] = [];
    for (let i = 0; i < 4; i++) {
      await requests.begin(1);
      await requests.fail(1, TOO_MUCH);
      seen.push(requests.limit.concurrency);
    }
    expect(seen).toEqual([2, 1, 1, 1]);
  });

  it('a burst of refusals that were under way together halves once: one overload must not end in a crawl', async () => {
    const requests = new Requests(8);
    await requests.begin(8);
    await requests.fail(8, TOO_MUCH);
    expect(requests.limit.concurrency).toBe(4);
  });

  it('a refusal of what began after the halving halves again', async () => {
    const requests = new Requests(8);
    await requests.begin(1);
    await requests.fail(1, TOO_MUCH);
    await requests.begin(1);
    await requests.fail(1, TOO_MUCH);
    expect(requests.limit.concurrency).toBe(2);
  });

  it('requests that were lost do not hide the next refusals', async () => {
    const requests = new Requests(8);
    await requests.begin(8);
    await requests.fail(1, TOO_MUCH);
    await requests.fail(7, LOST);
    expect(requests.limit.concurrency).toBe(4);
    await requests.begin(1);
    await requests.fail(1, TOO_MUCH);
    expect(requests.limit.concurrency).toBe(2);
  });

  it('a lost request alone does not slow down: it says nothing about the load', async () => {
    const requests = new Requests(8);
    await requests.begin(8);
    await requests.fail(8, LOST);
    expect(requests.limit.concurrency).toBe(8);
  });

  it('one more each time a full round went well, up to what is allowed', async () => {
    const requests = new Requests(4);
    await requests.begin(1);
    await requests.fail(1, TOO_MUCH);
    const rounds: number[] = [];
    for (let i = 0; i < 9; i++) {
      await requests.begin(1);
      await requests.succeed(1);
      rounds.push(requests.limit.concurrency);
    }
    expect(rounds).toEqual([2, 3, 3, 3, 4, 4, 4, 4, 4]);
  });
});
