import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { readySeries, useOperators } from './operators.ts';
import { manifest, Workspace } from './workspace.ts';

const COUNT = 300;

describe.skipIf(!requireServers('nomad'))(
  'a Nomad that lets one client have fewer connections than are declared',
  () => {
    let nomad: NomadServer;
    let workspace: Workspace;

    beforeAll(async () => {
      nomad = await startNomad({ client: false, config: 'limits { http_max_conns_per_client = 20 }' });
    });
    afterAll(() => nomad.stop());
    beforeEach(() => {
      workspace = new Workspace({ nomad });
    });
    afterEach(() => {
      workspace.dispose();
    });
    const operators = useOperators();

    it('is asked for less at once, and nothing fails', async () => {
      workspace.write(
        'tokens.yaml',
        ...Array.from({ length: COUNT }, (_, i) =>
          manifest('AclToken', `t${String(i)}`, 'policies: [p]\nwriteSecretTo: { none: {} }'),
        ),
      );
      const operator = await operators.start(workspace);
      await operator.until(readySeries('AclToken'), COUNT);
      const refused = 'nomad_access_requests_total{target="nomad",connection="default",verb="POST",status="429"}';
      expect(await operator.metric(refused)).toBeGreaterThan(0);
      expect(operator.lines().filter(({ level }) => level !== 'info')).toEqual([]);
      const made = 'nomad_access_requests_total{target="nomad",connection="default",verb="POST",status="200"}';
      expect(await operator.metric(made)).toBe(COUNT);
    });
  },
);
