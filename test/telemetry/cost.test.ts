import { expect, it } from 'vitest';
import { createTelemetry } from '../../src/telemetry/observer.ts';
import { sheet } from './steps.ts';

it('counting a request takes a few microseconds at most: 2,000 writes a second must not wait for it', () => {
  const { observer } = createTelemetry({ version: '1', log: { stream: sheet() } });
  const rounds = 200_000;
  const count = (): number => {
    const begun = performance.now();
    for (let i = 0; i < rounds; i++) observer.requested('nomad', 'default', i % 2 === 0 ? 'GET' : 'PUT', 200, 0.003);
    return (performance.now() - begun) / rounds;
  };
  count();
  // The best of three: the machine may be busy with something else.
  const best = Math.min(count(), count(), count());
  expect(best).toBeLessThan(0.01);
});
