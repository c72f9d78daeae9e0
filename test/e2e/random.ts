/** A seed that is printed: given in the variable, the run is the same again as far as the clock allows. */
export function seedOf(test: string): number {
  const variable = `${test.toUpperCase().replaceAll('-', '_')}_SEED`;
  const given = process.env[variable];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
  process.stderr.write(`${variable}=${String(seed)}\n`);
  return seed;
}

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
