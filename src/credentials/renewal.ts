/** No timer of Node's takes more; milliseconds. */
export const LONGEST_SLEEP_MS = 2 ** 31 - 1;

/** When to renew a token that has this long left: at about two thirds of it; milliseconds. */
export function renewalMs(ttlSeconds: number, random: () => number): number {
  return ttlSeconds * 1000 * (2 / 3) * (0.9 + 0.1 * random());
}

const LONGEST_MS = 30_000;

/** Before the next try after so many failures; milliseconds, with jitter. */
export function backoffMs(failures: number, random: () => number): number {
  return Math.min(LONGEST_MS, 1_000 * 2 ** Math.min(failures - 1, 10)) * (0.5 + 0.5 * random());
}
