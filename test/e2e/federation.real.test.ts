import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { cleanEnvironment, runCommand } from '../servers/command.ts';
import { startFederation, type Federation } from '../servers/federation.ts';
import type { NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import { manifest, numberedPolicies, Workspace } from './workspace.ts';

const RULES = `rules: 'node { policy = "read" }'`;
const METHOD = 'type: JWT\ntokenLocality: global\nmaxTokenTtl: 1h\nconfig: { jwksUrl: "http://127.0.0.1:9/" }';
const EVERYTHING = [
  manifest('AclPolicy', 'nodes', RULES),
  manifest('AclRole', 'viewers', 'policies: [nodes]'),
  manifest('AclAuthMethod', 'sso', METHOD),
  manifest('AclBindingRule', 'all', 'authMethod: sso\nbindType: role\nbindName: viewers'),
  manifest('AclToken', 'everywhere', 'roles: [viewers]\nglobal: true\nwriteSecretTo: { file: { path: everywhere } }'),
  manifest('AclToken', 'here', 'policies: [nodes]\nwriteSecretTo: { file: { path: here } }'),
];

describe.skipIf(!requireServers('nomad'))('two federated regions', () => {
  let federation: Federation;
  let east: LiveNomad;
  let west: LiveNomad;
  let workspace: Workspace;
  const operators = useOperators();

  beforeAll(async () => {
    federation = await startFederation();
    east = new LiveNomad(federation.east);
    west = new LiveNomad(federation.west);
  });
  afterAll(() => federation.stop());
  beforeEach(() => {
    workspace = new Workspace({ nomad: federation.west });
  });
  afterEach(() => {
    workspace.dispose();
  });

  /** Of the kinds that all regions share: how many there are. */
  const shared = async (nomad: LiveNomad): Promise<Record<string, number>> => {
    const lists = ['policies', 'roles', 'auth-methods', 'binding-rules'].map(
      async (list): Promise<[string, number]> => {
        return [list, (await nomad.request<unknown[]>('GET', `/v1/acl/${list}`)).body.length];
      },
    );
    return Object.fromEntries(await Promise.all(lists));
  };
  const ONE_OF_EACH = { policies: 1, roles: 1, 'auth-methods': 1, 'binding-rules': 1 };
  const NONE = { policies: 0, roles: 0, 'auth-methods': 0, 'binding-rules': 0 };
  const mayLook = async (server: NomadServer, file: string): Promise<number> => {
    const headers = { 'x-nomad-token': workspace.read(file).trim() };
    return (await fetch(`${server.address}/v1/nodes`, { headers })).status;
  };
  async function applied(): Promise<string[]> {
    const { steps, code } = await workspace.apply();
    expect(steps.filter((s) => s.result?.status === 'failed')).toEqual([]);
    expect(code).toBe(0);
    return steps.filter(({ action }) => action !== 'noop').map((s) => `${s.action} ${s.kind}`);
  }

  it.each(['east', 'west'] as const)(
    'what is applied in the %s is in both, and changed and destroyed there',
    async (region) => {
      workspace.retarget({ nomad: federation[region] });
      workspace.write('all.yaml', ...EVERYTHING);
      expect((await applied()).length).toBe(8);
      expect(await applied(), 'what has just come is not taken for drift').toEqual([]);
      expect(await shared(east)).toEqual(ONE_OF_EACH);
      await vi.waitFor(async () => {
        expect(await shared(west)).toEqual(ONE_OF_EACH);
      }, 30_000);
      workspace.write('all.yaml', ...EVERYTHING.map((text) => text.replace('"read"', '"write"').replace('1h', '2h')));
      expect(await applied()).toEqual(['update AclPolicy', 'update AclAuthMethod']);
      expect(await applied()).toEqual([]);
      await workspace.destroy();
      expect(await shared(east)).toEqual(NONE);
      await vi.waitFor(async () => {
        expect([await shared(west), await west.marked(), await east.marked()]).toEqual([NONE, [], []]);
      }, 30_000);
    },
  );

  it('a global token works in both, and a local one in its own', async () => {
    workspace.write('all.yaml', ...EVERYTHING);
    await applied();
    expect(await mayLook(federation.west, 'everywhere')).toBe(200);
    expect(await mayLook(federation.east, 'everywhere')).toBe(200);
    expect(await mayLook(federation.west, 'here')).toBe(200);
    expect(await mayLook(federation.east, 'here')).toBe(403);
    expect((await east.marked()).map((t) => t.Name.split(' ')[0])).toEqual(['everywhere']);
    await workspace.destroy();
  });

  it('a region that is named is asked by way of a server of the other one', async () => {
    workspace.retarget({ nomad: federation.east });
    const cluster = `address: ${federation.east.address}\nregion: west\nauth: { tokenEnv: NOMAD_TOKEN }`;
    workspace.write('all.yaml', manifest('NomadCluster', 'default', cluster), ...EVERYTHING);
    await applied();
    expect(await mayLook(federation.west, 'here')).toBe(200);
    expect(await mayLook(federation.east, 'here')).toBe(403);
    await workspace.destroy();
    expect([await shared(west), await west.marked()]).toEqual([NONE, []]);
  });

  it('an operator of a replica writes each object once, and puts back once what was changed in the other region', async () => {
    const names = numberedPolicies(100);
    workspace.write('all.yaml', ...names);
    const operator = await operators.start(workspace);
    await operator.until(readySeries('AclPolicy'), 100);
    const stubs = async (): Promise<{ Name: string; CreateIndex: number; ModifyIndex: number; Hash: string }[]> =>
      (
        await east.request<{ Name: string; CreateIndex: number; ModifyIndex: number; Hash: string }[]>(
          'GET',
          '/v1/acl/policies',
        )
      ).body;
    const made = await stubs();
    expect(made).toHaveLength(100);
    expect(made.filter((policy) => policy.CreateIndex !== policy.ModifyIndex)).toEqual([]);
    const [victim = expect.fail()] = made;
    await east.putPolicy(victim.Name, 'node { policy = "write" }');
    await vi.waitFor(
      async () => {
        expect((await stubs()).find((p) => p.Name === victim.Name)?.Hash).toBe(victim.Hash);
      },
      { timeout: 30_000, interval: 20 },
    );
    await operator.until('nomad_access_drift_corrected_total{kind="AclPolicy"}', 1);
    const puts = 'nomad_access_requests_total{target="nomad",connection="default",verb="PUT",status="200"}';
    expect(await operator.metric(puts)).toBe(101);
    await operator.stop();
    expect(await applied()).toEqual([]);
    await workspace.destroy();
  });

  it('a global token that rotates is known in both before its readers find it', async () => {
    workspace.retarget({ nomad: federation.east });
    const rotating = 'rotation: { interval: 6s, overlap: 5s }\nwriteSecretTo: { file: { path: rotating } }';
    workspace.write(
      'all.yaml',
      manifest('AclPolicy', 'nodes', RULES),
      manifest('AclToken', 'rotating', `policies: [nodes]\nglobal: true\n${rotating}`),
    );
    await applied();
    await vi.waitFor(async () => {
      expect(await mayLook(federation.west, 'rotating')).toBe(200);
    }, 30_000);
    const operator = await operators.start(workspace);
    const seen = new Set<string>();
    while (seen.size < 6) {
      const began = performance.now();
      const secret = workspace.read('rotating').trim();
      seen.add(secret);
      const isAccepted = await west.accepts(secret);
      // Whoever keeps a secret for longer than the overlap was warned.
      if (performance.now() - began < 5_000) expect([seen.size, isAccepted]).toEqual([seen.size, true]);
    }
    await operator.stop();
    await workspace.destroy();
  });

  it('imported together, what they share is imported once: nothing is declared twice, and a plan says nothing to do', async () => {
    workspace.write('all.yaml', ...EVERYTHING);
    await applied();
    const { body } = await east.request<{ AccessorID: string }>('POST', '/v1/acl/token', {
      Name: 'of the east',
      Type: 'client',
      Policies: ['nodes'],
    });
    const cluster = (region: 'east' | 'west'): string =>
      manifest('NomadCluster', region, `address: ${federation[region].address}\nauth: { tokenEnv: NOMAD_TOKEN }`);
    const connections = join(workspace.folder, 'connections.yaml');
    writeFileSync(connections, [cluster('east'), cluster('west')].join('---\n'));
    const given = ['-f', connections, '--allow-address', federation.east.address];
    const found = await workspace.run('import', '--out', 'found', ...given);
    expect([found.code, found.stderr]).toEqual([0, expect.stringContaining('west is of one federation with east')]);
    // Of tokens: one of each region, and two for both, of which one is that of the replication.
    expect(found.stdout).toContain('AclPolicy: 1\nAclRole: 1\nAclToken: 4\nAclAuthMethod: 1\n');
    const { stdout } = await workspace.run('plan', '-f', 'found', '--state', 'found.json', '-o', 'json', ...given);
    const { steps } = JSON.parse(stdout) as { steps: { action: string; reason: string }[] };
    expect(new Set(steps.map((s) => `${s.action} ${s.reason}`))).toEqual(new Set(['noop Adopted']));
    await east.request('DELETE', `/v1/acl/token/${body.AccessorID}`);
    await workspace.destroy();
  });

  it('manifests/examples/multi-region does what it says', async () => {
    const { east: first, west: second } = federation;
    const addresses = { 'http://east.example.com:4646': first.address, 'http://west.example.com:4646': second.address };
    for (const file of ['clusters.yaml', 'access.yaml']) {
      const text = readFileSync(join(import.meta.dirname, '../../manifests/examples/multi-region', file), 'utf8');
      workspace.write(
        file,
        Object.entries(addresses).reduce((t, [from, to]) => t.replaceAll(from, to), text),
      );
    }
    const allowed = ['--allow-address', first.address, '--allow-address', second.address];
    expect((await workspace.apply(...allowed)).code).toBe(0);
    expect((await workspace.plan(...allowed, '--detailed-exitcode')).code).toBe(0);
    const status = async (server: NomadServer, file: string): Promise<number> => {
      const token = workspace.read(`secrets/${file}.token`).trim();
      const env = cleanEnvironment({ NOMAD_ADDR: server.address, NOMAD_TOKEN: token });
      return (await runCommand(server.bin, ['node', 'status'], { env })).code;
    };
    // It was made in the east, and comes to the west a moment later.
    await vi.waitFor(async () => {
      expect([await status(first, 'operations'), await status(second, 'operations')]).toEqual([0, 0]);
    }, 30_000);
    expect([await status(first, 'operations-west'), await status(second, 'operations-west')]).toEqual([1, 0]);
    expect((await workspace.destroy(...allowed)).code).toBe(0);
    // It was deleted through the east, and goes from the west a moment later.
    await vi.waitFor(async () => {
      expect([await shared(east), await east.marked(), await west.marked()]).toEqual([NONE, [], []]);
    }, 30_000);
  });

  describe('between which nothing is replicated any more', () => {
    beforeAll(() => federation.sever());

    it('a global token that is made and still under way is not made twice', async () => {
      workspace.retarget({ nomad: federation.east });
      workspace.write('all.yaml', ...EVERYTHING.filter((text) => /AclPolicy|AclRole|everywhere/.test(text)));
      await applied();
      const made = await east.marked();
      expect(made).toHaveLength(1);
      // Whoever acts now knows nothing of it, not even by the place of its secret.
      workspace.remove('.nomad-access.state.json');
      workspace.remove('everywhere');
      workspace.retarget({ nomad: federation.west });
      workspace.write(
        'all.yaml',
        EVERYTHING.find((text) => text.includes('everywhere'))?.replace('roles: [viewers]', 'policies: [nodes]') ?? '',
      );
      const { steps, code } = await workspace.apply();
      expect(code).toBe(1);
      expect(JSON.stringify(steps)).toContain('still on its way here');
      expect(await east.marked()).toEqual(made);
    });

    it('what does not come to the region is an error that says so', async () => {
      workspace.write('all.yaml', manifest('AclPolicy', 'late', RULES));
      const { steps, code } = await workspace.apply();
      expect(code).toBe(1);
      expect(steps[0]?.result?.message).toContain('does the replication from the authoritative region work?');
      expect(await east.policyNames()).toContain('late');
    });
  });
});
