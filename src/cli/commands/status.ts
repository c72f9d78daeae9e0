import { compose } from '../../engine/compose.ts';
import { observe } from '../../engine/observe.ts';
import { contextOf, kindOf, type World } from '../../engine/world.ts';
import type { Resource } from '../../contract/resource.ts';
import { printable } from '../../plan/render.ts';
import { resourceText, type PlannedStep, type ResourceId } from '../../plan/step.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import { openSession } from '../session.ts';
import type { Terminal } from '../terminal.ts';

interface Drift {
  readonly object: string;
  readonly action: string;
  readonly fields: readonly string[];
}

interface ResourceStatus extends ResourceId {
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly live: Readonly<Record<string, unknown>>;
  readonly drift: readonly Drift[];
}

/** Each resource, its live state, and where the two differ. */
export async function status(
  options: ManifestOptions & { output: Output },
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const session = await openSession({ ...options, write: false, desire: 'declared' });
  try {
    await observe(session.world, signal);
    const resources = statuses(session.world, compose(session.world));
    if (options.output === 'json') terminal.out(JSON.stringify({ resources }, null, 2));
    else print(resources, terminal);
    return resources.some((r) => r.ready === 'False' && isRefusal(r)) ? 1 : 0;
  } finally {
    await session.close();
  }
}

const isRefusal = (r: ResourceStatus): boolean => r.drift.some((d) => d.action === 'refuse');

function statuses(world: World, steps: readonly PlannedStep[]): ResourceStatus[] {
  const grouped = new Map<string, PlannedStep[]>();
  for (const step of steps) {
    const id = resourceText(step.step);
    grouped.set(id, [...(grouped.get(id) ?? []), step]);
  }
  return [...grouped].map(([id, group]) => statusOf(world, world.resources.get(id), group));
}

function statusOf(world: World, resource: Resource | undefined, group: readonly PlannedStep[]): ResourceStatus {
  const first = group[0]?.step;
  const decisive = mostSerious(group)?.step;
  const live = resource && kindOf(world, resource).status?.(resource, group, contextOf(world));
  return {
    kind: first?.kind ?? '',
    namespace: first?.namespace ?? '',
    name: first?.name ?? '',
    ready: readiness(group),
    reason: decisive?.reason ?? 'InSync',
    message: decisive?.message ?? '',
    live: live ?? {},
    drift: group
      .filter((s) => s.step.action !== 'noop')
      .map((s) => ({ object: s.step.object, action: s.step.action, fields: s.step.changes.map((c) => c.path) })),
  };
}

const SERIOUSNESS = ['refuse', 'delete', 'replace', 'create', 'update', 'noop'];

function mostSerious(group: readonly PlannedStep[]): PlannedStep | undefined {
  const rank = ({ step }: PlannedStep): number => SERIOUSNESS.indexOf(step.action) + (step.reason === 'InSync' ? 1 : 0);
  return [...group].sort((a, b) => rank(a) - rank(b))[0];
}

function readiness(group: readonly PlannedStep[]): ResourceStatus['ready'] {
  const reasons = new Set(group.map((s) => s.step.reason));
  if (reasons.has('Unavailable') || reasons.has('Denied') || reasons.has('Suspended')) return 'Unknown';
  if (reasons.has('Expired')) return 'False';
  return group.every((s) => s.step.action === 'noop') ? 'True' : 'False';
}

function print(resources: readonly ResourceStatus[], terminal: Terminal): void {
  for (const r of resources) {
    const style = r.ready === 'True' ? 'noop' : r.ready === 'False' ? 'refuse' : 'update';
    terminal.out(`${resourceText(r).padEnd(48)} ${terminal.paint(style, `Ready=${r.ready}`)} ${r.reason}`);
    if (r.message !== '') terminal.out(terminal.paint('dim', `    ${printable(r.message)}`));
    for (const d of r.drift)
      terminal.out(`    ${d.action} ${d.object}${d.fields.length > 0 ? `: ${d.fields.join(', ')}` : ''}`);
  }
  const ready = resources.filter((r) => r.ready === 'True').length;
  terminal.out(`${String(ready)} of ${String(resources.length)} ready.`);
}
