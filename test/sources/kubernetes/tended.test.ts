import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aclPolicy } from '../../../src/kinds/acl-policy/index.ts';
import type { Status } from '../../../src/sources/kubernetes/conditions.ts';
import { FINALIZER } from '../../../src/sources/kubernetes/names.ts';
import { Tended } from '../../../src/sources/kubernetes/tended.ts';
import { settled, VirtualClock } from '../../faults/virtual-clock.ts';
import { ServedObject } from './served-object.ts';

/** An object that is tended: its status always says which generation was seen last. */
function tend(
  served: ServedObject,
  clock = new VirtualClock(),
): { tended: Tended; deliver: () => void; clock: VirtualClock } {
  const judge = (): void => {
    tended.wantFinalizer('stands');
    tended.wantStatus(seen(tended));
  };
  const tended: Tended = new Tended(aclPolicy, served.now, {
    api: served.api,
    clock: clock.ofProcess(() => true),
    onWritten: judge,
    onWarning: () => undefined,
  });
  judge();
  const deliver = (): void => {
    const event = served.events.shift();
    if (event !== undefined && tended.take(event)) judge();
  };
  return { tended, deliver, clock };
}

function seen({ object }: Tended): Status {
  return { observedGeneration: object.metadata.generation ?? 0 };
}

async function quiet(served: ServedObject, deliver: () => void, clock: VirtualClock): Promise<void> {
  const end = clock.monotonic() + 120_000;
  for (let step = 50; clock.monotonic() < end; step *= 1.2) {
    while (served.events.length > 0) deliver();
    await settled();
    await clock.runUntil(clock.monotonic() + step);
  }
}

describe('an object that is tended on the API server', () => {
  it('gets its finalizer before its status, each once, though the watch tells of them late', async () => {
    const served = new ServedObject();
    const { deliver, clock } = tend(served);
    await settled();
    expect(served.writes).toEqual(['finalizers', 'status']);
    await quiet(served, deliver, clock);
    expect(served.writes).toEqual(['finalizers', 'status']);
  });

  it('is not taken for what it was before our own last write', async () => {
    const served = new ServedObject();
    const { tended } = tend(served);
    await settled();
    const [withoutStatus] = served.events;
    expect(withoutStatus?.status).toBeUndefined();
    expect(tended.take(withoutStatus ?? served.now)).toBe(false);
    expect(tended.status).toEqual({ observedGeneration: 1 });
  });

  it('gets the status again that somebody edited', async () => {
    const served = new ServedObject();
    const { deliver, clock } = tend(served);
    await quiet(served, deliver, clock);
    served.edit({ status: { observedGeneration: 7 } });
    await quiet(served, deliver, clock);
    expect(served.now.status).toEqual({ observedGeneration: 1 });
    expect(served.writes).toEqual(['finalizers', 'status', 'status']);
  });

  it('gets the finalizer again that somebody took off, and keeps those of others', async () => {
    const served = new ServedObject();
    const { deliver, clock } = tend(served);
    await quiet(served, deliver, clock);
    served.edit({ finalizers: ['others/finalizer'] });
    await quiet(served, deliver, clock);
    expect(served.now.metadata.finalizers).toEqual(['others/finalizer', FINALIZER]);
  });

  it('is patched again where the API server does not serve it yet, and no more once it is told to be gone', async () => {
    const served = new ServedObject();
    served.isServed = false;
    const { tended, clock, deliver } = tend(served);
    await settled();
    served.isServed = true;
    await quiet(served, deliver, clock);
    expect(served.now.metadata.finalizers).toEqual([FINALIZER]);
    tended.close();
    const before = served.writes.length;
    tended.wantStatus({ observedGeneration: 9 });
    await quiet(served, deliver, clock);
    expect(served.writes).toHaveLength(before);
  });

  it('asks a failing API server the less the longer it fails, whatever there is to tell', async () => {
    const served = new ServedObject();
    served.fates.push(...Array.from({ length: 1_000 }, () => 'request lost' as const));
    const { tended, clock } = tend(served);
    for (let i = 0; i < 60; i++) {
      tended.wantStatus({ observedGeneration: i });
      await clock.runUntil(clock.monotonic() + 5_000);
    }
    // Half a second, one, two, four ... thirty: of five minutes.
    expect(served.writes.length).toBeLessThanOrEqual(16);
  });

  it('hears what a list tells that a broken watch did not', async () => {
    const served = new ServedObject();
    const { tended } = tend(served);
    await settled();
    served.edit({ spec: { rules: 'write' } });
    served.events.length = 0;
    expect(tended.take(served.now)).toBe(true);
    expect(tended.object.metadata.generation).toBe(2);
    served.edit({ spec: { rules: 'deny' } });
    expect(tended.take(served.now)).toBe(true);
  });

  it('ends with its finalizer and the status of its last generation, whatever is lost, edited or late', async () => {
    const edit = fc.record({
      spec: fc.option(fc.record({ rules: fc.constantFrom('read', 'write', 'deny') }), { nil: undefined }),
      status: fc.option(fc.record({ observedGeneration: fc.integer({ min: -1, max: 9 }) }), { nil: undefined }),
      finalizers: fc.option(fc.constantFrom([], [FINALIZER], ['others/finalizer']), { nil: undefined }),
    });
    const happening = fc.oneof(
      fc.record({ is: fc.constant('edit' as const), edit }),
      fc.record({ is: fc.constantFrom('deliver' as const, 'wait' as const, 'pass' as const) }),
    );
    const fate = fc.constantFrom('arrives' as const, 'request lost' as const, 'reply lost' as const);
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { maxLength: 30 }), fc.array(fate, { maxLength: 8 }), async (all, fates) => {
        const served = new ServedObject();
        const clock = new VirtualClock();
        served.pause = () => new Promise((done) => clock.after(5, done));
        served.fates.push(...fates);
        const { deliver } = tend(served, clock);
        for (const happens of all) {
          if (happens.is === 'edit') served.edit(clean(happens.edit));
          else if (happens.is === 'deliver') deliver();
          else await clock.runUntil(clock.monotonic() + (happens.is === 'wait' ? 3 : 1_000));
        }
        await quiet(served, deliver, clock);
        const { metadata, status } = served.now;
        expect(metadata.finalizers).toContain(FINALIZER);
        expect(status).toEqual({ observedGeneration: metadata.generation });
        const edits = all.filter(({ is }) => is === 'edit').length;
        // Each edit costs a write of each sort at most, and one more where it came in between; each loss one more.
        expect(served.writes.length).toBeLessThanOrEqual(2 + 4 * edits + 2 * fates.length);
      }),
      { numRuns: 300 },
    );
  });
});

function clean<T extends object>(edit: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(edit).filter(([, value]) => value !== undefined)) as never;
}
