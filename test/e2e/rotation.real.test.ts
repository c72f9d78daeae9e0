import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { STATE_FILE } from '../../src/state/file.ts';
import { requireServers } from '../servers/binaries.ts';
import type { LiveNomad } from './live.ts';
import { useNomad } from './nomad-workspace.ts';
import { useOperators } from './operators.ts';
import type { RunningOperator } from './running.ts';
import { manifest, type Workspace } from './workspace.ts';

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const INTERVAL = 4;
const OVERLAP = 2;
const TOKENS = Array.from({ length: 10 }, (_, i) => `t${String(i)}`);
const ROTATIONS = 50;

/** What a client sees that looks its token up in the file for each request. */
describe.skipIf(!requireServers('nomad'))('tokens that rotate', () => {
  let live: LiveNomad;
  let workspace: Workspace;
  let operator: RunningOperator | undefined;

  useNomad((made) => {
    ({ live, workspace } = made);
  });
  const operators = useOperators();

  const declare = (name: string, interval: string, overlap: string, more = ''): string =>
    manifest(
      'AclToken',
      name,
      `policies: [read]\nrotation: { interval: ${interval}, overlap: ${overlap} }\nwriteSecretTo: { file: { path: secrets/${name} } }\n${more}`,
    );
  const start = async (): Promise<void> => {
    operator = await operators.start(workspace);
  };
  const secretOf = (name: string): string => workspace.read(`secrets/${name}`).trim();
  const sequenceOf = (liveName: string): number => Number(/\.(\d+)\]$/.exec(liveName)?.[1]);
  /** The numbers of the live tokens of each resource. */
  const sequences = async (): Promise<Map<string, number[]>> => {
    const found = new Map(TOKENS.map((name): [string, number[]] => [name, []]));
    for (const { Name } of await live.marked()) found.get(Name.split(' ')[0] ?? '')?.push(sequenceOf(Name));
    return found;
  };

  it('let every request of their readers in across 50 rotations and three crashes, and die after their overlap', async () => {
    workspace.write('read.yaml', manifest('AclPolicy', 'read', RULES));
    workspace.write(
      'tokens.yaml',
      ...TOKENS.map((name) => declare(name, `${String(INTERVAL)}s`, `${String(OVERLAP)}s`)),
    );
    expect((await workspace.apply()).code).toBe(0);

    const seen = new Set<string>();
    const refused: string[] = [];
    let requests = 0;
    let isOver = false;
    const readers = TOKENS.map(async (name) => {
      while (!isOver) {
        const began = performance.now();
        const secret = secretOf(name);
        seen.add(secret);
        const isAccepted = await live.accepts(secret);
        requests++;
        // Whoever keeps a secret for longer than the overlap was warned.
        if (!isAccepted && performance.now() - began < OVERLAP * 1000) refused.push(name);
        await sleep(10);
      }
    });
    await start();
    let rotations = 0;
    let crashes = 0;
    while (rotations < ROTATIONS) {
      const now = await sequences();
      rotations = [...now.values()].reduce((sum, numbers) => sum + Math.max(1, ...numbers) - 1, 0);
      if (rotations > (crashes + 1) * 12 && crashes < 3) {
        crashes++;
        operator?.kill('SIGKILL');
        await operator?.ended;
        await start();
      }
      await sleep(50);
    }
    isOver = true;
    await Promise.all(readers);
    expect([refused, crashes]).toEqual([[], 3]);
    expect(requests).toBeGreaterThan(ROTATIONS);

    // Nothing rotates any more, and what is in its overlap goes.
    workspace.write('tokens.yaml', ...TOKENS.map((name) => declare(name, '1h', `${String(OVERLAP)}s`)));
    await expect
      .poll(async () => [...(await sequences()).values()].map((numbers) => numbers.length))
      .toEqual(TOKENS.map(() => 1));
    const current = new Set(TOKENS.map(secretOf));
    for (const secret of [...seen, ...current]) expect(await live.accepts(secret)).toBe(current.has(secret));
    expect(seen.size).toBeGreaterThanOrEqual(ROTATIONS);
    expect(await operator?.stop()).toBe(0);
  });

  it('are not rotated early by a restart, nor by a lost inventory', async () => {
    workspace.write('all.yaml', manifest('AclPolicy', 'read', RULES), declare('t0', '1h', '5m', 'expirationTtl: 3h'));
    expect((await workspace.apply()).code).toBe(0);
    const before = [secretOf('t0'), await sequences()];
    for (const accident of [
      () => undefined,
      () => {
        rmSync(join(workspace.manifests, STATE_FILE));
      },
    ]) {
      accident();
      await start();
      await expect.poll(async () => (await operator?.get('/readyz'))?.status).toBe(200);
      expect(await operator?.stop()).toBe(0);
      expect((await workspace.apply()).summary).toMatchObject({ create: 0, replace: 0, update: 0, delete: 0 });
      expect([secretOf('t0'), await sequences()]).toEqual(before);
    }
    const { stdout } = await workspace.run('status', '-f', 'manifests', '-o', 'json');
    const { resources } = JSON.parse(stdout) as { resources: { kind: string; live: Record<string, unknown> }[] };
    const [token] = resources.filter(({ kind }) => kind === 'AclToken');
    const hours = (field: string): number => Date.parse(String(token?.live[field])) / 3_600_000;
    expect(hours('expiresAt') - hours('rotatesAt')).toBeCloseTo(2, 1);
  });

  it('rotate by `apply` where it comes at the time, which says why, and keeps the former one', async () => {
    workspace.write('all.yaml', manifest('AclPolicy', 'read', RULES), declare('t0', '11s', '10s'));
    expect((await workspace.apply()).code).toBe(0);
    const before = secretOf('t0');
    await expect
      .poll(async () => (await workspace.plan()).steps.find(({ action }) => action === 'replace')?.message)
      .toContain('its interval was over at');
    const { steps } = await workspace.apply();
    expect(steps.map((s) => `${s.action} ${s.reason}`)).toEqual(
      expect.arrayContaining(['replace Rotated', 'update Changed', 'noop Rotated']),
    );
    expect([secretOf('t0') === before, await live.accepts(secretOf('t0')), await live.accepts(before)]).toEqual([
      false,
      true,
      true,
    ]);
    await expect
      .poll(async () => {
        await workspace.apply();
        return live.accepts(before);
      })
      .toBe(false);
  });
});
