/** Durations as Go writes and reads them; ours are milliseconds, broken where need be. */

const UNITS = [
  ['h', 3_600_000],
  ['ms', 1],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ns', 1e-6],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** @returns 0 for none. Nomad takes nanoseconds as a number, and Go durations. */
export function durationOf(value: string | number | undefined): number {
  if (value === undefined || value === '') return 0;
  if (typeof value === 'number') return value / 1e6;
  let total = 0;
  for (const [, amount, unit] of value.matchAll(/([0-9.]+)(h|ms|us|µs|ns|m|s)/g))
    total += Number(amount) * (UNITS.find(([name]) => name === unit)?.[1] ?? 0);
  return value.startsWith('-') ? -total : total;
}

/** `1h0m0s`, `1.5s`, `10ms`, `1ns`. */
export function goDuration(milliseconds: number): string {
  if (milliseconds < 1e-3) return `${String(Math.round(milliseconds * 1e6))}ns`;
  if (milliseconds < 1) return `${String(milliseconds * 1e3)}µs`;
  if (milliseconds < 1000) return `${String(milliseconds)}ms`;
  const hours = Math.floor(milliseconds / 3_600_000);
  const minutes = Math.floor((milliseconds % 3_600_000) / 60_000);
  const seconds = Number(((milliseconds % 60_000) / 1000).toFixed(9));
  return `${String(hours)}h${String(minutes)}m${String(seconds)}s`.replace(/^0h(0m)?/, '');
}

/** Whether Go's time.ParseDuration takes it; an empty text it doesn't. */
export function isDuration(text: string): boolean {
  return /^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|ns|m|s))+$/.test(text) && text !== '';
}
