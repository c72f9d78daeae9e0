import type { CrashRig, Sample, Scenario } from './crash-rig.ts';

const nothing = (): Promise<void> => Promise.resolve();
const applied = (rig: CrashRig): Promise<void> => rig.go('apply');
const both = ['first', 'second'];

export const scenarios = {
  made: { arrange: nothing, then: (rig, because) => rig.converges(both, because) },
  madeThenEdited: {
    arrange: nothing,
    then: (rig, because) => {
      rig.declareChanged();
      return rig.converges(['first'], because);
    },
  },
  madeThenDestroyed: { arrange: nothing, then: (rig, because) => rig.vanishes(because) },
  changed: {
    arrange: async (rig) => {
      await applied(rig);
      rig.declareChanged();
    },
    then: (rig, because) => rig.converges(['first'], because),
  },
  changedThenDestroyed: {
    arrange: async (rig) => {
      await applied(rig);
      rig.declareChanged();
    },
    then: (rig, because) => rig.vanishes(because),
  },
  destroyed: { arrange: applied, command: 'destroy', then: (rig, because) => rig.vanishes(because) },
  destroyedThenWanted: { arrange: applied, command: 'destroy', then: (rig, because) => rig.converges(both, because) },
  remadeThenEdited: {
    arrange: async (rig) => {
      await applied(rig);
      await rig.deleteByHand();
    },
    then: (rig, because) => {
      rig.declareOtherPolicies();
      return rig.converges(both, because);
    },
  },
  remadeThenDestroyed: {
    arrange: async (rig) => {
      await applied(rig);
      await rig.deleteByHand();
    },
    then: (rig, because) => rig.vanishes(because),
  },
  partlyRemade: {
    arrange: async (rig) => {
      await applied(rig);
      await rig.deleteSomeByHand();
    },
    then: (rig, because) => rig.converges(both, because),
  },
} as const satisfies Record<string, Scenario>;

/** Every k-th boundary, beginning at a random one that is printed: given in CRASH_OFFSET, the run is the same again. */
export function sampleOf(every: number): Sample {
  const given = process.env['CRASH_OFFSET'];
  const offset = given === undefined ? Math.floor(Math.random() * every) : Number(given);
  process.stderr.write(`one boundary of ${String(every)}, with CRASH_OFFSET=${String(offset)}\n`);
  return { every, offset };
}
