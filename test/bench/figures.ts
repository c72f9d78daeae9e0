import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

/** Whether servers and clients get a core each, as on machines of their own; BENCH_SHARED=1 leaves them to share. */
export const isApart = process.env['BENCH_SHARED'] === undefined && cpus().length > 1;

/** Keeps servers and us apart. Whatever is started from now on inherits ours. @param servers process IDs. */
export function setApart(servers: readonly number[]): void {
  for (const pid of servers) pin(pid, 0);
  pin(process.pid, 1);
}

function pin(pid: number, core: number): void {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(core), String(pid)], { stdio: 'ignore' });
}

export function line(name: string, value: string | number): void {
  console.log(`${name.padEnd(42)} ${String(value)}`);
}

/** The median, and from the lowest to the highest. */
export function spread(values: readonly number[], digits = 0): string {
  const sorted = [...values].sort((a, b) => a - b);
  const show = (value: number | undefined): string => (value ?? NaN).toFixed(digits);
  return `${show(sorted[Math.floor(sorted.length / 2)])} (${show(sorted[0])} to ${show(sorted.at(-1))})`;
}

/** Of each round. */
export function ratios(ours: readonly number[], bare: readonly number[]): string {
  return spread(
    ours.map((rate, i) => rate / (bare[i] ?? NaN)),
    2,
  );
}
