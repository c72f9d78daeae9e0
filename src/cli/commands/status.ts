import { causeText } from '../../plan/alike.ts';
import { printable } from '../../plan/render.ts';
import { resourceText } from '../../plan/step.ts';
import { look } from '../look.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import { declaredStatuses, recordedStatuses, type ResourceStatus } from '../resource-status.ts';
import { openSession } from '../session.ts';
import type { Terminal } from '../terminal.ts';

/**
 * Each resource, its live state, and where the two differ; without manifests what is recorded, and whether it is there.
 * Exit code 1 where something is refused or can't be read.
 */
export async function status(
  options: ManifestOptions & { output: Output },
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const isDeclared = (options.file ?? []).length > 0;
  const session = await openSession({ ...options, write: false, desire: 'declared', needsInventory: true }, signal);
  try {
    for (const note of session.notes) terminal.err(note);
    const steps = await look(session.world, signal);
    const resources = isDeclared ? declaredStatuses(session.world, steps) : recordedStatuses(session.world);
    if (options.output === 'json') terminal.out(JSON.stringify({ resources }, null, 2));
    else print(resources, isDeclared ? 'ready' : 'still there', terminal);
    return resources.some(isRefusal) ? 1 : 0;
  } finally {
    await session.close();
  }
}

function isRefusal(r: ResourceStatus): boolean {
  return r.drift.some((d) => d.action === 'refuse');
}

const STYLES = { True: 'noop', False: 'refuse', Unknown: 'update' } as const;

function print(resources: readonly ResourceStatus[], goal: string, terminal: Terminal): void {
  const said = new Set<string>();
  for (const r of resources) {
    terminal.out(
      `${resourceText(r).padEnd(48)} ${terminal.paint(STYLES[r.ready], `Ready=${r.ready}`)} ${r.reason}${liveText(r)}`,
    );
    const cause = causeText(r.message);
    // One broken connection has the same to say of everything behind it.
    if (cause !== '' && !said.has(cause)) terminal.out(terminal.paint('dim', `    ${printable(r.message)}`));
    said.add(cause);
    for (const d of r.drift)
      terminal.out(`    ${d.action} ${d.object}${d.fields.length > 0 ? `: ${d.fields.join(', ')}` : ''}`);
  }
  const ready = resources.filter((r) => r.ready === 'True').length;
  terminal.out(`${String(ready)} of ${String(resources.length)} ${goal}.`);
}

/** What identifies the live object, on one line; configuration for others is in `-o json`. */
function liveText({ live }: ResourceStatus): string {
  const parts = Object.entries(live).flatMap(([name, value]) => {
    const text = Array.isArray(value) ? value.filter(isScalar).join(',') : isScalar(value) ? String(value) : '';
    return text === '' ? [] : [`${name}=${text}`];
  });
  return parts.length === 0 ? '' : `\n    ${printable(parts.join('  '))}`;
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}
