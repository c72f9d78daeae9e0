import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HERE = import.meta.dirname;
const EXECUTABLE = resolve(HERE, '../../dist/nomad-access.js');

/** A running `nomad-access run`. */
export interface RunningOperator {
  readonly pid: number;
  readonly url: string;
  /** Everything that it logged. */
  readonly log: () => string;
  /** The value of a series; 0 where there is none. */
  readonly metric: (series: string) => Promise<number>;
  /** Until a series has a value. @throws Error with the end of the log when it ends before. */
  readonly until: (series: string, value: number) => Promise<void>;
  /** SIGTERM. @returns its exit code. */
  readonly stop: () => Promise<number | null>;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly ended: Promise<unknown>;
}

/** @param env whole environment. @param options of node, before the program. */
export async function startOperator(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  options: readonly string[] = [],
): Promise<RunningOperator> {
  const child = spawn(process.execPath, [...options, EXECUTABLE, 'run', '--listen', '127.0.0.1:0', ...args], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  let isOver = false;
  const ended = once(child, 'close').finally(() => (isOver = true));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const alive = (): void => {
    if (isOver) throw new Error(`the operator ended:\n${log.slice(-3000)}`);
  };
  let url: string | undefined;
  while (url === undefined) {
    alive();
    url = /(http:\/\/[^ "]+)\/metrics/.exec(log)?.[1];
    if (url === undefined) await sleep(5);
  }
  const base = url;
  const metric = async (series: string): Promise<number> => {
    const text = await (await fetch(`${base}/metrics`)).text();
    const line = text.split('\n').find((l) => l.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  };
  return {
    pid: child.pid ?? 0,
    url: base,
    log: () => log,
    metric,
    until: async (series, value) => {
      while ((await metric(series)) !== value) {
        alive();
        await sleep(200);
      }
    },
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      return child.exitCode;
    },
    kill: (signal) => void child.kill(signal),
    ended,
  };
}

/** CPU that a process has used; seconds. Linux counts it in hundredths. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process; bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) * 1024;
}

/** Open file descriptors. */
export function openFiles(pid: number): number {
  return readdirSync(join('/proc', String(pid), 'fd')).length;
}
