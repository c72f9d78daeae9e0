import { z } from 'zod';
import { isRecord } from './plain.ts';
import type { Path } from './positions.ts';
import { didYouMean, nearest, oneOf } from './suggest.ts';

/** One thing that is wrong in a value. */
export interface Issue {
  readonly path: Path;
  /** It is the key that is wrong, not the value. */
  readonly isKey: boolean;
  readonly message: string;
}

export type Checked<T> = { readonly value: T } | { readonly issues: readonly Issue[] };

/** Checks a value against a schema; every issue is a sentence that says what is expected. No value is ever quoted. */
export function check<T>(schema: z.ZodType<T>, value: unknown): Checked<T> {
  const result = schema.safeParse(value, { error: (issue) => sentence(issue) });
  if (result.success) return { value: result.data };
  const issues = result.error.issues.flatMap((issue) => issuesOf(schema, value, issue, []));
  return { issues: onePerField(issues) };
}

function onePerField(issues: readonly Issue[]): Issue[] {
  const seen = new Set<string>();
  return issues.filter(({ path }) => {
    const text = JSON.stringify(path);
    return !seen.has(text) && seen.add(text);
  });
}

type ZodIssue = z.core.$ZodIssue;

function issuesOf(schema: z.ZodType, value: unknown, issue: ZodIssue, prefix: Path): Issue[] {
  const path = [...prefix, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(schema, path, key));
  if (issue.code === 'invalid_key') return [{ path, isKey: true, message: issue.issues[0]?.message ?? issue.message }];
  if (issue.code === 'invalid_union') {
    const deeper = issue.errors.filter((branch) => branch.every((inner) => inner.path.length > 0));
    const [branch] = deeper;
    if (branch !== undefined && deeper.length === 1)
      return branch.flatMap((inner) => issuesOf(schema, value, inner, path));
  }
  const message = unionMessage(schemaAt(schema, path)) ?? issue.message;
  return [{ path, isKey: false, message: message + quoteHint(schema, path, valueAt(value, path)) }];
}

function unknownField(schema: z.ZodType, path: Path, key: string): Issue {
  const known = fieldsOf(schemaAt(schema, path));
  const suggestion = nearest(key, known);
  const hint = suggestion === undefined ? `known are ${known.join(', ')}` : `did you mean "${suggestion}"?`;
  const message = known.length === 0 ? 'is not known here: nothing can be set' : `is not known here: ${hint}`;
  return { path: [...path, key], isKey: true, message };
}

/** What a union says of itself: better than what one of its branches says. */
function unionMessage(schema: z.ZodType | undefined): string | undefined {
  if (!(schema instanceof z.ZodUnion)) return undefined;
  const issue = schema.safeParse(undefined).error?.issues[0];
  return issue?.code === 'invalid_union' && issue.message !== 'Invalid input' ? issue.message : undefined;
}

/** A number or a boolean where text belongs has lost its quotes. */
function quoteHint(schema: z.ZodType, path: Path, value: unknown): string {
  if (typeof value !== 'number' && typeof value !== 'boolean') return '';
  const at = schemaAt(schema, path);
  const takesText = at instanceof z.ZodUnion ? at.options.some((o) => o instanceof z.ZodString) : false;
  const takesSame =
    at instanceof z.ZodUnion && typeof value === 'number' && at.options.some((o) => o instanceof z.ZodNumber);
  return takesText && !takesSame ? `, not a ${typeof value}: quote it` : '';
}

/** Says of an issue what is expected, where the schema has no words of its own. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(isInteger(issue.inst) ? 'int' : issue.expected, issue.input);
    case 'invalid_value':
      return wrongValue(issue.values.map(String), issue.input);
    case 'too_small':
    case 'too_big':
      return wrongSize(issue);
    case 'invalid_format':
      return issue.pattern === undefined ? undefined : `has the wrong form: it must match ${issue.pattern}`;
    default:
      return undefined;
  }
}

function isInteger(schema: unknown): boolean {
  return schema instanceof z.ZodNumber && schema.format !== null && /int/.test(schema.format);
}

const NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping (lines of "field: value")',
  record: 'a mapping (lines of "field: value")',
  array: 'a list (lines that begin with "- ")',
};

function wrongType(expected: string, input: unknown): string {
  const name = NAMES[expected] ?? expected;
  if (input === undefined) return `is missing: add it; it must be ${name}`;
  if (input === null) return `is empty: it must be ${name}; give a value, or remove the line`;
  if (expected === 'string' && (typeof input === 'number' || typeof input === 'boolean'))
    return `must be text, not a ${typeof input}: quote it`;
  if ((expected === 'number' || expected === 'int' || expected === 'boolean') && typeof input === 'string')
    return `must be ${name}, not text${isWord(expected, input) ? ': remove the quotes' : ''}`;
  return `must be ${name}`;
}

function isWord(expected: string, input: string): boolean {
  return expected === 'boolean' ? /^(true|false)$/.test(input) : /^-?\d+$/.test(input);
}

function wrongValue(allowed: readonly string[], input: unknown): string {
  const expected = `must be ${oneOf(allowed.map((value) => `"${value}"`))}`;
  if (input === undefined) return `is missing: it ${expected}`;
  return typeof input === 'string' ? `${expected}${didYouMean(input, allowed)}` : expected;
}

const UNITS: Readonly<Record<string, string>> = {
  string: 'characters',
  array: 'entries',
  set: 'entries',
  record: 'entries',
};

function wrongSize(issue: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig>): string {
  const [word, bound] = issue.code === 'too_small' ? ['at least', issue.minimum] : ['at most', issue.maximum];
  const unit = UNITS[issue.origin];
  if (unit === undefined) return `must be ${word} ${String(bound)}`;
  if (issue.code === 'too_small' && bound === 1) return `must not be empty`;
  return `must have ${word} ${String(bound)} ${unit}`;
}

/** The schema of a field, without what makes it optional. */
function schemaAt(schema: z.core.$ZodType | undefined, path: Path): z.ZodType | undefined {
  let at = unwrapped(schema);
  for (const part of path) at = unwrapped(below(at, part));
  return at;
}

function unwrapped(schema: z.core.$ZodType | undefined): z.ZodType | undefined {
  let at = schema;
  while (at instanceof z.ZodOptional || at instanceof z.ZodNullable || at instanceof z.ZodDefault) at = at.unwrap();
  return at instanceof z.ZodType ? at : undefined;
}

function below(schema: z.ZodType | undefined, part: string | number): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodObject) return (schema.shape as Readonly<Record<string, z.core.$ZodType>>)[part];
  if (schema instanceof z.ZodArray) return schema.element;
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return undefined;
}

function fieldsOf(schema: z.ZodType | undefined): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const part of path) {
    if (Array.isArray(at)) at = at[Number(part)];
    else at = isRecord(at) && Object.hasOwn(at, part) ? at[part] : undefined;
  }
  return at;
}
