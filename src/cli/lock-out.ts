import { UsageError } from '../contract/errors.ts';
import { neededForLogin } from '../engine/logins.ts';
import type { World } from '../engine/world.ts';
import type { PlannedStep } from '../plan/step.ts';

/**
 * Half of everything must not be destroyed: what a login needs would be left, and with the rest gone nothing tells any more that
 * the connection is to be declared otherwise first.
 * @throws UsageError where something stays for that.
 */
export function refuseLockOut(steps: readonly PlannedStep[], world: World): void {
  for (const { step, key, live } of steps) {
    const why =
      step.action === 'refuse' && live !== undefined ? neededForLogin(world, key, live, undefined) : undefined;
    if (why !== undefined)
      throw new UsageError(`${step.object} can't be destroyed: ${why}, and apply that. Nothing was done`);
  }
}
