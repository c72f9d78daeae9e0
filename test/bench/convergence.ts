import { setTimeout as sleep } from 'node:timers/promises';
import { rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { declare, RULES } from './declaring.ts';
import { startOperator, type RunningOperator } from '../e2e/running.ts';
import { rate, readTrace, TRACED, traced, type Env, type Trace } from './tracing.ts';

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
    const operator = await startOperator(['-f', manifests, '--allow-mass-delete'], env, TRACED);
    await operator.until('nomad_access_resources{kind="AclToken",ready="True"}', count);
    const created = await section(operator, env);
    figures.create.ours.push(rate(created, 2 * count));
    figures.beforeFirstWrite.push(created.firstWrite);
    declare(folder, count, RULES.replace('read', 'write'), ['more']);
    await operator.until('nomad_access_changes_total{kind="AclPolicy",action="update",result="done"}', count);
    await operator.until('nomad_access_changes_total{kind="AclToken",action="update",result="done"}', count);
    figures.update.ours.push(rate(await section(operator, env), 2 * count));
    rmSync(manifests, { recursive: true });
    declare(folder, 0);
    await untilDeleted(operator, 2 * count);
    figures.destroy.ours.push(rate(await section(operator, env), 2 * count));
    await operator.stop();
    rmSync(manifests, { recursive: true });
  }
  return figures;
}

/** The series of a kind go with its last resource, so that the log has to tell. */
async function untilDeleted(operator: RunningOperator, count: number): Promise<void> {
  const deadline = performance.now() + 120_000;
  const deleted = (): number => operator.log().split('"action":"delete"').length - 1;
  while (deleted() < count) {
    if (performance.now() > deadline) throw new Error(`${String(deleted())} of ${String(count)} deleted`);
    await sleep(50);
  }
}

/** What was traced since the last one. */
async function section(operator: RunningOperator, env: Env): Promise<Trace> {
  const file = env['TRACE_FILE'] ?? '';
  const before = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  operator.kill('SIGUSR2');
  while (statSync(file, { throwIfNoEntry: false })?.mtimeMs === before) await sleep(5);
  return readTrace(env);
}
