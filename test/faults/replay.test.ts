import { describe, expect, it } from 'vitest';
import { runSchedule, scheduleOf, shrink } from './schedule.ts';

describe('a schedule of faults', () => {
  it.each([3, 44, 2855, 6328])(
    'replays exactly from its seed, so that a failure can be looked at (%i)',
    async (seed) => {
      globalThis.fetch = () => Promise.resolve(new Response('{"keys":[{"kty":"RSA"}]}'));
      const first = await runSchedule(seed, scheduleOf(seed));
      expect(first.length).toBeGreaterThan(10);
      expect(await runSchedule(seed, scheduleOf(seed))).toEqual(first);
    },
  );

  it('that fails is shrunk to what it fails by', async () => {
    const needed = { at: 10, what: 'impossible', choice: 0 };
    const actions = [...scheduleOf(1), needed].sort((a, b) => a.at - b.at);
    expect(await shrink(1, actions, (kept) => Promise.resolve(kept.includes(needed)))).toEqual([needed]);
  });
});
