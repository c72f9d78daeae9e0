import { invalid } from './errors.ts';

/** How Vault reads the fields of a request: loosely on the way in, always the same on the way out. */
export type Fields = Readonly<Record<string, unknown>>;

/** A list, one string, or strings between commas. */
export function list(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(String);
  if (typeof value !== 'string' || value === '') return [];
  return value.split(',').map((part) => part.trim());
}

/** @returns whole seconds, from a number, digits, or a Go duration. */
export function seconds(value: unknown): number {
  if (value === undefined || value === null || value === '') return 0;
  if (typeof value === 'number') return value;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^\d+$/.test(text)) return Number(text);
  const units = { d: 86_400, h: 3600, m: 60, s: 1 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([dhms])/g)];
  if (parts.length === 0) throw invalid(`error converting input for field: time: invalid duration "${text}"`);
  return parts.reduce((total, [, amount, unit]) => total + Number(amount) * units[unit as keyof typeof units], 0);
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function map(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
