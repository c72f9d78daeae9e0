import { compose } from '../engine/compose.ts';
import { observe } from '../engine/observe.ts';
import type { World } from '../engine/world.ts';
import type { PlannedStep } from '../plan/step.ts';

/**
 * Reads the live objects and plans.
 * @throws the signal's reason, once it is aborted: what was not read because of that must not look as if it could not be.
 */
export async function look(world: World, signal: AbortSignal): Promise<PlannedStep[]> {
  await observe(world, signal);
  signal.throwIfAborted();
  return compose(world);
}
