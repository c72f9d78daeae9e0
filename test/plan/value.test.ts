import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonical, isEqual, type Value } from '../../src/plan/value.ts';

/** Few texts and numbers, so that many pairs are equal, or nearly. */
const value = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Value[]>(null, true, false, 0, -0, 1, NaN, '', 'a', '1'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), tie('value'), { maxKeys: 3 }),
  ),
})).value;

const reversed = (v: Value): Value =>
  v === null || typeof v !== 'object' || Array.isArray(v)
    ? v
    : Object.fromEntries(
        Object.entries(v as Readonly<Record<string, Value>>)
          .reverse()
          .map(([key, inner]) => [key, reversed(inner)]),
      );

describe('two values of a field', () => {
  it('are equal just if they are the same JSON but for the order of keys: neither endless drift nor drift that is missed', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(isEqual(a, reversed(a))).toBe(true);
        expect(isEqual(a, b)).toBe(text(a) === text(b));
      }),
      { numRuns: 2_000 },
    );
  });
});

/** What is no number is no JSON: it equals itself alone. */
function text(v: Value): string {
  return canonical(withoutNaN(v));
}

function withoutNaN(v: Value): Value {
  if (typeof v === 'number' && Number.isNaN(v)) return 'no number';
  if (v === null || typeof v !== 'object') return v;
  if (Array.isArray(v)) return (v as readonly Value[]).map(withoutNaN);
  return Object.fromEntries(
    Object.entries(v as Readonly<Record<string, Value>>).map(([key, inner]) => [key, withoutNaN(inner)]),
  );
}
