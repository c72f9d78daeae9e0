import { look } from '../look.ts';
import { massDeletion } from '../mass-deletion.ts';
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
  const session = await openSession({ ...options, write: false, desire: 'declared' }, signal);
  try {
    for (const note of session.notes) terminal.err(note);
    const steps = await look(session.world, signal);
    printPlan(terminal, steps, options.output);
    const mass = massDeletion(steps, session.world.ledger.all().length);
    if (mass !== undefined && options.output !== 'json')
      terminal.out(`${mass.text}: apply --yes refuses that without --allow-mass-delete.`);
    if (steps.some((s) => s.step.action === 'refuse')) return 1;
    return options.detailedExitcode && steps.some((s) => s.step.action !== 'noop') ? 2 : 0;
  } finally {
    await session.close();
  }
}
