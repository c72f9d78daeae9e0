import { describe, expect, it } from 'vitest';
import { keysToKeep } from '../../src/kinds/vault-jwt-integration/jwks.ts';

const HOUR = 3_600_000;

describe('keys that Vault shall accept', () => {
  it('a published key is kept, however long', () => {
    expect(keysToKeep(['a'], [{ pem: 'a', goneSince: null }], HOUR, 10 * HOUR)).toEqual([
      { pem: 'a', goneSince: null },
    ]);
  });
  it('a key that is gone is kept for as long as a token signed by it may live', () => {
    const first = keysToKeep(['b'], [{ pem: 'a', goneSince: null }], HOUR, 1000);
    expect(first).toEqual([
      { pem: 'b', goneSince: null },
      { pem: 'a', goneSince: 1000 },
    ]);
    expect(keysToKeep(['b'], first, HOUR, 999 + HOUR).map((k) => k.pem)).toEqual(['b', 'a']);
    expect(keysToKeep(['b'], first, HOUR, 1000 + HOUR).map((k) => k.pem)).toEqual(['b']);
  });
  it('a key that comes back is a published one again', () => {
    expect(keysToKeep(['a'], [{ pem: 'a', goneSince: 5 }], HOUR, 6)).toEqual([{ pem: 'a', goneSince: null }]);
  });
});
