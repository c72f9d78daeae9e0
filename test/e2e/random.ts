import { Random } from '../faults/random.ts';

/** A seed that is printed: given in the variable, the run is the same again as far as the clock allows. */
export function seedOf(test: string): number {
  const variable = `${test.toUpperCase().replaceAll('-', '_')}_SEED`;
  const given = process.env[variable];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
  process.stderr.write(`${variable}=${String(seed)}\n`);
  return seed;
}

/** Numbers from 0 up to 1, the same for the same seed. */
export function randomOf(seed: number): () => number {
  return new Random(seed).next;
}
