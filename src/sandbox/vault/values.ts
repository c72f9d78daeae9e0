import { isIP } from 'node:net';
import { invalid } from './errors.ts';

/** How Vault reads the fields of a request: loosely on the way in, always the same on the way out. */
export type Fields = Readonly<Record<string, unknown>>;

/** A list, one string, or strings between commas; without the white space around each. */
export function list(value: unknown): string[] {
  if (Array.isArray(value)) return value.map((part) => String(part).trim());
  if (typeof value !== 'string' || value === '') return [];
  return value.split(',').map((part) => part.trim());
}

/** Addresses and networks; a network of one address becomes that address. */
export function networks(value: unknown): string[] {
  return list(value).map((part) => {
    const [, address = part, bits] = /^(.*)\/(\d+)$/.exec(part) ?? [];
    const version = isIP(address.replace(/^([\d.]+):\d+$/, '$1'));
    if (version === 0)
      throw invalid(
        `error parsing address "${part}": Unable to convert "${part}" to an IPv4 or IPv6 address, or a UNIX Socket`,
      );
    return bits === (version === 4 ? '32' : '128') ? address : part;
  });
}

/** @returns whole seconds, from a number, digits, or a Go duration. */
export function seconds(value: unknown, field = ''): number {
  if (value === undefined || value === null || value === '') return 0;
  if (typeof value === 'number') return value;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^\d+$/.test(text)) return Number(text);
  const units = { d: 86_400, h: 3600, m: 60, s: 1 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([dhms])/g)];
  if (parts.length === 0)
    throw invalid(`error converting input for field "${field}": time: invalid duration "${text}"`);
  return parts.reduce((total, [, amount, unit]) => total + Number(amount) * units[unit as keyof typeof units], 0);
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function map(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
