import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { CrashRig } from './crash-cases.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('SIGKILL in the middle of an apply on real servers', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let rig: CrashRig;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    rig = new CrashRig({ nomad, vault });
    await rig.start();
  });
  afterAll(async () => {
    await rig.stop();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it('when everything is made: the next apply ends in the declared state', async () => {
    rig.declare();
    const requests = await rig.requestsOfAnApply();
    expect(requests).toBeGreaterThan(20);
    let killed = 0;
    for (let index = 1; index <= requests; index++) {
      for (const phase of ['before', 'after'] as const) {
        await rig.reset();
        if (await rig.killAt(index, phase)) killed++;
        await rig.converges(['first', 'second'], `killed ${phase} request ${String(index)}`);
      }
    }
    expect(killed).toBe(2 * requests);
  }, 600_000);

  it('when a token is replaced, another deleted and policies change', async () => {
    await rig.reset();
    expect(await rig.requestsOfAnApply()).toBeGreaterThan(20);
    rig.declareChanged();
    const requests = await rig.requestsOfAnApply();
    let killed = 0;
    for (let index = 1; index <= requests; index++) {
      await rig.reset();
      await rig.requestsOfAnApply();
      rig.declareChanged();
      if (await rig.killAt(index, 'after')) killed++;
      await rig.converges(['first'], `killed after request ${String(index)}`);
    }
    expect(killed).toBeGreaterThan(20);
  }, 600_000);

  it('when the manifests are edited before the next apply', async () => {
    await rig.reset();
    const requests = await rig.requestsOfAnApply();
    for (let index = 1; index <= requests; index++) {
      await rig.reset();
      await rig.killAt(index, 'after');
      rig.declareChanged();
      await rig.converges(['first'], `killed after request ${String(index)}, then edited`);
    }
  }, 600_000);

  it('when replies are lost instead: the same apply goes on and nothing is doubled', async () => {
    await rig.reset();
    const requests = await rig.requestsOfAnApply();
    for (let index = 1; index <= requests; index++) {
      await rig.reset();
      await rig.loseReplyOf(index);
      await rig.converges(['first', 'second'], `lost the reply to request ${String(index)}`);
    }
  }, 600_000);
});
