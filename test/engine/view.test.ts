import { beforeEach, describe, expect, it } from 'vitest';
import type { ObjectType } from '../../src/contract/kind.ts';
import { LiveView, type ViewChange } from '../../src/engine/view.ts';
import type { Live } from '../../src/plan/step.ts';

const type: ObjectType = {
  name: 'thing',
  connection: 'NomadCluster',
  after: [],
  read: () => Promise.reject(new Error('not used')),
};
const key = { connection: 'c', type: 'thing', name: 'a' };
const live = (text: string, index?: number, more: Partial<Live> = {}): Live => ({
  fields: { text },
  ...(index !== undefined && { index }),
  ...more,
});
const all = (...entries: [string, Live][]): ReadonlyMap<string, Live> => new Map(entries);

describe('the live view', () => {
  let view: LiveView;
  let changes: ViewChange[];
  const textOf = (name = 'a'): unknown => (view.get('c', 'thing', name) as Live | undefined)?.fields['text'];

  beforeEach(() => {
    view = new LiveView();
    changes = [];
    view.onChange = (change) => changes.push(change);
  });

  it('takes what was never read for unknown, not for absent', () => {
    expect(view.failure('c', 'thing')).toMatchObject({ reason: 'Unavailable' });
    view.replace('c', type, { objects: all() }, view.begin());
    expect(view.failure('c', 'thing')).toBeUndefined();
  });

  it('keeps what a write of ours made, though a list that began before it ends after it', () => {
    const began = view.begin();
    view.put(key, type, live('ours', 7));
    view.replace('c', type, { objects: all(['a', live('old', 3)]), index: 6 }, began);
    expect(textOf()).toBe('ours');
    view.put(key, type, undefined, live('ours', 7), 8);
    view.replace('c', type, { objects: all(['a', live('old', 3)]), index: 6 }, began);
    expect(textOf()).toBeUndefined();
    view.replace('c', type, { objects: all(['a', live('again', 9)]), index: 9 }, view.begin());
    expect(textOf()).toBe('again');
  });

  it('ignores an event that is older than a list, a write or a deletion of ours', () => {
    view.replace('c', type, { objects: all(['a', live('new', 5)]), index: 5 }, view.begin());
    view.event('c', type, 'a', live('old', 4), 4);
    view.event('c', type, 'a', undefined, 5);
    expect(textOf()).toBe('new');
    view.put(key, type, undefined, live('new', 5), 9);
    view.event('c', type, 'a', live('old', 8), 8);
    expect(textOf()).toBeUndefined();
    view.event('c', type, 'a', live('theirs', 10), 10);
    expect(textOf()).toBe('theirs');
  });

  it('does not let a late reply of ours hide what somebody did after it', () => {
    view.event('c', type, 'a', live('theirs', 12), 12);
    view.put(key, type, live('ours', 11));
    expect(textOf()).toBe('theirs');
  });

  it('takes the event of a write of ours for ours, though it comes before the reply', () => {
    view.writing(key, type);
    view.event('c', type, 'a', live('ours', 7, { id: '7' }), 7);
    view.put(key, type, live('ours', 7));
    view.wrote(key, type);
    expect([textOf(), changes]).toEqual(['ours', []]);
  });

  it('hears of what somebody did while we wrote, whether our write came through or not', () => {
    view.writing(key, type);
    view.event('c', type, 'a', live('ours', 7), 7);
    view.event('c', type, 'a', live('theirs', 8), 8);
    view.put(key, type, live('ours', 7));
    view.wrote(key, type);
    expect(textOf()).toBe('theirs');
    view.writing(key, type);
    view.event('c', type, 'a', live('more', 9), 9);
    view.wrote(key, type);
    expect([textOf(), changes.length]).toEqual(['more', 2]);
  });

  it('does not let a list bring back what an event has deleted since it began', () => {
    view.replace('c', type, { objects: all(['a', live('x', 5)]), index: 5 }, view.begin());
    const began = view.begin();
    view.event('c', type, 'a', undefined, 6);
    view.replace('c', type, { objects: all(['a', live('x', 5)]), index: 5 }, began);
    expect(textOf()).toBeUndefined();
  });

  it('believes a server that was restored to an earlier state', () => {
    view.replace('c', type, { objects: all(['a', live('later', 50)]), index: 50 }, view.begin());
    view.replace('c', type, { objects: all(['a', live('earlier', 20)]), index: 20 }, view.begin());
    expect(textOf()).toBe('earlier');
  });

  it('tells of a change once, and not of one that no plan could see', () => {
    view.replace('c', type, { objects: all(['a', live('x', 5, { facts: { hash: '1' } })]), index: 5 }, view.begin());
    expect(changes).toHaveLength(1);
    view.event('c', type, 'a', live('x', 6, { facts: { hash: '2' } }), 6);
    view.put(key, type, live('y', 7));
    view.event('c', type, 'a', live('y', 7), 7);
    expect(changes).toHaveLength(1);
    view.event('c', type, 'a', live('z', 8), 8);
    expect(changes).toHaveLength(2);
  });

  it('keeps what it knew while a type cannot be read, and tells afterwards only what has changed', () => {
    view.replace('c', type, { objects: all(['a', live('x')], ['b', live('x')]) }, view.begin());
    view.fail('c', type, { error: 'down', reason: 'Unavailable' });
    changes = [];
    view.replace('c', type, { objects: all(['a', live('x')], ['b', live('y')]) }, view.begin());
    expect(changes.map((c) => c.name)).toEqual(['b']);
  });

  it('keeps the guard of our own token through events, which do not tell of it', () => {
    view.replace('c', type, { objects: all(['a', live('x', 1, { protected: 'own' })]), index: 1 }, view.begin());
    view.event('c', type, 'a', live('y', 2), 2);
    expect(view.get('c', 'thing', 'a')).toMatchObject({ protected: 'own', fields: { text: 'y' } });
  });

  it('takes what a reading of some objects does not name for gone, and leaves the others', () => {
    view.replace('c', type, { objects: all(['a', live('x')], ['b', live('x')]) }, view.begin());
    view.take('c', type, ['a'], { objects: all() }, view.begin());
    expect([textOf('a'), textOf('b')]).toEqual([undefined, 'x']);
  });
});
