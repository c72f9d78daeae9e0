import { describe, expect, it } from 'vitest';
import { startSandbox } from '../../src/sandbox/index.ts';
import { CrashRig, type Sample, type Scenario } from './crash-rig.ts';
import { sampleOf, scenarios } from './crash-scenarios.ts';

const ALL: Sample = { every: 1, offset: 0 };

describe.concurrent('a connection that breaks once, on the sandbox: nothing fails and nothing is doubled', () => {
  it.each<[string, Scenario, 'before' | 'after', Sample]>([
    ['a request is lost while everything is made', scenarios.made, 'before', ALL],
    ['a reply is lost while everything is made', scenarios.made, 'after', ALL],
    ['a request is lost while everything is destroyed', scenarios.destroyed, 'before', sampleOf(3)],
    ['a reply is lost while everything is destroyed', scenarios.destroyed, 'after', sampleOf(3)],
    ['a reply is lost while a token is replaced', scenarios.changed, 'after', sampleOf(3)],
  ])('%s', { timeout: 600_000 }, async (_name, scenario, phase, sample) => {
    const sandbox = await startSandbox({ seed: true });
    const rig = new CrashRig(sandbox);
    await rig.start();
    expect(await rig.loseAtBoundaries(scenario, phase, sample)).toBeGreaterThan(5);
    await rig.stop();
    await sandbox.close();
  });
});
