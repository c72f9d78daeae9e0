import { compose } from '../../engine/compose.ts';
import { observe } from '../../engine/observe.ts';
import type { ManifestOptions } from '../options.ts';
import { printPlan, type Output } from '../report.ts';
import { openSession } from '../session.ts';
import type { Terminal } from '../terminal.ts';

/** What `apply` would do. Exit code 1 with a refusal, 2 with changes where that was asked for. */
export async function plan(
  options: ManifestOptions & { output: Output; detailedExitcode: boolean },
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const session = await openSession({ ...options, write: false, desire: 'declared' });
  try {
    await observe(session.world, signal);
    const steps = compose(session.world);
    printPlan(terminal, steps, options.output);
    if (steps.some((s) => s.step.action === 'refuse')) return 1;
    return options.detailedExitcode && steps.some((s) => s.step.action !== 'noop') ? 2 : 0;
  } finally {
    await session.close();
  }
}
