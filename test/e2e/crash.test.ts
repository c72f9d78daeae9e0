import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSandbox, type Sandbox } from '../../src/sandbox/index.ts';
import { CrashRig } from './crash-cases.ts';

describe('SIGKILL in the middle of an apply on the sandbox', () => {
  let sandbox: Sandbox;
  let rig: CrashRig;

  beforeAll(async () => {
    sandbox = await startSandbox({ seed: true });
    rig = new CrashRig(sandbox);
    await rig.start();
  });
  afterAll(async () => {
    await rig.stop();
    await sandbox.close();
  });

  it('at every single request boundary: the next apply ends in the declared state', async () => {
    rig.declare();
    const requests = await rig.requestsOfAnApply();
    let killed = 0;
    for (let index = 1; index <= requests; index++) {
      for (const phase of ['before', 'after'] as const) {
        await rig.reset();
        if (await rig.killAt(index, phase)) killed++;
        await rig.converges(['first', 'second'], `killed ${phase} request ${String(index)}`);
      }
    }
    expect(killed).toBe(2 * requests);
    expect(sandbox.nomad.server.snapshot().policies.map((p) => p.Name)).toContain('ops-legacy');
  }, 600_000);
});
