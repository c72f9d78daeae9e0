import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { AccessCrashRig } from './access-crash-rig.ts';
import type { Scenario } from './crash-rig.ts';
import { sampleOf, scenarios } from './crash-scenarios.ts';

/** More of the boundaries are taken on the sandbox; here a sample, another one each time. */
describe.skipIf(!requireServers('nomad', 'vault'))(
  'roles, auth methods, binding rules and a Nomad engine of Vault, under a command that is cut short on real servers',
  () => {
    let nomad: NomadServer;
    let vault: VaultServer;
    let rig: AccessCrashRig;
    const sample = sampleOf(8);

    beforeAll(async () => {
      [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
      rig = new AccessCrashRig({ nomad, vault });
      await rig.start();
    });
    afterAll(async () => {
      await rig.stop();
      await Promise.all([nomad.stop(), vault.stop()]);
    });

    it.each<[string, Scenario]>([
      ['all is made: the next apply ends in the declared state', scenarios.made],
      ['a rule and a management token are replaced: the next apply ends in what is declared', scenarios.changed],
      ['all is destroyed: the next destroy leaves nothing', scenarios.destroyed],
      ['deleted tokens, roles and rules are made again', scenarios.partlyRemade],
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
  },
);
