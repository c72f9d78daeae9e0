import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startGateway, type Gateway } from './gateway.ts';
import { LiveNomad } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import { numberedPolicies, Workspace } from './workspace.ts';

/** Enough for the event stream to be let go, and made before it would be had again all the same. */
const COUNT = 500;

describe.skipIf(!requireServers('nomad'))('while much is written', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let way: Gateway;
  let workspace: Workspace;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
  });
  afterAll(() => nomad.stop());
  beforeEach(async () => {
    way = await startGateway(nomad.address);
    workspace = new Workspace({ nomad: { address: way.address, token: nomad.token } });
  });
  afterEach(async () => {
    workspace.dispose();
    await way.close();
  });
  const operators = useOperators();

  it('the stream is let go, and what others change meanwhile is put back all the same', async () => {
    workspace.write('policies.yaml', ...numberedPolicies(COUNT));
    let isChanged: Promise<unknown> | undefined;
    let writes = 0;
    let streams = 0;
    way.decide(({ method, path }) => {
      if (path.startsWith('/v1/event/stream')) streams++;
      // p0 was the first that was written, and half of the others are still to come.
      if (method === 'PUT' && ++writes === COUNT / 2)
        isChanged = live.putPolicy('p0', 'namespace "default" { policy = "write" }');
      return 'pass';
    });
    const operator = await operators.start(workspace);
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 1);
    await isChanged;
    expect(await live.rulesOf('p0')).toContain('read');
    await operator.until(readySeries('AclPolicy'), COUNT);
    expect(way.writes()).toHaveLength(COUNT + 1);
    await vi.waitFor(
      () => {
        expect(streams).toBe(2);
      },
      { timeout: 30_000, interval: 50 },
    );

    // And it stands again.
    await live.putPolicy('p1', 'namespace "default" { policy = "write" }');
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 2);
    expect(await live.rulesOf('p1')).toContain('read');
  });
});
