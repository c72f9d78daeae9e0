import { describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import type { StateBackend } from '../../src/contract/state.ts';
import { Ledger } from '../../src/engine/ledger.ts';
import type { Owned } from '../../src/plan/step.ts';

const entry: Owned = {
  key: { connection: 'default', type: 'acl-policy', name: 'one' },
  resource: { kind: 'AclPolicy', namespace: 'default', name: 'one' },
  adopted: false,
  deletionPolicy: 'Delete',
  suspended: false,
  source: 'one.yaml',
  state: 'owned',
};

/** A backend that fails, and a clock whose alarms are rung by hand. */
function failing(): { ledger: Ledger; saves: () => number; ring: () => void; alarms: () => number } {
  let saves = 0;
  const alarms = new Set<() => void>();
  const backend: StateBackend = {
    location: 'nowhere',
    load: () => Promise.resolve(undefined),
    save: () => {
      saves++;
      return Promise.reject(new TargetError('no answer', { class: 'transient' }));
    },
    lock: () => Promise.reject(new Error('not asked for')),
  };
  const clock = {
    monotonic: () => 0,
    after: (_ms: number, callback: () => void) => {
      alarms.add(callback);
      return () => alarms.delete(callback);
    },
  };
  const ledger = new Ledger(backend, 'default', undefined, () => 'NomadCluster', clock);
  const ring = (): void => {
    for (const alarm of alarms) {
      alarms.delete(alarm);
      alarm();
    }
  };
  return { ledger, saves: () => saves, ring, alarms: () => alarms.size };
}

describe('the inventory in memory', () => {
  it('is saved again after a failure, but not once it is closed: it would overwrite what the next holder saved', async () => {
    const { ledger, saves, ring, alarms } = failing();
    ledger.record(entry);
    await expect(ledger.flush()).rejects.toThrow('no answer');
    expect(alarms()).toBe(1);
    ring();
    await expect(ledger.flush()).rejects.toThrow('no answer');
    const before = saves();
    expect(before).toBeGreaterThanOrEqual(2);

    await ledger.close();
    expect(alarms()).toBe(0);
    ledger.record({ ...entry, adopted: true });
    ring();
    await ledger.flush();
    expect([saves(), alarms()]).toEqual([before, 0]);
  });
});
