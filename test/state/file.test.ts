import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Inventory } from '../../src/contract/state.ts';
import { fileState } from '../../src/state/file.ts';
import { owned } from '../plan/objects.ts';

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
    await state.save(inventory, new Set());
    expect(await state.load()).toEqual(inventory);
    expect(readdirSync(folder)).toEqual(['state.json']);
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
