import type { FieldRule } from '../../plan/diff.ts';
import type { Fields, Value } from '../../plan/value.ts';

/** How a field of the spec and a field of Vault's API belong together. */
export interface Mapping {
  readonly vault: string;
  readonly rule: FieldRule;
  /** What Vault holds where nothing was set; it answers null for some of these. */
  readonly empty: Value;
  /** Vault's form of the value as the spec's, where they differ; total, since anybody may have written it. */
  readonly decode?: (value: Value) => Value;
  /** The other way. */
  readonly encode?: (value: Value) => Value;
}

export const exact = (vault: string, empty: Value): Mapping => ({ vault, rule: { compare: 'exact' }, empty });
export const string = (vault: string): Mapping => exact(vault, '');
export const boolean = (vault: string): Mapping => exact(vault, false);
export const integer = (vault: string): Mapping => exact(vault, 0);
export const map = (vault: string): Mapping => ({ vault, rule: { compare: 'map' }, empty: {} });
export const set = (vault: string): Mapping => ({ vault, rule: { compare: 'set' }, empty: [] });
/** PEM and policies: white space at the ends is no difference. */
export const text = (vault: string): Mapping => ({ vault, rule: { compare: 'text' }, empty: '' });

export type Mappings = Readonly<Record<string, Mapping>>;

export function rulesOf(mappings: Mappings): Readonly<Record<string, FieldRule>> {
  return Object.fromEntries(Object.entries(mappings).map(([path, { rule }]) => [path, rule]));
}

/** Vault's reply as fields of the spec. */
export function fromVault(mappings: Mappings, data: Readonly<Record<string, Value>>): Fields {
  return Object.fromEntries(
    Object.entries(mappings).map(([path, { vault, empty, decode = same }]) => [path, decode(data[vault] ?? empty)]),
  );
}

/** Fields of the spec as a request: every managed field, empty ones too, since some of Vault's writes merge. */
export function toVault(mappings: Mappings, fields: Fields): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(mappings).map(([path, { vault, empty, encode = same }]) => [vault, encode(fields[path] ?? empty)]),
  );
}

const same = (value: Value): Value => value;

/** The fields that are not empty: for a write of an object that does not exist yet, or that replaces all of it. */
export function withoutEmpty(data: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(data).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: Value): boolean {
  if (value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
