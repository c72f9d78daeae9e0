import type { ResourceReport } from '../../contract/report.ts';
import type { Status } from './conditions.ts';

/** What an Event says. */
export interface Notice {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  /** What was done, or tried. */
  readonly action: string;
  readonly note: string;
}

const DONE = { create: 'Created', update: 'Updated', replace: 'Replaced', delete: 'Deleted' } as const;

/** What is worth an Event: what was changed, and what stands in the way, once. @param before the status until then. */
export function noticesOf(report: ResourceReport, before: Status | undefined): Notice[] {
  const { reason, message, outlook, changes } = report;
  const made = changes.filter(({ outcome }) => outcome.status === 'done' || outcome.status === 'unchanged');
  const known = before?.conditions?.find(({ type }) => type === 'Ready')?.reason;
  const isTrouble = outlook !== 'settled' || reason === 'Released';
  return [
    ...made.flatMap((change) => noticeOf(change)),
    ...(isTrouble && reason !== known
      ? [{ type: 'Warning', reason, action: 'Reconcile', note: message } as const]
      : []),
  ];
}

function noticeOf({ step, isDrift }: ResourceReport['changes'][number]): Notice[] {
  const { action, object } = step;
  const fields = step.changes.map(({ path }) => path).join(', ');
  if (step.reason === 'Adopted')
    return [{ type: 'Normal', reason: 'Adopted', action: 'Adopt', note: `${object}: ours from now on` }];
  if (action === 'noop' || action === 'refuse') return [];
  const what = fields === '' || action === 'create' ? object : `${object}: ${fields}`;
  if (isDrift)
    return [
      {
        type: 'Normal',
        reason: 'DriftCorrected',
        action: 'Correct',
        note: `put back what was changed on the server: ${what}`,
      },
    ];
  const reason = DONE[action];
  return [{ type: 'Normal', reason, action: 'Reconcile', note: `${reason.toLowerCase()} ${what}` }];
}
