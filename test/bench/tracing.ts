import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningOperator } from '../e2e/running.ts';

/** What trace.mjs notes; times in milliseconds since the process began. */
export interface Trace {
  readonly requests: number;
  readonly writes: number;
  readonly reads: Readonly<Record<string, number>>;
  readonly firstWrite: number;
  readonly lastWrite: number;
  readonly total: number;
}

export type Env = Readonly<Record<string, string | undefined>>;

/** Options of node that load the trace. */
export const TRACED = ['--import', join(import.meta.dirname, 'trace.mjs')];

/** Runs a program to its end. @throws Error with what it printed. */
export function traced(args: readonly string[], env: Env): Trace {
  const done = spawnSync(process.execPath, [...TRACED, ...args], { env, encoding: 'utf8', maxBuffer: 1 << 30 });
  if (done.status !== 0)
    throw new Error(
      `${args.join(' ')} ended with ${String(done.status)}: ${done.stderr.slice(-2000)}${done.stdout.slice(-2000)}`,
    );
  return readTrace(env);
}

/** What is noted in a running process is written to that file at SIGUSR2. @returns its content. */
export async function askFor(file: string, { kill }: Pick<RunningOperator, 'kill'>): Promise<string> {
  rmSync(file, { force: true });
  kill('SIGUSR2');
  while (!existsSync(file)) await sleep(5);
  return readFileSync(file, 'utf8');
}

function readTrace(env: Env): Trace {
  return JSON.parse(readFileSync(env['TRACE_FILE'] ?? '', 'utf8')) as Trace;
}

/** Objects a second, from the first write sent to the last one answered. */
export function rate(trace: Trace, objects: number): number {
  return objects / ((trace.lastWrite - trace.firstWrite) / 1000);
}
