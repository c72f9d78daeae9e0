import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fileState } from '../../src/state/file.ts';

/** Awaited before the first removal of a lock. */
let beforeRemoval: () => Promise<unknown> = () => Promise.resolve();

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const unlink: typeof real.unlink = async (path) => {
    const wait = beforeRemoval;
    if (String(path).endsWith('.lock')) {
      beforeRemoval = () => Promise.resolve();
      await wait();
    }
    await real.unlink(path);
  };
  return { ...real, unlink };
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nomad-access-state-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

it('of two that find the lock of a dead process, the slower one does not remove the fresh lock of the faster one', async () => {
  const path = join(folder, 'state.json');
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  writeFileSync(`${path}.lock`, JSON.stringify({ pid, host: hostname(), since: 'then' }));
  let faster: Promise<unknown> = Promise.resolve();
  beforeRemoval = () => (faster = fileState(path).lock()).catch(() => undefined);
  const slower = await Promise.allSettled([fileState(path).lock()]);
  const results = [...slower, ...(await Promise.allSettled([faster]))];
  expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
});
