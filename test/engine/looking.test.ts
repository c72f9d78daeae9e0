import { describe, expect, it } from 'vitest';
import { Looking } from '../../src/engine/looking.ts';
import { settled, VirtualClock } from '../faults/virtual-clock.ts';

/** Looks that end when they are told to. */
function looking(): {
  readonly looking: Looking;
  readonly clock: VirtualClock;
  readonly looks: { readonly ids: readonly string[]; readonly end: (missed?: readonly string[]) => void }[];
  readonly told: string[];
} {
  const clock = new VirtualClock();
  const looks: { ids: readonly string[]; end: (missed?: readonly string[]) => void }[] = [];
  const told: string[] = [];
  const subject = new Looking({
    clock: clock.ofProcess(() => true),
    look: (ids, seen) =>
      new Promise((done) => {
        looks.push({
          ids,
          end: (missed = []) => {
            for (const id of ids) if (!missed.includes(id)) seen(id);
            done(new Set(missed));
          },
        });
      }),
    onSeen: (id) => told.push(`seen ${id}`),
    onMissed: (id) => told.push(`missed ${id}`),
    onSlow: (ids) => told.push(`slow ${ids.join(' ')}`),
    onMistake: (message) => told.push(message),
  });
  return { looking: subject, clock, looks, told };
}

describe('looking', () => {
  it('reads all that are due together, and tells of each', async () => {
    const { looking: subject, looks, told } = looking();
    subject.add('a');
    subject.add('b');
    expect(subject.isUnseen('a')).toBe(true);
    await settled();
    expect(looks.map(({ ids }) => ids)).toEqual([['a', 'b']]);
    looks[0]?.end();
    await settled();
    expect(told).toEqual(['seen a', 'seen b']);
    expect(subject.isUnseen('a')).toBe(false);
  });

  it('takes nothing for seen that was asked for after the look began: it may have changed since it was read', async () => {
    const { looking: subject, looks, told } = looking();
    subject.add('a');
    await settled();
    subject.add('a');
    looks[0]?.end();
    await settled();
    expect(told).toEqual([]);
    expect(subject.isUnseen('a')).toBe(true);
    looks[1]?.end();
    await settled();
    expect(told).toEqual(['seen a']);
  });

  it('tries what could not be read again together, and asks a dead server no oftener because it is asked for often', async () => {
    const { looking: subject, clock, looks } = looking();
    for (let i = 0; i < 200; i++) {
      subject.add(String(i % 10));
      await clock.runUntil(clock.monotonic() + 10);
    }
    const end = async (): Promise<void> => {
      for (const { ids, end: finish } of looks.splice(0)) finish(ids);
      await settled();
    };
    await end();
    await clock.runUntil(clock.monotonic() + 100);
    await end();
    let count = 0;
    for (let second = 0; second < 60; second++) {
      await clock.runUntil(clock.monotonic() + 1_000);
      count += looks.length;
      await end();
    }
    expect(count).toBeLessThanOrEqual(24);
  });

  it('tells of what takes long, and of nothing that was forgotten', async () => {
    const { looking: subject, clock, looks, told } = looking();
    subject.add('a');
    subject.add('b');
    await settled();
    subject.forget('b');
    await clock.runUntil(5_000);
    expect(told).toEqual(['slow a']);
    looks[0]?.end(['a', 'b']);
    await settled();
    expect(told).toEqual(['slow a', 'missed a']);
  });
});
