import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Queue } from '../../src/engine/queue.ts';
import { VirtualClock } from '../faults/virtual-clock.ts';

function make(): { queue: Queue; clock: VirtualClock; taken: () => string[][] } {
  const clock = new VirtualClock();
  const batches: string[][] = [];
  const queue: Queue = new Queue(
    clock.ofProcess(() => true),
    () => {
      batches.push([...queue.take().keys()]);
    },
  );
  return { queue, clock, taken: () => batches };
}

describe('the queue', () => {
  it('hands out nothing before it is opened, so that nothing is done from half a view', async () => {
    const { queue, clock, taken } = make();
    queue.add('a');
    await clock.runUntil(1000);
    expect([taken(), queue.take().size]).toEqual([[], 0]);
    queue.open();
    await clock.runUntil(1001);
    expect(taken()).toEqual([['a']]);
  });

  it('tells since when each key has been due, also where it could not be handed out', async () => {
    const clock = new VirtualClock();
    const queue = new Queue(
      clock.ofProcess(() => true),
      () => undefined,
    );
    queue.add('now');
    queue.add('later', 100);
    await clock.runUntil(250);
    queue.open();
    expect([...queue.take()]).toEqual([
      ['now', 0],
      ['later', 100],
    ]);
  });

  it('hands out together what became due together, in that order', async () => {
    const { queue, clock, taken } = make();
    queue.open();
    for (const key of ['b', 'a', 'b', 'c']) queue.add(key);
    await clock.runUntil(0);
    expect(taken()).toEqual([['b', 'a', 'c']]);
  });

  it('keeps the earliest deadline of a key, whichever was added last', async () => {
    const { queue, clock, taken } = make();
    queue.open();
    queue.add('a', 500);
    queue.add('a', 100);
    queue.add('a', 900);
    await clock.runUntil(99);
    expect(taken()).toEqual([]);
    await clock.runUntil(2000);
    expect(taken()).toEqual([['a']]);
  });

  it('never runs a key twice at once; what was added meanwhile runs afterwards', async () => {
    const { queue, clock, taken } = make();
    queue.open();
    queue.add('a');
    await clock.runUntil(0);
    queue.add('a');
    queue.add('a', 100);
    await clock.runUntil(50);
    expect(taken()).toHaveLength(1);
    queue.done('a');
    await clock.runUntil(51);
    expect(taken()).toEqual([['a'], ['a']]);
    queue.done('a');
    await clock.runUntil(1000);
    expect(taken()).toHaveLength(2);
  });

  it('sets no alarm once it is closed, so that a process can end', async () => {
    const { queue, clock, taken } = make();
    queue.open();
    queue.add('a', 100);
    queue.close();
    await clock.runUntil(1000);
    expect(taken()).toEqual([]);
  });

  it('runs every key at its earliest deadline, whatever the order of additions', async () => {
    const addition = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), delay: fc.integer({ min: 0, max: 50 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(addition, { minLength: 1, maxLength: 30 }), async (additions) => {
        const clock = new VirtualClock();
        const at = new Map<string, number>();
        const queue: Queue = new Queue(
          clock.ofProcess(() => true),
          () => {
            for (const key of queue.take().keys()) at.set(key, at.get(key) ?? clock.monotonic());
          },
        );
        queue.open();
        const earliest = new Map<string, number>();
        for (const { key, delay } of additions) {
          queue.add(key, delay);
          earliest.set(key, Math.min(delay, earliest.get(key) ?? Infinity));
        }
        await clock.runUntil(100);
        expect(at).toEqual(earliest);
      }),
      { numRuns: 50 },
    );
  });
});
