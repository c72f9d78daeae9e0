import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onExit } from '../servers/process.ts';

const EXECUTABLE = resolve(import.meta.dirname, '../../dist/nomad-access.js');

/** A line of the log in JSON. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly object?: string;
  readonly action?: string;
  readonly reason?: string;
  readonly result?: string;
  readonly drift?: boolean;
}

/** A running `nomad-access run`. */
export interface RunningOperator {
  readonly pid: number;
  readonly url: string;
  /** Everything that it logged. */
  readonly log: () => string;
  /** The same, line by line, where it was logged in JSON. */
  readonly lines: () => LogLine[];
  /** Everything that it wrote to standard output. */
  readonly output: () => string;
  readonly get: (path: string) => Promise<{ readonly status: number; readonly text: string }>;
  /** The value of a series; 0 where there is none. */
  readonly metric: (series: string) => Promise<number>;
  /** Until a series has a value. @throws Error with the end of the log when it ends before, or it takes too long. */
  readonly until: (series: string, value: number, deadlineMs?: number) => Promise<void>;
  /** SIGTERM. @returns its exit code. */
  readonly stop: () => Promise<number | null>;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Resolves to its exit code; null where a signal ended it. */
  readonly ended: Promise<number | null>;
}

export interface StartOptions {
  /** Options of node, before the program. */
  readonly node?: readonly string[];
  /** Where it runs. */
  readonly cwd?: string;
  /** File that it logs to: whoever measures it must not be kept busy by reading along. */
  readonly logFile?: string;
}

/** @param env whole environment. */
export async function startOperator(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  { node = [], cwd, logFile }: StartOptions = {},
): Promise<RunningOperator> {
  const child = spawn(process.execPath, [...node, EXECUTABLE, 'run', '--listen', '127.0.0.1:0', ...args], {
    env,
    stdio: ['ignore', 'pipe', logFile === undefined ? 'pipe' : openSync(logFile, 'w')],
    ...(cwd !== undefined && { cwd }),
  });
  const forget = onExit(() => child.kill('SIGKILL'));
  let heard = '';
  let output = '';
  let isOver = false;
  const ended = once(child, 'close').then(() => {
    isOver = true;
    forget();
    return child.exitCode;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (heard += text));
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const logged = (): string => (logFile === undefined ? heard : readFileSync(logFile, 'utf8'));
  const alive = (): void => {
    if (isOver) throw new Error(`the operator ended:\n${logged().slice(-3000)}`);
  };
  let url: string | undefined;
  while (url === undefined) {
    alive();
    url = /(http:\/\/[^ "]+)\/metrics/.exec(logged())?.[1];
    if (url === undefined) await sleep(5);
  }
  const base = url;
  const get = async (path: string): Promise<{ status: number; text: string }> => {
    alive();
    const response = await fetch(`${base}${path}`);
    return { status: response.status, text: await response.text() };
  };
  const metric = async (series: string): Promise<number> => {
    const { text } = await get('/metrics');
    const line = text.split('\n').find((l) => l.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  };
  return {
    pid: child.pid ?? 0,
    url: base,
    log: logged,
    lines: () => linesIn(logged()),
    output: () => output,
    get,
    metric,
    until: async (series, value, deadlineMs = 120_000) => {
      const deadline = performance.now() + deadlineMs;
      for (let now = await metric(series); now !== value; now = await metric(series)) {
        alive();
        if (performance.now() > deadline)
          throw new Error(`${series} is ${String(now)}, not ${String(value)}:\n${logged().slice(-3000)}`);
        await sleep(200);
      }
    },
    stop: async () => {
      child.kill('SIGTERM');
      return ended;
    },
    kill: (signal) => void child.kill(signal),
    ended,
  };
}

/** Without the last one where it is not whole yet. */
function linesIn(log: string): LogLine[] {
  return log
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LogLine);
}

/** CPU that a process has used; seconds. Linux counts it in hundredths. */
export function cpuSeconds(pid: number): number {
  const fields =
    readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
      .split(') ')[1]
      ?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
