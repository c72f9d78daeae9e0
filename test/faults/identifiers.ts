import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { Random } from './random.ts';

/** What the servers name things by, and what the wall clock would make different, in each run of a schedule. */
let random = new Random(0);

/** From now on identifiers are the same for the same seed: a schedule replays exactly. */
export function seedIdentifiers(seed: number): void {
  random = new Random(seed ^ 0x2545f491);
}

function bytes(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => random.below(256)));
}

function uuid(): ReturnType<typeof crypto.randomUUID> {
  const hex = bytes(16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

Object.assign(crypto, { randomUUID: uuid, randomBytes: bytes });
// The sandbox has imported them by name.
syncBuiltinESMExports();
