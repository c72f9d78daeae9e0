import { positionText, type ManifestError } from '../contract/resource.ts';
import type { Result } from '../engine/execute.ts';
import { causeText, grouped, objectsText, refusalKey, sharedMessage } from '../plan/alike.ts';
import { planJson, planMarkdown, planText, printable } from '../plan/render.ts';
import { resourceText, type PlannedStep, type Step } from '../plan/step.ts';
import type { Terminal } from './terminal.ts';

export type Output = 'text' | 'json' | 'markdown';

export function printPlan(terminal: Terminal, planned: readonly PlannedStep[], output: Output): void {
  const steps = planned.map((p) => p.step);
  if (output === 'json') terminal.out(JSON.stringify(planJson(steps), null, 2));
  else terminal.out(output === 'markdown' ? planMarkdown(steps) : planText(steps, terminal.paint));
}

/** The plan with the `result` of each step. */
export function printResults(
  terminal: Terminal,
  planned: readonly PlannedStep[],
  results: ReadonlyMap<string, Result>,
): void {
  const { steps, summary } = planJson(planned.map((p) => p.step));
  const withResults = steps.map((step) => ({
    ...step,
    result: results.get(step.object) ?? { status: 'interrupted', message: '' },
  }));
  terminal.out(JSON.stringify({ steps: withResults, summary }, null, 2));
}

/** One line as each write is through; what was not tried is told at the end. */
export function printProgress(terminal: Terminal, { step }: PlannedStep, result: Result): void {
  if (result.status !== 'done' && result.status !== 'failed') return;
  const what = printable(`${step.action} ${resourceText(step)} ${step.object}`);
  if (result.status === 'done') terminal.err(terminal.paintErr(step.action, `  done: ${what}`));
  else terminal.err(terminal.paintErr('refuse', `  ${result.status}: ${what}: ${printable(result.message)}`));
}

/** What an operator needs at the end: how much was done, what was not and why. */
export function printOutcome(
  terminal: Terminal,
  planned: readonly PlannedStep[],
  results: ReadonlyMap<string, Result>,
): void {
  const of = (status: Result['status']): PlannedStep[] =>
    planned.filter((p) => results.get(p.step.object)?.status === status);
  const unfinished = planned.filter((p) => !isGood(results.get(p.step.object)));
  terminal.out(
    `${String(of('done').length)} done, ${String(of('unchanged').length)} in order, ${String(unfinished.length)} not done.`,
  );
  const ends = unfinished.map(({ step }) => ({ step, result: results.get(step.object) ?? NOT_BEGUN }));
  for (const group of grouped(ends, endKey))
    for (const line of endLines(group)) terminal.out(terminal.paint('refuse', line));
}

interface End {
  readonly step: Step;
  readonly result: Result;
}

const NOT_BEGUN: Result = { status: 'interrupted', message: 'not begun' };

function endKey({ step, result }: End): string {
  if (result.status === 'refused') return `refused ${refusalKey(step) ?? `${step.reason} ${step.message}`}`;
  return `${result.status} ${causeText(result.message)}`;
}

/** More than these that ended alike share a line. */
const MOST_ALIKE = 3;

function endLines(group: readonly End[]): string[] {
  const [first] = group;
  if (first === undefined) return [];
  const { status, message } = first.result;
  if (group.length > MOST_ALIKE) {
    const steps = group.map(({ step }) => step);
    const reason = status === 'refused' ? `${first.step.reason}: ${sharedMessage(steps)}` : causeText(message);
    return [printable(`  ${status}: ${objectsText(steps)}: ${reason}`)];
  }
  return group.map(({ step, result }) => {
    const reason = status === 'refused' ? `${step.reason}: ${result.message}` : result.message;
    return printable(`  ${status}: ${resourceText(step)} (${step.object}): ${reason}`);
  });
}

export function allGood(planned: readonly PlannedStep[], results: ReadonlyMap<string, Result>): boolean {
  return planned.every((p) => isGood(results.get(p.step.object)));
}

function isGood(result: Result | undefined): boolean {
  return result?.status === 'done' || result?.status === 'unchanged';
}

export function errorText({ path, message, ...position }: ManifestError): string {
  return `${positionText(position)}: ${path === '' ? '' : `${path}: `}${printable(message)}`;
}
