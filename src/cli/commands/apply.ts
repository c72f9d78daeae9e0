import { UsageError } from '../../contract/errors.ts';
import { compose } from '../../engine/compose.ts';
import { execute, type Result } from '../../engine/execute.ts';
import { observe } from '../../engine/observe.ts';
import type { PlannedStep } from '../../plan/step.ts';
import type { ManifestOptions } from '../options.ts';
import { allGood, printOutcome, printPlan, printProgress, printResults, type Output } from '../report.ts';
import { openSession, type Session } from '../session.ts';
import type { Terminal } from '../terminal.ts';

export interface ApplyOptions extends ManifestOptions {
  readonly output: Output;
  readonly yes: boolean;
  readonly allowMassDelete: boolean;
}

/** Makes the live servers equal to the manifests. */
export function apply(options: ApplyOptions, terminal: Terminal, drain: AbortSignal): Promise<number> {
  return converge(options, 'declared', terminal, drain);
}

/** Deletes what the inventory holds under the paths. */
export function destroy(options: ApplyOptions, terminal: Terminal, drain: AbortSignal): Promise<number> {
  return converge({ ...options, allowMassDelete: true }, 'nothing', terminal, drain);
}

async function converge(
  options: ApplyOptions,
  desire: 'declared' | 'nothing',
  terminal: Terminal,
  drain: AbortSignal,
): Promise<number> {
  if (!options.yes && (!terminal.interactive || options.output === 'json')) {
    throw new UsageError('nobody can be asked for a confirmation here: add --yes');
  }
  const session = await openSession({ ...options, write: true, desire });
  try {
    const steps = await confirmed(session, options, terminal, drain);
    if (steps === undefined) return 1;
    const progress = (planned: PlannedStep, result: Result): void => {
      if (options.output !== 'json') printProgress(terminal, planned, result);
    };
    const results = await execute(steps, { world: session.world, drain, onResult: progress });
    if (options.output === 'json') printResults(terminal, steps, results);
    else printOutcome(terminal, steps, results);
    return allGood(steps, results) ? 0 : 1;
  } finally {
    await session.close();
  }
}

/** The plan that a person saw, or with --yes the one that stood twice in a row. Undefined where the answer was no. */
async function confirmed(
  session: Session,
  options: ApplyOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<PlannedStep[] | undefined> {
  let steps = await look(session, signal);
  for (;;) {
    if (options.output !== 'json') printPlan(terminal, steps, 'text');
    if (steps.every((s) => s.step.action === 'noop' || s.step.action === 'refuse')) return steps;
    if (!(await mayDelete(steps, session, options, terminal))) return undefined;
    if (!options.yes && (await terminal.ask('Do this? Only "yes" does it: ')) !== 'yes') {
      terminal.out('Nothing was done.');
      return undefined;
    }
    const again = await look(session, signal);
    if (text(again) === text(steps)) return again;
    if (options.yes)
      throw new UsageError('the servers changed between the plan and its execution: nothing was done; run it again');
    terminal.out('The servers changed in the meantime. What would be done now:');
    steps = again;
  }
}

async function look(session: Session, signal: AbortSignal): Promise<PlannedStep[]> {
  await observe(session.world, signal);
  return compose(session.world);
}

function text(steps: readonly PlannedStep[]): string {
  return JSON.stringify(steps.map((s) => s.step));
}

/** An empty checkout must not empty a cluster. */
async function mayDelete(
  steps: readonly PlannedStep[],
  session: Session,
  options: ApplyOptions,
  terminal: Terminal,
): Promise<boolean> {
  const deletions = steps.filter((s) => s.step.action === 'delete' && s.step.reason !== 'Replaced').length;
  const recorded = session.world.ledger.all().length;
  if (options.allowMassDelete || deletions < 5 || deletions * 2 <= recorded) return true;
  const what = `${String(deletions)} of the ${String(recorded)} objects that the inventory holds would be deleted`;
  if (options.yes) throw new UsageError(`${what}: nothing was done. If that is meant, add --allow-mass-delete`);
  return (await terminal.ask(`${what}. Type the number of deletions to go on: `)) === String(deletions);
}
