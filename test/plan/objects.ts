import type { Desired, Live, Owned } from '../../src/plan/step.ts';
import { fingerprint } from '../../src/plan/diff.ts';
import { settled } from '../../src/plan/value.ts';

/** Objects of an invented type, for tests of the plan. */

export const rules: Desired['rules'] = {
  text: { compare: 'text' },
  list: { compare: 'set' },
  fixed: { compare: 'exact', onChange: 'refuse' },
};

export function desired(over: Partial<Desired> = {}): Desired {
  return {
    key: { connection: 'default', type: 'thing', name: 'a' },
    resource: { kind: 'Thing', namespace: 'default', name: 'a' },
    fields: { text: 'hello', list: ['x', 'y'], fixed: 1 },
    rules,
    live: undefined,
    dependsOn: [],
    adoptionPolicy: 'IfIdentical',
    deletionPolicy: 'Delete',
    suspended: false,
    source: 'a.yaml',
    ...over,
  };
}

export function live(over: Partial<Live> = {}): Live {
  return { fields: { text: 'hello', list: ['x', 'y'], fixed: 1 }, ...over };
}

export function owned(over: Partial<Owned> = {}): Owned {
  const { key, resource, source } = desired();
  return { key, resource, state: 'owned', adopted: false, deletionPolicy: 'Delete', suspended: false, source, ...over };
}

export function intentOf(d: Desired): string {
  return fingerprint(settled(d.fields), d.rules);
}

/** What the inventory says of an object that nothing declares any more. */
export function remembered({ suspended, deletionPolicy }: Owned): Pick<Owned, 'suspended' | 'deletionPolicy'> {
  return { suspended, deletionPolicy };
}
