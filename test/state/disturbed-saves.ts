import fc from 'fast-check';
import { expect } from 'vitest';
import { UsageError } from '../../src/contract/errors.ts';
import type { StateBackend } from '../../src/contract/state.ts';
import { keyText, type Owned } from '../../src/plan/step.ts';
import { changeOf, digestOf, digestsOf, entry, type Fault, inventoryOf } from './variables.ts';

/** A server with an inventory, and the way to it. */
export interface Disturbed {
  /** A new process. */
  open(): StateBackend;
  /** One that nothing disturbs. */
  calm(): StateBackend;
  /** What was delayed arrives. */
  arrive(): Promise<void>;
}

/** Of one step: what changes, and what happens to which request of its save. */
const step = fc.record({
  set: fc.array(fc.record({ name: fc.nat(24), bytes: fc.constantFrom(10, 2500, 6000) }), { maxLength: 12 }),
  removed: fc.array(fc.nat(24), { maxLength: 6 }),
  faults: fc.array(
    fc.record({
      at: fc.nat(20),
      length: fc.nat(10),
      fault: fc.constantFrom<Fault>('request lost', 'reply lost', 'delayed'),
    }),
    { maxLength: 2 },
  ),
  arrival: fc.boolean(),
  restart: fc.boolean(),
});

/**
 * Through any sequence of changes, lost and late requests, and restarts, loading gives the old or the new entry of each
 * object, and after a save that succeeded the new one.
 */
export async function assertOldOrNew(start: (fault: () => Fault | undefined) => Disturbed): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
      let faults: (typeof steps)[number]['faults'] = [];
      let counted = 0;
      const server = start(() => {
        counted++;
        return faults.find((f) => counted > f.at && counted <= f.at + 1 + f.length)?.fault;
      });
      let state = server.open();
      await state.load();
      const objects = new Map<string, Owned>();
      /** What may be stored of each object since the last save that succeeded; undefined: nothing. */
      const possible = new Map<string, Set<string | undefined>>();
      let changedSince = new Set<string>();
      for (const { set, removed, faults: given, arrival, restart } of steps) {
        for (const { name, bytes } of set) {
          const object = entry(`t-${String(name)}`, bytes);
          objects.set(keyText(object.key), object);
          changedSince.add(keyText(object.key));
        }
        for (const name of removed) {
          const key = `default/acl-token/t-${String(name)}`;
          if (objects.delete(key)) changedSince.add(key);
        }
        for (const key of changedSince) {
          const now = objects.get(key);
          possible.set(key, (possible.get(key) ?? new Set([undefined])).add(now && digestOf(now)));
        }
        [faults, counted] = [given, 0];
        const saved = await state.save(changeOf(inventoryOf([...objects.values()]), changedSince)).then(
          () => true,
          (error: unknown) => {
            if (error instanceof UsageError) throw error;
            return false;
          },
        );
        faults = [];
        if (saved) {
          changedSince = new Set();
          for (const key of possible.keys()) {
            const now = objects.get(key);
            possible.set(key, new Set([now && digestOf(now)]));
          }
        }
        const check = async (): Promise<void> => {
          const found = digestsOf((await server.calm().load())?.objects);
          for (const [key, values] of possible) expect([...values], key).toContain(found[key]);
          expect(Object.keys(found).filter((key) => !possible.has(key))).toEqual([]);
        };
        await check();
        if (!arrival && !restart) continue;
        await server.arrive();
        await check();
        if (!restart) continue;
        state = server.open();
        const found = (await state.load())?.objects ?? [];
        objects.clear();
        for (const object of found) objects.set(keyText(object.key), object);
        const digests = digestsOf(found);
        for (const key of possible.keys()) possible.set(key, new Set([digests[key]]));
        changedSince = new Set();
      }
    }),
    { numRuns: 200 },
  );
}
