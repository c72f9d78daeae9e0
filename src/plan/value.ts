/** What a field of a live object can hold: JSON, so that every plan can be printed, compared and stored. */
export type Value = null | boolean | number | string | readonly Value[] | { readonly [key: string]: Value };

/**
 * A value that only an earlier step of the same plan makes known, such as a mount's accessor.
 * It never equals anything; `preview` is what a reader of the plan sees in its place.
 */
export class Deferred {
  constructor(readonly preview: string = KNOWN_AFTER_APPLY) {}
  toJSON(): string {
    return this.preview;
  }
}

export const KNOWN_AFTER_APPLY = '(known after apply)';
export const SENSITIVE = '(sensitive)';

/** Field path within the spec → what the live object shall hold there. */
export type DesiredFields = Readonly<Record<string, Value | Deferred>>;
/** Field path within the spec → what the live object holds there. */
export type Fields = Readonly<Record<string, Value>>;

/** The fields with every deferred value replaced by its preview: for digests and for printing. */
export function settled(fields: DesiredFields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([path, v]) => [path, v instanceof Deferred ? v.preview : v]));
}

/** A text that is equal for equal values, whatever the order of their keys. */
export function canonical(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value as Record<string, Value>).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(',')}}`;
}

/** Whether two values have one canonical text. */
export function isEqual(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a === 'number' && typeof b === 'number') return Number.isNaN(a) && Number.isNaN(b);
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (Array.isArray(a) || Array.isArray(b)) return areEqual(a, b);
  const [mine, theirs] = [a as Readonly<Record<string, Value>>, b as Readonly<Record<string, Value>>];
  const keys = Object.keys(mine);
  if (keys.length !== Object.keys(theirs).length) return false;
  return keys.every((key) => Object.hasOwn(theirs, key) && isEqual(mine[key] as Value, theirs[key] as Value));
}

function areEqual(a: Value, b: Value): boolean {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return (a as readonly Value[]).every((item, i) => isEqual(item, b[i] as Value));
}

/** A field that is a string by its kind's own making; anything else becomes empty. */
export function stringIn(fields: Fields | undefined, path: string): string {
  const value = fields?.[path];
  return typeof value === 'string' ? value : '';
}
