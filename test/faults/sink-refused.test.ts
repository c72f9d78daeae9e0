import { describe, expect, it } from 'vitest';
import { heldSecrets } from './sinks.ts';
import { Simulation } from './simulation.ts';

const SINK = '/sinks/t0';

describe('a token whose sink is somebody else’s', () => {
  it('is made as soon as the sink is free, and not before', async () => {
    const s = new Simulation(0);
    const tokens = (): number => s.nomad.acl.tokens.rows.size;
    const others = tokens();
    s.files.set(SINK, { content: 'precious', mode: 0o644 });
    s.declare({ 'AclToken t0': { policies: ['p0'], writeSecretTo: { file: { path: SINK } } } });
    s.start();
    await s.run(60_000);
    expect(tokens(), s.log.join('\n')).toBe(others);
    s.files.delete(SINK);
    await s.run(60_000);
    expect(tokens(), s.log.join('\n')).toBe(others + 1);
    expect(heldSecrets(s).has(SINK)).toBe(true);
    s.end();
  });
});
