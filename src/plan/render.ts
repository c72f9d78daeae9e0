import { diffLines } from 'diff';
import { grouped, objectsText, refusalKey, sharedMessage } from './alike.ts';
import type { Change } from './diff.ts';
import { normaliseText } from './diff.ts';
import { resourceText, summarise, type Action, type Step, type Summary } from './step.ts';
import type { Value } from './value.ts';

/** How a piece of the plan is emphasised; without a painter it stays plain. */
export type Painter = (style: Action | 'dim' | 'added' | 'removed', text: string) => string;
const plain: Painter = (_style, text) => text;

const SIGNS: Record<Action, string> = { create: '+', update: '~', replace: '±', delete: '-', noop: ' ', refuse: '!' };
const INDENT = '      ';

export interface PlanJson {
  readonly steps: readonly Step[];
  readonly summary: Summary;
}

/** The plan as `-o json` prints it. */
export function planJson(steps: readonly Step[]): PlanJson {
  return { steps, summary: summarise(steps) };
}

/** The plan for a terminal or a log: what is in order already is only counted, and one cause of many refusals said once. */
export function planText(steps: readonly Step[], paint: Painter = plain): string {
  const shown = grouped(steps.filter(isShown), refusalKey).map((group) => groupText(group, paint));
  return [...shown, summaryText(summarise(steps), paint)].join('\n');
}

function isShown(step: Step): boolean {
  return step.reason !== 'InSync';
}

function groupText(group: readonly Step[], paint: Painter): string {
  const [step] = group;
  if (step === undefined) return '';
  if (group.length === 1) return stepText(step, paint);
  return [
    `  ${paint(step.action, headText(step, objectsText(group)))}`,
    `${INDENT}${paint('dim', `${step.reason}: ${printable(sharedMessage(group))}`)}`,
  ].join('\n');
}

function headText({ action }: Step, what: string): string {
  return `${SIGNS[action]} ${action.padEnd(7)} ${printable(what)}`;
}

function stepText(step: Step, paint: Painter): string {
  const head = headText(step, resourceText(step));
  const note = [step.reason, printable(step.message)].filter((part) => part !== '').join(': ');
  const lines = step.changes.flatMap((change) => changeLines(change, paint));
  return [
    `  ${paint(step.action, head)}  ${paint('dim', printable(step.object))}`,
    `${INDENT}${paint('dim', note)}`,
    ...lines,
  ].join('\n');
}

function changeLines(change: Change, paint: Painter): string[] {
  const { path, before, after } = change;
  const name = `${INDENT}${printable(path)}:`;
  if (isLong(before) || isLong(after)) return [name, ...textDiff(before, after, paint)];
  const arrow = isNothing(before) ? show(path, after) : `${show(path, before)} → ${show(path, after)}`;
  return [`${name} ${arrow}`];
}

/** Only the lines that change, each with its neighbours; all of a new text. */
function textDiff(before: Value, after: Value, paint: Painter): string[] {
  const side = (value: Value): string => (typeof value === 'string' ? `${normaliseText(value)}\n` : '');
  return diffLines(side(before), side(after)).flatMap((part) => {
    const lines = part.value.replace(/\n$/, '').split('\n');
    if (part.value === '\n' || part.value === '') return [];
    if (part.added) return lines.map((line) => paint('added', `${INDENT}  + ${printable(line)}`));
    if (part.removed) return lines.map((line) => paint('removed', `${INDENT}  - ${printable(line)}`));
    return context(lines).map((line) => paint('dim', `${INDENT}    ${printable(line)}`));
  });
}

const CONTEXT = 2;
function context(lines: readonly string[]): string[] {
  if (lines.length <= 2 * CONTEXT + 1) return [...lines];
  return [...lines.slice(0, CONTEXT), '...', ...lines.slice(-CONTEXT)];
}

function isLong(value: Value): boolean {
  return typeof value === 'string' && value.trim().includes('\n');
}

function isNothing(value: Value): boolean {
  return value === null || value === '';
}

/** Fields of these names hold seconds. */
const DURATION = /([tT]tl|Period|Leeway)$/;

