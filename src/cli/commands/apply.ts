import { UsageError } from '../../contract/errors.ts';
import { execute, type Result } from '../../engine/execute.ts';
import { isWrite, type PlannedStep } from '../../plan/step.ts';
import type { MayBootstrap } from '../bootstrapping.ts';
import type { Interrupted } from '../interrupted.ts';
import { refuseLockOut } from '../lock-out.ts';
import { look } from '../look.ts';
import { massDeletion } from '../mass-deletion.ts';
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
  // A plan that nobody confirmed, and the error, would be two documents.
  if (!options.yes && options.output === 'json') throw new UsageError(unasked('--yes'));
  const needsInventory = desire === 'nothing';
  const mayBootstrap = desire === 'declared' ? bootstrapAsker(options, terminal, drain) : undefined;
  const session = await openSession({ ...options, write: true, desire, needsInventory, mayBootstrap }, drain);
  try {
    for (const note of session.notes) terminal.err(note);
    const steps = await confirmed(session, desire, options, terminal, drain);
    return steps === undefined ? 1 : await carryOut(steps, session, options, terminal, drain);
  } finally {
    await session.close();
  }
}

async function carryOut(
  steps: readonly PlannedStep[],
  session: Session,
  options: ApplyOptions,
  terminal: Terminal,
  drain: AbortSignal,
): Promise<number> {
  const onAbort = (): void => {
    terminal.err(`${(drain.reason as Interrupted).by}: finishing what is running; once more ends at once`);
  };
  const onResult = (planned: PlannedStep, result: Result): void => {
    if (options.output !== 'json') printProgress(terminal, planned, result);
  };
  drain.addEventListener('abort', onAbort);
  const results = await execute(steps, { world: session.world, drain, onResult });
  drain.removeEventListener('abort', onAbort);
  if (options.output === 'json') printResults(terminal, steps, results);
  else printOutcome(terminal, steps, results);
  return allGood(steps, results) ? 0 : 1;
}

/** The plan that a person saw, or with --yes the one that stood twice in a row. Undefined where the answer was no. */
async function confirmed(
  session: Session,
  desire: 'declared' | 'nothing',
  options: ApplyOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<PlannedStep[] | undefined> {
  let steps = await look(session.world, signal);
  for (;;) {
    if (options.output !== 'json') printPlan(terminal, steps, 'text');
    if (desire === 'nothing') refuseLockOut(steps, session.world);
    if (!steps.some(isWrite)) return steps;
    if (!(await mayDelete(steps, session, options, terminal, signal)) || !(await mayBegin(options, terminal, signal))) {
      terminal.out('Nothing was done.');
      return undefined;
    }
    const again = await look(session.world, signal);
    if (text(again) === text(steps)) return again;
    if (options.yes)
      throw new UsageError('the servers changed between the plan and its execution: nothing was done; run it again');
    terminal.out('The servers changed in the meantime. What would be done now:');
    steps = again;
  }
}

function text(steps: readonly PlannedStep[]): string {
  return JSON.stringify(steps.map((s) => s.step));
}

async function mayBegin(options: ApplyOptions, terminal: Terminal, signal: AbortSignal): Promise<boolean> {
  if (options.yes) return true;
  if (!terminal.interactive) throw new UsageError(unasked('--yes'));
  return (await terminal.ask('Do this? Only "yes" does it: ', signal)) === 'yes';
}

function unasked(flags: string): string {
  return `nobody can be asked for a confirmation here, so nothing was done: add ${flags}`;
}

/** One question after the other, and what was answered is told. */
function bootstrapAsker(options: ApplyOptions, terminal: Terminal, signal: AbortSignal): MayBootstrap {
  let turn: Promise<unknown> = Promise.resolve();
  return (cluster, place) => {
    const what = `NomadCluster ${cluster}: its ACLs are not bootstrapped yet`;
    if (options.yes) {
      terminal.err(`${what}: that is done now, with a token in ${place}.`);
      return Promise.resolve(true);
    }
    if (!terminal.interactive) return Promise.reject(new UsageError(`${what}. ${unasked('--yes')}`));
    const question = `${what}. Do that now, with a token in ${place}? Only "yes" does it: `;
    const answer = turn.then(async () => (await terminal.ask(question, signal)) === 'yes');
    turn = answer.catch(() => undefined);
    return answer;
  };
}

async function mayDelete(
  steps: readonly PlannedStep[],
  session: Session,
  options: ApplyOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<boolean> {
  const mass = massDeletion(steps, session.world.ledger.all().length);
  if (options.allowMassDelete || mass === undefined) return true;
  if (options.yes) throw new UsageError(`${mass.text}: nothing was done. If that is meant, add --allow-mass-delete`);
  if (!terminal.interactive) throw new UsageError(`${mass.text}: ${unasked('--yes --allow-mass-delete')}`);
  const answer = await terminal.ask(`${mass.text}. Type the number of deletions to go on: `, signal);
  return answer === String(mass.deletions);
}
