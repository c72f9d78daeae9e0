import { describe, expect, it } from 'vitest';
import { indexLookup, objectLookup, Tracker } from '../../src/engine/tracker.ts';

describe('the tracker', () => {
  const lookup = objectLookup('c', 'auth-mount', 'jwt/nomad');

  it('leads from a live object to all who look at it, and from an index too', () => {
    const tracker = new Tracker();
    tracker.record('A', [lookup, indexLookup('c', 'acl-token', 'owner')]);
    tracker.record('B', [lookup]);
    expect(tracker.readersOf(lookup)).toEqual(['A', 'B']);
    expect(tracker.readersOf(indexLookup('c', 'acl-token', 'owner'))).toEqual(['A']);
    expect(tracker.isRead(objectLookup('c', 'auth-mount', 'x'))).toBe(false);
  });

  it('forgets what a resource looks at no more', () => {
    const tracker = new Tracker();
    tracker.record('A', [lookup]);
    tracker.record('A', [objectLookup('d', 'policy', 'p')]);
    expect(tracker.isRead(lookup)).toBe(false);
    expect([...tracker.lookingAt('c', 'auth-mount')]).toEqual([]);
    expect([...tracker.lookingAt('d', 'policy')]).toEqual(['A']);
    tracker.forget('A');
    expect([...tracker.lookingAt('d', 'policy'), ...tracker.shelvesOf('A')]).toEqual([]);
  });

  it('knows the connections and types that a resource looks at, slashes in names notwithstanding', () => {
    const tracker = new Tracker();
    tracker.record('A', [lookup, indexLookup('c', 'acl-token', 'a/b')]);
    expect(tracker.shelvesOf('A')).toEqual([
      { connection: 'c', type: 'auth-mount' },
      { connection: 'c', type: 'acl-token' },
    ]);
  });
});
