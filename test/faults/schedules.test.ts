import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, it, onTestFinished } from 'vitest';

const SCHEDULES = 10_000;

/** `run.ts` in one file, as the product is shipped: loaded as modules it would be a tenth slower. */
async function bundled(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'schedules-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const outfile = join(folder, 'run.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'run.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    // What bundled CommonJS packages expect.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'error',
  });
  return outfile;
}

/** Runs some of the schedules in a process of their own. */
function run(script: string, from: number, count: number): Promise<{ code: number | null; output: string }> {
  const args = [script, String(from), String(count)];
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
    const script = await bundled();
    const processes = availableParallelism();
    const each = Math.ceil(SCHEDULES / processes);
    const runs = await Promise.all(
      Array.from({ length: processes }, (_, i) => run(script, i * each, Math.min(each, SCHEDULES - i * each))),
    );
    for (const { code, output } of runs) expect(code, output).toBe(0);
    const total = runs.map(({ output }) => Number(/^(\d+) schedules$/m.exec(output)?.[1])).reduce((a, b) => a + b);
    expect(total).toBe(SCHEDULES);
  }, 1_200_000);
});
