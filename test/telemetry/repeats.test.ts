import { expect, it } from 'vitest';
import { Repeats } from '../../src/telemetry/repeats.ts';

it('an object that failed long ago and is gone takes no memory for ever', () => {
  let now = 0;
  const repeats = new Repeats(() => now);
  for (let i = 0; i < 1_000; i++) repeats.failed(`object-${String(i)}`, 'no');
  now = 25 * 3_600_000;
  repeats.failed('another', 'no');
  expect(repeats.size).toBe(1);
});

it('an object that still fails is not forgotten', () => {
  let now = 0;
  const repeats = new Repeats(() => now);
  for (; now < 30 * 3_600_000; now += 1_800_000) {
    repeats.failed('object', 'no');
    repeats.failed(`passing-${String(now)}`, 'no');
  }
  expect(repeats.over('object')).toBe(60);
});
