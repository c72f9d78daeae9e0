import { describe, expect, it } from 'vitest';
import type { ResourceReport } from '../../../src/contract/report.ts';
import type { Resource } from '../../../src/contract/resource.ts';
import { noticesOf } from '../../../src/sources/kubernetes/notices.ts';
import type { Status } from '../../../src/sources/kubernetes/conditions.ts';
import { done, step } from '../../telemetry/steps.ts';

const settledReport: ResourceReport = {
  declared: { kind: 'AclPolicy', metadata: { name: 'readonly', namespace: 'default', annotations: {} } } as Resource,
  ready: 'True',
  reason: 'InSync',
  message: 'everything is as declared',
  outlook: 'settled',
  live: {},
  changes: [],
  isGone: false,
};

function conflict(message: string): ResourceReport {
  return { ...settledReport, ready: 'False', reason: 'Conflict', message, outlook: 'stalled' };
}

function withReason(reason: string): Status {
  const condition = { status: 'False', message: '', observedGeneration: 1, lastTransitionTime: '' } as const;
  return { conditions: [{ type: 'Ready', reason, ...condition }] };
}

describe('what is told by Events', () => {
  it('nothing, where everything is as it was: Events must not fill etcd', () => {
    expect(noticesOf(settledReport, withReason('InSync'))).toEqual([]);
  });

  it.each([
    ['create', 'New', false, 'Created'],
    ['update', 'Changed', false, 'Updated'],
    ['update', 'Changed', true, 'DriftCorrected'],
    ['create', 'Missing', true, 'DriftCorrected'],
    ['delete', 'Removed', false, 'Deleted'],
    ['noop', 'Adopted', false, 'Adopted'],
  ] as const)('%s (%s, drift: %s) is %s', (action, reason, isDrift, expected) => {
    const change = { step: step({ action, reason }), outcome: done, isDrift };
    const notices = noticesOf({ ...settledReport, changes: [change] }, undefined);
    expect(notices.map(({ type, reason: told }) => [type, told])).toEqual([['Normal', expected]]);
  });

  it('the fields that changed, and not what they held: an Event is read by many', () => {
    const [notice] = noticesOf(
      { ...settledReport, changes: [{ step: step(), outcome: done, isDrift: true }] },
      undefined,
    );
    expect(notice?.note).toContain('rules');
    expect(notice?.note).not.toMatch(/old-value|new-value/);
  });

  it('what stands in the way once, however often it is tried again, and again once it is something else', () => {
    expect(noticesOf(conflict('a'), undefined)).toMatchObject([{ type: 'Warning', reason: 'Conflict', note: 'a' }]);
    expect(noticesOf(conflict('a'), withReason('Conflict'))).toEqual([]);
    expect(noticesOf(conflict('a'), withReason('Unavailable'))).toHaveLength(1);
  });
});
