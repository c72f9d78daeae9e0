import { deepStrictEqual } from 'node:assert';

/** @throws AssertionError that says what is not as it must be. */
export function equal(what: string, actual: unknown, expected: unknown): void {
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    if (error instanceof Error) error.message = `${what}: ${error.message}`;
    throw error;
  }
}
