import { normaliseText } from '../../plan/diff.ts';
import type { Value } from '../../plan/value.ts';

/** A JWKS URL with its CA as the plan compares it. White space around a PEM is no difference. */
export function jwksPair(jwksUrl: string, jwksCaPem: string): Value {
  return { jwksUrl, jwksCaPem: normaliseText(jwksCaPem) };
}

export function jwksPairFromVault(pair: Value): Value {
  return jwksPair(textIn(pair, 'jwks_url'), textIn(pair, 'jwks_ca_pem'));
}

export function jwksPairToVault(pair: Value): Value {
  return { jwks_url: textIn(pair, 'jwksUrl'), jwks_ca_pem: textIn(pair, 'jwksCaPem') };
}

function textIn(value: Value, field: string): string {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return '';
  const text = (value as Readonly<Record<string, Value>>)[field];
  return typeof text === 'string' ? text : '';
}
