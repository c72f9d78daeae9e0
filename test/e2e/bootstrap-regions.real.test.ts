import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

/** Two regions of which nobody has bootstrapped any, and so none can have a token to replicate with. In this order. */
describe.skipIf(!requireServers('nomad'))('bootstrapping by an agent of another than the authoritative region', () => {
  let east: NomadServer;
  let west: NomadServer;
  let workspace: Workspace;

  beforeAll(async () => {
    const bare = { client: false, bootstrap: false };
    const authority = 'authoritative_region = "east"';
    east = await startNomad({ ...bare, region: 'east', config: `server { ${authority} }` });
    const join = `server_join {\nretry_join = ["127.0.0.1:${String(east.ports.serf)}"]\nretry_interval = "1s"\n}`;
    west = await startNomad({ ...bare, region: 'west', config: `server {\n${authority}\n${join}\n}` });
    await vi.waitFor(async () => {
      expect(await (await fetch(`${west.address}/v1/regions`)).json()).toEqual(['east', 'west']);
    }, 60_000);
    workspace = new Workspace({ nomad: { address: west.address, token: '' } });
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([east.stop(), west.stop()]);
  });

  const declare = (region: string): void => {
    const spec = `address: ${west.address}\nregion: ${region}\nauth: { tokenFile: token }\nbootstrap: {}`;
    workspace.write('nomad.yaml', manifest('NomadCluster', 'default', spec));
  };
  const readToken = (): string => readFileSync(join(workspace.manifests, 'token'), 'utf8').trim();

  it('the authoritative one is bootstrapped; that the other has not heard of the token is said, and the token kept', async () => {
    declare('west');
    for (const said of ['does the replication lag?', 'knows it once it is replicated']) {
      const { code, stderr } = await workspace.run('bootstrap', '-f', 'manifests');
      expect([code, stderr]).toEqual([1, expect.stringContaining(said)]);
    }
    const tokens = await new LiveNomad({ address: east.address, token: readToken() }).tokens();
    expect(tokens.map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
  });

  it('declared for the authoritative region, it is in order', async () => {
    declare('east');
    const before = readToken();
    const { code, stdout } = await workspace.run('bootstrap', '-f', 'manifests');
    expect([code, stdout]).toEqual([0, expect.stringContaining('nothing to do')]);
    expect(readToken()).toBe(before);
  });
});
