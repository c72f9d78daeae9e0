import { describe, expect, it } from 'vitest';
import { startSandbox } from '../../src/sandbox/index.ts';
import { AccessCrashRig } from './access-crash-rig.ts';
import type { Sample, Scenario } from './crash-rig.ts';
import { sampleOf, scenarios } from './crash-scenarios.ts';

const SOME: Sample = sampleOf(6);

describe.concurrent(
  'SIGKILL at request boundaries of roles, auth methods, binding rules and a Nomad engine of Vault, on the sandbox',
  { timeout: 600_000 },
  () => {
    it.each<[string, Scenario]>([
      ['while all is made: the next apply ends in the declared state', scenarios.made],
      ['while all is made: a destroy then leaves nothing', scenarios.madeThenDestroyed],
      ['while a rule and a management token are replaced: the next apply ends in what is declared', scenarios.changed],
      [
        'while a rule and a management token are replaced: a destroy then leaves nothing',
        scenarios.changedThenDestroyed,
      ],
      ['while all is destroyed: the next destroy leaves nothing', scenarios.destroyed],
      ['while all is destroyed: an apply then makes it again', scenarios.destroyedThenWanted],
      ['while what somebody deleted by hand is made again, then edited', scenarios.remadeThenEdited],
      ['while deleted tokens, roles and rules are made again', scenarios.partlyRemade],
    ])('%s', async (_name, scenario) => {
      const sandbox = await startSandbox();
      const rig = new AccessCrashRig(sandbox);
      await rig.start();
      try {
        expect(await rig.killAtBoundaries(scenario, SOME)).toBeGreaterThan(1);
      } finally {
        await rig.stop();
        await sandbox.close();
      }
    });
  },
);
