import { canonical, Deferred, isEqual, SENSITIVE, type DesiredFields, type Fields, type Value } from './value.ts';

/**
 * How two values of a field are compared:
 * `exact` as JSON; `text` after CRLF and outer white space are normalised; `set` without regard to order and
 * repetition; `map` as JSON without regard to the order of keys (which `exact` gives too: the name says what is meant).
 */
export type Comparison = 'exact' | 'text' | 'set' | 'map';

export interface FieldRule {
  readonly compare: Comparison;
  /** What a difference leads to when the server can't change the field in place. Without it: an update. */
  readonly onChange?: 'replace' | 'refuse';
  /** The value is never shown. */
  readonly sensitive?: boolean;
  /**
   * The server never tells what stands there: that it is not known says nothing about who made an object, and keeps
   * nobody from adopting one that is identical in all that can be seen.
   */
  readonly untold?: boolean;
}

/** One field that a step changes. `path` is the dotted path within the spec. */
export interface Change {
  readonly path: string;
  readonly before: Value;
  readonly after: Value;
  readonly sensitive: boolean;
}

/** White space that servers and editors add or take away is no difference. */
export function normaliseText(text: string): string {
  return text.replace(/\r\n?/g, '\n').trim();
}

/** The form of a value in which equal values are equal texts, by the field's rule. */
export function normalForm(value: Value, compare: Comparison): string {
  if (compare === 'text' && typeof value === 'string') return canonical(normaliseText(value));
  if (compare === 'set' && Array.isArray(value)) return canonical([...new Set(value.map(canonical))].sort());
  return canonical(value);
}

/**
 * The fields in which a live object differs from the desired one, in the order of the rules.
 * @param live the fields of the live object, or undefined where there is none: then every field with a value differs.
 */
export function diff(
  desired: DesiredFields,
  live: Fields | undefined,
  rules: Readonly<Record<string, FieldRule>>,
): Change[] {
  const changes: Change[] = [];
  for (const [path, rule] of Object.entries(rules)) {
    const after = desired[path] ?? null;
    const before = live?.[path] ?? null;
    if (live === undefined && isEmpty(after)) continue;
    if (!(after instanceof Deferred) && isSame(after, before, rule.compare)) continue;
    changes.push(change(path, before, after instanceof Deferred ? after.preview : after, rule.sensitive ?? false));
  }
  return changes;
}

function isSame(a: Value, b: Value, compare: Comparison): boolean {
  if (isEqual(a, b)) return true;
  return (compare === 'text' || compare === 'set') && normalForm(a, compare) === normalForm(b, compare);
}

function change(path: string, before: Value, after: Value, sensitive: boolean): Change {
  const shown = (v: Value): Value => (sensitive && v !== null ? SENSITIVE : v);
  return { path, before: shown(before), after: shown(after), sensitive };
}

function isEmpty(value: Value | Deferred): boolean {
  if (value instanceof Deferred) return false;
  if (value === null || value === '' || value === false || value === 0) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** A text that is equal for objects whose fields are equal by their rules: what a create was about to make. */
export function fingerprint(fields: Fields, rules: Readonly<Record<string, FieldRule>>): string {
  return Object.entries(rules)
    .filter(([, rule]) => rule.untold !== true)
    .map(([path, rule]) => `${path}=${normalForm(fields[path] ?? null, rule.compare)}`)
    .join('\n');
}
