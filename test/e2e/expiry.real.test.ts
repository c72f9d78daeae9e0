import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace, type PlanOutput } from './workspace.ts';

/** Nomad lets no token live for less. */
const MINUTE = '1m';
const NAMES = ['first', 'second', 'named'] as const;

describe.skipIf(!requireServers('nomad'))('a token that expires', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  let accessor: string;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad });
    const token = { Name: 'named', Type: 'client', Policies: ['read'], ExpirationTTL: MINUTE };
    accessor = (await live.request<{ AccessorID: string }>('POST', '/v1/acl/token', token)).body.AccessorID;
  });
  afterAll(async () => {
    workspace.dispose();
    await nomad.stop();
  });

  const declare = (name: string, ttl: string): void => {
    const id = name === 'named' ? `accessorId: ${accessor}\n` : '';
    const spec = `${id}policies: [read]\nexpirationTtl: ${ttl}\nwriteSecretTo: { file: { path: secrets/${name} } }`;
    workspace.write(`${name}.yaml`, manifest('AclToken', name, spec));
  };
  const accessors = async (): Promise<string[]> => (await live.tokens()).map((t) => t.AccessorID).sort();
  const isAccepted = async (secret: string): Promise<boolean> => {
    const as = new LiveNomad({ address: nomad.address, token: secret.trim() });
    return (await as.request('GET', '/v1/acl/token/self')).status === 200;
  };
  const secretOf = (name: string): string => workspace.read(`secrets/${name}`);
  const reasons = ({ steps }: PlanOutput): string[] => steps.map((s) => `${s.action} ${s.name} ${s.reason}`).sort();
  const EXPIRED = NAMES.flatMap((name) => [`noop ${name} Expired`, `noop ${name} Expired`]).sort();

  it('is in order while it lives', async () => {
    for (const name of NAMES) declare(name, MINUTE);
    const { code, steps } = await workspace.apply();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    for (const name of NAMES) expect(await isAccepted(secretOf(name))).toBe(true);
  });

  it('says Expired afterwards, and nothing is made in its place', async () => {
    await expect
      .poll(() => Promise.all(NAMES.map((name) => isAccepted(secretOf(name)))), { timeout: 90_000, interval: 500 })
      .toEqual([false, false, false]);
    const before = { tokens: await accessors(), secrets: NAMES.map(secretOf) };
    expect(reasons(await workspace.plan())).toEqual(EXPIRED);
    expect(reasons(await workspace.apply())).toEqual(EXPIRED);
    expect({ tokens: await accessors(), secrets: NAMES.map(secretOf) }).toEqual(before);
    expect(before.tokens).toHaveLength(4);
    const { stdout } = await workspace.run('status', '-f', 'manifests', '-o', 'json');
    const { resources } = JSON.parse(stdout) as { resources: { ready: string; reason: string }[] };
    expect(resources.map((r) => [r.ready, r.reason])).toEqual(NAMES.map(() => ['False', 'Expired']));
  }, 120_000);

  it('is replaced by one with another TTL while Nomad still lists it', async () => {
    const before = secretOf('first');
    declare('first', '1h');
    const { code, steps } = await workspace.apply();
    expect([code, ...reasons({ steps, summary: {} }).filter((r) => r.includes('first'))]).toEqual([
      0,
      'delete first Replaced',
      'replace first Immutable',
      'update first Changed',
    ]);
    expect(secretOf('first')).not.toBe(before);
    expect(await isAccepted(secretOf('first'))).toBe(true);
    expect(await accessors()).toHaveLength(4);
  });

  it('still says Expired when Nomad has reaped it', async () => {
    await live.request('PUT', '/v1/system/gc');
    await expect.poll(accessors, { timeout: 30_000 }).toHaveLength(2);
    const { steps } = await workspace.apply();
    expect(reasons({ steps, summary: {} }).filter((r) => !r.includes('first'))).toEqual(
      EXPIRED.filter((r) => !r.includes('first')),
    );
    expect(await accessors()).toHaveLength(2);
  });

  it('is made again with another TTL then', async () => {
    const before = secretOf('second');
    declare('second', '1h');
    expect((await workspace.apply()).code).toBe(0);
    expect(secretOf('second')).not.toBe(before);
    expect(await isAccepted(secretOf('second'))).toBe(true);
  });

  it('goes with its file when its resource goes', async () => {
    const { code, steps } = await workspace.destroy();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect(await accessors()).toEqual([nomad.accessorId]);
    for (const name of NAMES) expect(() => secretOf(name)).toThrow(/ENOENT/);
  });
});
