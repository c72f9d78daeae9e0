import { setTimeout as sleep } from 'node:timers/promises';
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { declare, RULES } from './declaring.ts';
import { startOperator, type RunningOperator } from '../e2e/running.ts';
import { askFor, rate, TRACED, traced, type Env, type Trace } from './tracing.ts';

const EXECUTABLE = resolve(import.meta.dirname, '../../dist/nomad-access.js');
const BARE = join(import.meta.dirname, 'bare.mjs');

/** Objects a second, of each round. */
export interface Rates {
  readonly bare: number[];
  readonly ours: number[];
}

export interface Apply extends Rates {
  /** From the start of our process to its first write; milliseconds. */
  readonly beforeFirstWrite: number[];
  readonly writes: number[];
  readonly noChangePlan: Trace[];
}

/** First convergence of `count` policies and as many tokens by `apply`, and a plan without a change. */
export function benchApply(folder: string, env: Env, count: number, rounds: number): Apply {
  const manifests = declare(folder, count);
  const figures: Apply = { bare: [], ours: [], beforeFirstWrite: [], writes: [], noChangePlan: [] };
  for (let round = 0; round < rounds; round++) {
    figures.bare.push(rate(traced([BARE, 'create'], env), 2 * count));
    traced([BARE, 'delete'], env);
    const ours = traced([EXECUTABLE, 'apply', '-f', manifests, '-y', '-o', 'json'], env);
    figures.ours.push(rate(ours, 2 * count));
    figures.beforeFirstWrite.push(ours.firstWrite);
    figures.writes.push(ours.writes);
    figures.noChangePlan.push(traced([EXECUTABLE, 'plan', '-f', manifests, '--detailed-exitcode'], env));
    traced([EXECUTABLE, 'destroy', '-f', manifests, '-y', '-o', 'json'], env);
  }
  return figures;
}

export interface Run {
  readonly create: Rates;
  readonly update: Rates;
  readonly destroy: Rates;
  readonly beforeFirstWrite: number[];
}

/** What `run` does when everything is new, everything changes, and everything goes. */
export async function benchRun(folder: string, env: Env, count: number, rounds: number): Promise<Run> {
  const rates = (): Rates => ({ bare: [], ours: [] });
  const figures: Run = { create: rates(), update: rates(), destroy: rates(), beforeFirstWrite: [] };
  for (let round = 0; round < rounds; round++) {
    for (const [what, { bare }] of [
      ['create', figures.create],
      ['update', figures.update],
      ['delete', figures.destroy],
    ] as const)
      bare.push(rate(traced([BARE, what], env), 2 * count));
    const manifests = declare(folder, count);
    const logFile = join(folder, 'operator.log');
    const operator = await startOperator(['-f', manifests, '--allow-mass-delete'], env, { node: TRACED, logFile });
    const done = async (action: string): Promise<Trace> => {
      await untilLogged(logFile, `"action":"${action}"`, 2 * count);
      return section(operator, env);
    };
    const created = await done('create');
    figures.create.ours.push(rate(created, 2 * count));
    figures.beforeFirstWrite.push(created.firstWrite);
    declare(folder, count, RULES.replace('read', 'write'), ['more']);
    figures.update.ours.push(rate(await done('update'), 2 * count));
    rmSync(manifests, { recursive: true });
    declare(folder, 0);
    figures.destroy.ours.push(rate(await done('delete'), 2 * count));
    await operator.stop();
    rmSync(manifests, { recursive: true });
  }
  return figures;
}

/** Until a file has so many lines with that text, looked at only as far as it has grown. @throws Error after two minutes. */
async function untilLogged(file: string, text: string, count: number): Promise<void> {
  const deadline = performance.now() + 120_000;
  const log = openSync(file, 'r');
  const chunk = Buffer.alloc(1 << 20);
  let rest = '';
  let found = 0;
  while (found < count) {
    const read = readSync(log, chunk);
    const lines = (rest + chunk.toString('latin1', 0, read)).split('\n');
    rest = lines.pop() ?? '';
    found += lines.filter((line) => line.includes(text)).length;
    if (performance.now() > deadline) throw new Error(`${text}: ${String(found)} of ${String(count)}`);
    if (read < chunk.length) await sleep(100);
  }
  closeSync(log);
}

/** What was traced since the last one. */
async function section(operator: RunningOperator, env: Env): Promise<Trace> {
  return JSON.parse(await askFor(env['TRACE_FILE'] ?? '', operator)) as Trace;
}
