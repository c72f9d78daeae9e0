import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSandbox } from '../../src/sandbox/index.ts';
import { CrashRig, type Sample, type Scenario } from './crash-rig.ts';
import { sampleOf, scenarios } from './crash-scenarios.ts';

const ALL: Sample = { every: 1, offset: 0 };
/** More than was asked for: a part of them each time. */
const SOME = sampleOf(3);

/** A sandbox for each, so that they can run side by side. */
async function onSandbox<T>(use: (rig: CrashRig) => Promise<T>): Promise<T> {
  const sandbox = await startSandbox({ seed: true });
  const rig = new CrashRig(sandbox);
  await rig.start();
  try {
    const result = await use(rig);
    expect(sandbox.nomad.server.snapshot().policies.map((p) => p.Name)).toContain('ops-legacy');
    return result;
  } finally {
    await rig.stop();
    await sandbox.close();
  }
}

describe.concurrent('SIGKILL at every request boundary on the sandbox', { timeout: 600_000 }, () => {
  it.each<[string, Scenario, Sample]>([
    ['while everything is made: the next apply ends in the declared state', scenarios.made, ALL],
    [
      'while everything is made, then edited: the next apply ends in what is declared now',
      scenarios.madeThenEdited,
      ALL,
    ],
    ['while a token is replaced, another deleted and policies change', scenarios.changed, ALL],
    ['while everything is destroyed: the next destroy leaves nothing', scenarios.destroyed, ALL],
    ['while what somebody deleted by hand is made again, then edited', scenarios.remadeThenEdited, ALL],
    ['while a disabled mount and deleted tokens are made again', scenarios.partlyRemade, SOME],
    ['while everything is made: a destroy then leaves nothing', scenarios.madeThenDestroyed, SOME],
    [
      'while what somebody deleted by hand is made again: a destroy then leaves nothing',
      scenarios.remadeThenDestroyed,
      SOME,
    ],
    ['while everything is destroyed: an apply then makes it again', scenarios.destroyedThenWanted, SOME],
    ['while a token is replaced: a destroy then leaves nothing', scenarios.changedThenDestroyed, ALL],
  ])('%s', async (_name, scenario, sample) => {
    expect(await onSandbox((rig) => rig.killAtBoundaries(scenario, sample))).toBeGreaterThan(5);
  });
});

describe('SIGKILL between a secret file and the inventory', () => {
  let rig: CrashRig;
  let end: () => Promise<void>;
  beforeAll(async () => {
    const sandbox = await startSandbox({ seed: true });
    rig = new CrashRig(sandbox);
    await rig.start();
    end = async () => {
      await rig.stop();
      await sandbox.close();
    };
  });
  afterAll(() => end());

  it.each([
    ['the next apply ends in the declared state', (): Promise<void> => rig.converges(['first', 'second'], '')],
    ['a destroy takes the file along', (): Promise<void> => rig.vanishes('')],
  ])('%s', async (_what, then) => {
    for (const path of ['secrets/first', 'secrets/second']) {
      await rig.killAfterFile(path);
      await then();
    }
  });

  it('and the token is deleted by hand before anybody looks: the file is still known, and gets the next one’s secret', async () => {
    await rig.killAfterFile('secrets/second');
    await rig.deleteSomeByHand();
    await rig.converges(['first', 'second'], '');
    await rig.vanishes('');
  });

  it('a file that has not got its name yet is finished by the next apply, and nothing is left beside it', async () => {
    await rig.killBeforeRename('secrets/second');
    await rig.converges(['first', 'second'], '');
    expect(rig.secretFiles()).toEqual(['first', 'second']);
  });

  it('a file that has not got its name yet is removed with its token', async () => {
    await rig.killBeforeRename('secrets/second');
    await rig.vanishes('');
    expect(rig.secretFiles()).toEqual([]);
  });
});
