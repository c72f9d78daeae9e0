import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MOST_WAITS, Pace } from '../../../src/sources/directory/pace.ts';

const QUIET = 50;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Milliseconds that a wait takes, with a change at each of these times after its start. */
async function waits(pace: Pace, changes: readonly number[], until = Infinity): Promise<number> {
  const started = performance.now();
  for (const at of changes) setTimeout(pace.changed, at);
  const done = pace.wait(until).then(() => performance.now() - started);
  await vi.runAllTimersAsync();
  return done;
}

const every = (ms: number, count: number): number[] => Array.from({ length: count }, (_, i) => i * ms);

describe('the time to look again', () => {
  const pace = (): Pace => new Pace(QUIET, new AbortController().signal);

  it('is when it was quiet after a change', async () => {
    expect(await waits(pace(), [100])).toBe(100 + QUIET);
    expect(await waits(pace(), [100, 140, 180])).toBe(180 + QUIET);
  });

  it('comes although it is never quiet', async () => {
    expect(await waits(pace(), every(10, 500))).toBe(MOST_WAITS * QUIET);
  });

  it('is the appointed one where nothing changes', async () => {
    expect(await waits(pace(), [], performance.now() + 300)).toBe(300);
  });

  it('is at once when all is over', async () => {
    const abort = new AbortController();
    const done = new Pace(QUIET, abort.signal).wait(Infinity);
    abort.abort();
    await done;
  });
});

describe('a look that is disturbed', () => {
  it('is repeated when it is quiet', async () => {
    const pace = new Pace(QUIET, new AbortController().signal);
    pace.begin();
    expect(pace.isDisturbed()).toBe(false);
    pace.changed();
    expect(pace.isDisturbed()).toBe(true);
    expect(pace.isDue()).toBe(false);
    expect(await waits(pace, [])).toBe(QUIET);
    pace.begin();
    expect(pace.isDisturbed()).toBe(false);
  });

  it('is not repeated for ever', () => {
    const pace = new Pace(QUIET, new AbortController().signal);
    let looks = 0;
    do {
      looks++;
      pace.begin();
      vi.advanceTimersByTime(2 * QUIET);
      pace.changed();
    } while (pace.isDisturbed() && looks < 100);
    expect(looks).toBeGreaterThan(1);
    expect(looks).toBeLessThanOrEqual(MOST_WAITS);
  });
});
