import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SCHEDULES = 10_000;

/** Runs some of the schedules in a process of their own. */
function run(from: number, count: number): Promise<{ code: number | null; output: string }> {
  const args = ['--import', 'tsx', join(import.meta.dirname, 'run.ts'), String(from), String(count)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += String(chunk)));
  return new Promise((done) => {
    child.on('close', (code) => {
      done({ code, output });
    });
  });
}

describe('the operator in virtual time', () => {
  it(`ends ${String(SCHEDULES)} random schedules of faults in the declared state, nothing leaked or doubled`, async () => {
    const processes = availableParallelism();
    const each = Math.ceil(SCHEDULES / processes);
    const runs = await Promise.all(
      Array.from({ length: processes }, (_, i) => run(i * each, Math.min(each, SCHEDULES - i * each))),
    );
    for (const { code, output } of runs) expect(code, output).toBe(0);
    const total = runs.map(({ output }) => Number(/^(\d+) schedules$/m.exec(output)?.[1])).reduce((a, b) => a + b);
    expect(total).toBe(SCHEDULES);
  }, 1_200_000);
});
