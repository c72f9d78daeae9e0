import { describe, expect, it } from 'vitest';
import type { StepOutcome } from '../../src/contract/observer.ts';
import type { ErrorClass } from '../../src/contract/errors.ts';
import { verdictOf, type StepResult } from '../../src/engine/readiness.ts';
import { planDesired } from '../../src/plan/plan.ts';
import type { Reason } from '../../src/plan/step.ts';
import { desired } from '../plan/objects.ts';

/** An object of a resource, and what became of it. */
function result(name: string, reason: Reason, status: StepOutcome['status'], errorClass?: ErrorClass): StepResult {
  const planned = planDesired(desired({ key: { connection: 'default', type: 'thing', name } }), undefined);
  const step = { ...planned.step, reason, message: `of ${name}` };
  return [
    { ...planned, step },
    { status, message: step.message, ...(errorClass && { errorClass }) },
  ];
}

const toldBy = (...results: StepResult[]): string | undefined => verdictOf(results).cause?.[0].key.name;

describe('a resource of several objects', () => {
  it.each<[string, StepResult, StepResult]>([
    ['is denied', result('policy', 'Denied', 'refused'), result('role', 'Blocked', 'refused')],
    ['can’t be read', result('policy', 'Unavailable', 'refused'), result('role', 'Blocked', 'refused')],
    ['is in conflict', result('policy', 'Conflict', 'refused'), result('role', 'Blocked', 'refused')],
    ['could not be written', result('policy', 'New', 'failed', 'denied'), result('role', 'New', 'skipped')],
  ])('of which one %s tells why, not that others wait for that', (_what, why, waiting) => {
    expect(toldBy(why, waiting)).toBe('policy');
    expect(toldBy(waiting, why)).toBe('policy');
    expect(verdictOf([why, waiting]).ready).toBe('False');
  });

  it('of which one waits for another resource’s tells that', () => {
    expect(toldBy(result('token', 'Blocked', 'refused'), result('file', 'InSync', 'unchanged'))).toBe('token');
  });
});
