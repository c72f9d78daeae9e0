import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { CrashRig, type Scenario } from './crash-rig.ts';
import { sampleOf, scenarios } from './crash-scenarios.ts';

/** Every boundary is taken on the sandbox; here a sample, another one each time. */
describe.skipIf(!requireServers('nomad', 'vault'))('a command that is cut short on real servers', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let rig: CrashRig;
  const sample = sampleOf(5);

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    rig = new CrashRig({ nomad, vault });
    await rig.start();
  });
  afterAll(async () => {
    await rig.stop();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it.each<[string, Scenario]>([
    ['everything is made: the next apply ends in the declared state', scenarios.made],
    ['everything is made, then edited: the next apply ends in what is declared now', scenarios.madeThenEdited],
    ['a token is replaced, another deleted and policies change', scenarios.changed],
    ['everything is destroyed: the next destroy leaves nothing', scenarios.destroyed],
    ['what somebody deleted by hand is made again, then edited', scenarios.remadeThenEdited],
    ['what somebody deleted by hand is made again: a destroy then leaves nothing', scenarios.remadeThenDestroyed],
    ['a disabled mount and deleted tokens are made again', scenarios.partlyRemade],
  ])('SIGKILL while %s', { timeout: 300_000 }, async (_name, scenario) => {
    expect(await rig.killAtBoundaries(scenario, sample)).toBeGreaterThan(1);
  });

  it.each(['before', 'after'] as const)(
    'a connection that breaks %s a request was carried out: nothing fails and nothing is doubled',
    { timeout: 300_000 },
    async (phase) => {
      expect(await rig.loseAtBoundaries(scenarios.made, phase, sample)).toBeGreaterThan(1);
    },
  );

  it('SIGKILL between a secret file and the inventory: the next apply knows it, and a destroy takes it along', async () => {
    await rig.killAfterFile('secrets/first');
    await rig.converges(['first', 'second'], '');
    await rig.killAfterFile('secrets/second');
    await rig.vanishes('');
  });
});
