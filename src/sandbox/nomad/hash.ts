import { blake2b } from '@noble/hashes/blake2.js';

/** BLAKE2b-256 over the parts, base64, as Nomad hashes its objects. */
export function hashOf(parts: readonly unknown[]): string {
  const hash = blake2b.create({ dkLen: 32 });
  for (const part of parts) hash.update(new TextEncoder().encode(String(part)));
  return Buffer.from(hash.digest()).toString('base64');
}