function show(path: string, value: Value): string {
  if (isNothing(value)) return '(none)';
  if (typeof value === 'number' && DURATION.test(path)) return durationText(value);
  return printable(
    typeof value === 'string' ? (value.startsWith('(') ? value : JSON.stringify(value)) : JSON.stringify(value),
  );
}

/** As manifests spell it: `1h30m`, `-1s`. */
export function durationText(seconds: number): string {
  const size = Math.abs(seconds);
  const parts = [
    [Math.floor(size / 3600), 'h'],
    [Math.floor((size % 3600) / 60), 'm'],
    [size % 60, 's'],
  ] as const;
  const text = parts.map(([count, unit]) => (count === 0 ? '' : `${String(count)}${unit}`)).join('');
  return text === '' ? '0s' : `${seconds < 0 ? '-' : ''}${text}`;
}

/** A live object's text may carry escape sequences that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function summaryText(summary: Summary, paint: Painter): string {
  const counts = (['create', 'update', 'replace', 'delete'] as const)
    .filter((action) => summary[action] > 0)
    .map((action) => paint(action, `${String(summary[action])} to ${action}`));
  const refused = summary.refuse > 0 ? paint('refuse', `, ${String(summary.refuse)} refused`) : '';
  const todo =
    counts.length > 0 ? `Plan: ${counts.join(', ')}` : refused === '' ? 'Nothing to do' : 'Plan: nothing can be done';
  return `${todo}${refused}; ${String(summary.noop)} in order.`;
}

/** The plan as a comment on a pull request. */
export function planMarkdown(steps: readonly Step[]): string {
  const summary = summarise(steps);
  const changed = steps.filter(isShown);
  const counts = (['create', 'update', 'replace', 'delete', 'refuse', 'noop'] as const).map(
    (a) => `${String(summary[a])} ${a}`,
  );
  const head = ['### nomad-access plan', '', counts.join(' · '), ''];
  if (changed.length === 0) return [...head, 'Nothing to do.', ''].join('\n');
  const groups = grouped(changed, refusalKey);
  const table = groups.map(markdownRow);
  const alone = groups.flatMap((group) => (group.length === 1 ? group : []));
  const details = alone.filter((s) => s.changes.length > 0).flatMap(markdownDetails);
  return [...head, '| action | resource | object | why |', '| --- | --- | --- | --- |', ...table, '', ...details].join(
    '\n',
  );
}

function markdownRow(group: readonly Step[]): string {
  const [step] = group;
  if (step === undefined) return '';
  const what =
    group.length === 1
      ? `${cell(resourceText(step))} | \`${cell(step.object)}\``
      : `${cell(objectsText(group))} | ${String(group.length)} objects`;
  return `| ${step.action} | ${what} | ${cell(step.reason)} ${cell(sharedMessage(group))} |`;
}

function markdownDetails(step: Step): string[] {
  const body = step.changes.flatMap(markdownChange);
  const fence = '`'.repeat(Math.max(3, ...body.map((line) => (/`+/.exec(line)?.[0].length ?? 0) + 1)));
  return [
    `<details><summary>${cell(step.action)} <code>${cell(step.object)}</code></summary>`,
    '',
    `${fence}diff`,
    ...body,
    fence,
    '',
    '</details>',
    '',
  ];
}

/** Lines that a `diff` block colours: they begin with + or -. */
function markdownChange(change: Change): string[] {
  const { path, before, after } = change;
  if (isLong(before) || isLong(after)) {
    return changeLines(change, plain).map((line) => line.slice(INDENT.length).replace(/^ {2}(?=[+-] )/, ''));
  }
  const name = printable(path);
  return [
    ...(isNothing(before) ? [] : [`- ${name}: ${show(path, before)}`]),
    ...(isNothing(after) ? [] : [`+ ${name}: ${show(path, after)}`]),
  ];
}

function cell(text: string): string {
  return printable(text).replace(/[|<>\n]/g, (c) => ({ '|': '\\|', '<': '&lt;', '>': '&gt;', '\n': ' ' })[c] ?? c);
}
