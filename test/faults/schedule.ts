import { checkDeclared, checkDeclaredSoon, checkSecrets, prepareForeign } from './ending.ts';
import { forgetDeadLeases } from './engine.ts';
import { beginning, HAPPENINGS, somethingIn } from './mix.ts';
import { Random } from './random.ts';
import { Simulation } from './simulation.ts';
import { prepareSources } from './sources.ts';

/** What happens, when: milliseconds of virtual time since the beginning. */
export interface Action {
  readonly at: number;
  readonly what: string;
  /** Chooses among what is possible then; the same number always chooses the same. */
  readonly choice: number;
}

const DURATION_MS = 60_000;
/** Long enough for every deadline, backoff, sweep and list. */
const CALM_MS = 240_000;

/** A random schedule. The same seed makes the same one. */
export function scheduleOf(seed: number): Action[] {
  const random = new Random(seed ^ 0x5bd1e995);
  const actions: Action[] = [];
  for (let left = 4 + random.below(14); left > 0; left--) {
    const action = { at: random.below(DURATION_MS), what: somethingIn(seed, random), choice: random.below(1 << 30) };
    actions.push(action);
    // Nobody stays dead.
    if (action.what === 'crash') actions.push({ at: action.at + random.below(5_000), what: 'start', choice: 0 });
  }
  return actions.sort((a, b) => a.at - b.at);
}

/**
 * Runs a schedule, lets calm come, and checks the end.
 * @returns the log of all that happened.
 * @throws AssertionError that says what was not as it must be, with that log.
 */
export async function runSchedule(seed: number, actions: readonly Action[]): Promise<readonly string[]> {
  const s = new Simulation(seed);
  prepareSources(s);
  const checkForeign = await prepareForeign(s);
  s.declare(beginning(seed));
  s.start();
  try {
    for (const action of actions) {
      await s.run(Math.max(0, action.at - s.clock.monotonic()));
      s.note(`>>> ${action.what} ${String(action.choice)}`);
      await HAPPENINGS[action.what]?.(s, action.choice);
    }
    await s.run(15_000);
    s.note('>>> calm');
    s.spare();
    await forgetDeadLeases(s);
    s.start();
    await s.run(CALM_MS);
    await checkDeclaredSoon(s);
    s.note('>>> nothing is declared any more');
    s.declare({});
    await s.run(CALM_MS);
    checkDeclared(s);
    await s.stop();
    checkForeign();
    checkSecrets(s);
    return s.log;
  } catch (error) {
    if (error instanceof Error) error.message = `seed ${String(seed)}: ${error.message}\n${s.log.join('\n')}`;
    throw error;
  } finally {
    s.end();
  }
}

/** The shortest schedule that still fails, by leaving out one action after the other. */
export async function shrink(
  seed: number,
  actions: readonly Action[],
  isFailing = (kept: readonly Action[]): Promise<boolean> => fails(seed, kept),
): Promise<Action[]> {
  let shortest = [...actions];
  for (let i = 0; i < shortest.length;) {
    const shorter = shortest.filter((_, j) => j !== i);
    if (await isFailing(shorter)) shortest = shorter;
    else i++;
  }
  return shortest;
}

async function fails(seed: number, actions: readonly Action[]): Promise<boolean> {
  try {
    await runSchedule(seed, actions);
    return false;
  } catch {
    return true;
  }
}
