import type { ResourceReport } from '../../contract/report.ts';

/** As `metav1.Condition`. */
export interface Condition {
  readonly type: 'Ready' | 'Reconciling' | 'Stalled';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  /** RFC 3339, whole seconds. */
  readonly lastTransitionTime: string;
}

export interface Status {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly live?: Readonly<Record<string, unknown>>;
  readonly lastDrift?: { readonly time: string; readonly object: string; readonly fields: readonly string[] };
  readonly lastReconcileRequest?: string;
}

/** What a status is about, beside the report. */
export interface Observed {
  readonly generation: number;
  readonly isDeleting: boolean;
  /** The request that the report answers. */
  readonly reconcileRequest?: string | undefined;
  /** The status until now. */
  readonly before: Status | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

type Reported = Pick<ResourceReport, 'ready' | 'reason' | 'message' | 'outlook' | 'live' | 'changes'>;

/** Longest message that the API server takes. */
const MESSAGE = 32_768;
const FIELDS = 256;

/**
 * The status that a report leads to. `Ready` is always there; `Reconciling` while it goes on by itself, `Stalled` while only
 * a change of something helps: both as kstatus, Flux and Argo CD read them. Pure: the same input gives the same status.
 */
export function statusOf(report: Reported, observed: Observed): Status {
  const { generation, before, reconcileRequest } = observed;
  const live = report.live === undefined ? before?.live : kept(report.live);
  const lastDrift = driftOf(report, observed) ?? before?.lastDrift;
  return {
    observedGeneration: generation,
    conditions: conditionsOf(report, observed),
    ...(live !== undefined && Object.keys(live).length > 0 && { live }),
    ...(lastDrift !== undefined && { lastDrift }),
    ...(reconcileRequest !== undefined && { lastReconcileRequest: reconcileRequest }),
  };
}

function conditionsOf(report: Reported, observed: Observed): Condition[] {
  const { reason, outlook } = report;
  const message = report.message.slice(0, MESSAGE);
  // What is on its way out is never ready again.
  const ready = observed.isDeleting && report.ready === 'True' ? 'False' : report.ready;
  const make = (type: Condition['type'], status: Condition['status']): Condition => {
    const known = observed.before?.conditions?.find((c) => c.type === type);
    const since = known?.status === status ? known.lastTransitionTime : seconds(observed.now);
    return { type, status, reason, message, observedGeneration: observed.generation, lastTransitionTime: since };
  };
  return [
    make('Ready', ready),
    ...(outlook === 'going' ? [make('Reconciling', 'True')] : []),
    ...(outlook === 'stalled' ? [make('Stalled', 'True')] : []),
  ];
}

function driftOf({ changes }: Reported, { now }: Observed): Status['lastDrift'] {
  const corrected = changes
    .filter(({ isDrift, outcome }) => isDrift && outcome.status === 'done')
    .map(({ step }) => step);
  const [first] = corrected;
  if (first === undefined) return undefined;
  const fields = corrected.flatMap((step) => step.changes.map((change) => change.path)).slice(0, FIELDS);
  return { time: seconds(now), object: first.object, fields };
}

/** The API server drops what is null, and would then seem to have something else than what was written. */
function kept(live: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(live, (_key, value: unknown) => value ?? undefined)) as Record<string, unknown>;
}

function seconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
