import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Inventory } from '../../src/contract/state.ts';
import { fileState } from '../../src/state/file.ts';
import type { Owned } from '../../src/plan/step.ts';
import { owned } from '../plan/objects.ts';
import { changeOf, entry, inventoryOf, keysOf } from './variables.ts';

const inventory: Inventory = {
  version: 1,
  owner: 'default',
  connections: [],
  objects: [owned({ id: 'x', detail: { a: [1, null] } })],
};

describe('the inventory in a file', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nomad-access-state-'));
    path = join(folder, 'state.json');
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('reads back what was saved, and nothing where there is none', async () => {
    const state = fileState(path);
    expect(await state.load()).toBeUndefined();
    await state.save(changeOf(inventory, new Set()));
    expect(await state.load()).toEqual(inventory);
    expect(readdirSync(folder)).toEqual(['state.json']);
  });

  it('takes a file that a person has formatted', async () => {
    writeFileSync(path, JSON.stringify(inventory, undefined, 2));
    expect(await fileState(path).load()).toEqual(inventory);
  });

  describe('after the first save', () => {
    const [a, b] = [entry('a'), entry('b')];
    const connections = [
      { kind: 'NomadCluster', name: 'default', address: 'http://n:4646', spec: {}, folder: '.' },
    ] as const;
    let state: ReturnType<typeof fileState>;
    const save = (objects: readonly Owned[], changed: readonly Owned[], over: Partial<Inventory> = {}): Promise<void> =>
      state.save(changeOf(inventoryOf(objects, over), keysOf(changed)));
    const lines = (): string[] => readFileSync(path, 'utf8').trimEnd().split('\n');

    beforeEach(async () => {
      state = fileState(path);
      await save([a, b], [a, b]);
    });

    it('appends what changed, and reads it back', async () => {
      const [first] = lines();
      const c = entry('c');
      const changed = { ...b, adopted: true };
      await save([changed, c], [a, b, c]);
      await save([changed, c], [], { connections });
      expect(lines()[0]).toBe(first);
      expect(lines()).toHaveLength(3);
      expect(await fileState(path).load()).toEqual(inventoryOf([changed, c], { connections }));
    });

    it('drops a last line that is not whole, and does not append to it', async () => {
      const changed = { ...b, adopted: true };
      await save([a, changed], [b]);
      const whole = readFileSync(path, 'utf8');
      writeFileSync(path, whole.slice(0, -2));
      expect(await fileState(path).load()).toEqual(inventoryOf([a, b]));
      state = fileState(path);
      await save([a], [b]);
      expect(await fileState(path).load()).toEqual(inventoryOf([a]));
      expect(lines()).toHaveLength(1);
    });

    it.each([
      ['nonsense', 'line 2, is not JSON'],
      ['{"set":[{}],"gone":[]}', 'line 2, is no change of an inventory (set.0.key'],
    ])('names the line that is damaged: %s', async (line, text) => {
      appendFileSync(path, `${line}\n`);
      await expect(fileState(path).load()).rejects.toThrow(text);
    });

    it('writes the file anew where somebody changed or removed it', async () => {
      appendFileSync(path, 'theirs\n');
      await save([a], [b]);
      expect(await fileState(path).load()).toEqual(inventoryOf([a]));
      rmSync(path);
      await save([a, b], [b]);
      expect(await fileState(path).load()).toEqual(inventoryOf([a, b]));
      expect(lines()).toHaveLength(1);
    });

    it('writes it anew when it has grown, so that it stays in proportion to what it holds', async () => {
      const large = entry('large', 100_000);
      for (let i = 0; i < 50; i++) await save([a, b, large], [large]);
      expect(statSync(path).size).toBeLessThan(3_000_000);
      expect(await fileState(path).load()).toEqual(inventoryOf([a, b, large]));
      expect(statSync(path).mode & 0o777).toBe(0o600);
    });
  });

  it.each([
    ['no JSON', 'nonsense', 'is not JSON'],
    [
      'of a newer version',
      '{"version":2,"owner":"default","connections":[],"objects":[]}',
      'written by a newer version: upgrade nomad-access',
    ],
    ['something else', '{"hello":1}', 'is no inventory'],
  ])('says what to do with a file that is %s', async (_what, content, text) => {
    writeFileSync(path, content);
    await expect(fileState(path).load()).rejects.toThrow(text);
  });

  it('is locked against a second writer until released', async () => {
    const lock = await fileState(path).lock();
    await expect(fileState(path).lock()).rejects.toThrow(`process ${String(process.pid)} on ${hostname()}`);
    await lock.release();
    await (await fileState(path).lock()).release();
  });

  it('takes over the lock of a process that has died on this machine', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    writeFileSync(`${path}.lock`, JSON.stringify({ pid, host: hostname(), since: 'then' }));
    await (await fileState(path).lock()).release();
  });

  it('is taken over from a dead process by one alone of many that come at once', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    const dead = JSON.stringify({ pid, host: hostname(), since: 'then' });
    for (let round = 0; round < 20; round++) {
      writeFileSync(`${path}.lock`, dead);
      // One of them may have died while it took the lock over, too.
      if (round % 2 === 0) writeFileSync(`${path}.lock.takeover`, dead);
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => fileState(path).lock()));
      const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(locks).toHaveLength(1);
      await Promise.all(locks.map((lock) => lock.release()));
      await (await fileState(path).lock()).release();
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it('leaves the lock of another machine alone, and names it', async () => {
    writeFileSync(`${path}.lock`, JSON.stringify({ pid: 1, host: 'elsewhere', since: 'then' }));
    await expect(fileState(path).lock()).rejects.toThrow('process 1 on elsewhere');
  });
});
