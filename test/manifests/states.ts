import type { Resource } from '../../src/contract/resource.ts';
import type { ErrorClass } from '../../src/contract/errors.ts';
import type { StepOutcome } from '../../src/contract/observer.ts';
import type { ResourceReport } from '../../src/contract/report.ts';
import { verdictOf } from '../../src/engine/readiness.ts';
import { reportOf } from '../../src/engine/report.ts';
import type { Action, PlannedStep, Reason } from '../../src/plan/step.ts';

/** A state that a resource can be in, how it gets there, and what shall be made of it. */
export interface State {
  readonly name: string;
  /** What the last pass came to; undefined: there was none. */
  readonly report: ResourceReport | undefined;
  /** What was done to the resource since. */
  readonly then?: 'edited' | 'deleted';
  /** It was being deleted when the report was made. */
  readonly isDeleting?: true;
  readonly spec?: object;
  /** `type=status reason` of each condition. */
  readonly conditions: readonly string[];
  /** Flux takes Current for healthy, Failed for failed at once, and waits for the rest until its timeout. */
  readonly kstatus: 'Current' | 'InProgress' | 'Failed' | 'Terminating';
  readonly argo: 'Healthy' | 'Progressing' | 'Degraded' | 'Suspended';
  /** Whether `kubectl wait --for=condition=Ready` is content. */
  readonly isReady: boolean;
}

const DECLARED: Resource = {
  kind: 'AclPolicy',
  metadata: { name: 'state', namespace: 'default', annotations: {} },
  spec: {},
  source: 'AclPolicy default/state',
  folder: '/',
  locate: () => ({ file: '', line: 0, column: 0 }),
};

/** What the engine reports of a resource with one live object, of which this step was planned and came out so. */
function reported(
  action: Action,
  reason: Reason,
  status: StepOutcome['status'],
  message = '',
  errorClass?: ErrorClass,
): ResourceReport {
  const key = { connection: 'default', type: 'acl-policy', name: 'state' };
  const resource = { kind: 'AclPolicy', namespace: 'default', name: 'state' };
  const step = { action, ...resource, object: 'default/acl-policy/state', changes: [], reason, message };
  const planned: PlannedStep = { step, key, dependsOn: [] };
  const outcome: StepOutcome = { status, message, ...(errorClass !== undefined && { errorClass }) };
  const results = [[planned, outcome]] as const;
  return reportOf({
    declared: DECLARED,
    verdict: verdictOf(results),
    results,
    isDrift: () => false,
    live: { name: 'state' },
    isGone: false,
  });
}

const READY = reported('noop', 'InSync', 'unchanged');
const CONFLICT = reported('refuse', 'Conflict', 'refused', 'it exists already and is another one');
const UNREACHABLE = reported('refuse', 'Unavailable', 'refused', 'NomadCluster default: connection refused');

export const STATES: readonly State[] = [
  {
    name: 'nobody has looked at it yet',
    report: undefined,
    conditions: [],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'ready',
    report: READY,
    conditions: ['Ready=True InSync'],
    kstatus: 'Current',
    argo: 'Healthy',
    isReady: true,
  },
  {
    name: 'ready, just written',
    report: reported('create', 'New', 'done'),
    conditions: ['Ready=True InSync'],
    kstatus: 'Current',
    argo: 'Healthy',
    isReady: true,
  },
  {
    name: 'edited since it was ready',
    report: READY,
    then: 'edited',
    conditions: ['Ready=True InSync'],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'in conflict with a live object that is not ours',
    report: CONFLICT,
    conditions: ['Ready=False Conflict', 'Stalled=True Conflict'],
    kstatus: 'Failed',
    argo: 'Degraded',
    isReady: false,
  },
  {
    name: 'edited since it was in conflict',
    report: CONFLICT,
    then: 'edited',
    conditions: ['Ready=False Conflict', 'Stalled=True Conflict'],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'not granted',
    report: reported('refuse', 'NotGranted', 'refused', 'NomadCluster default grants no management tokens'),
    conditions: ['Ready=False NotGranted', 'Stalled=True NotGranted'],
    kstatus: 'Failed',
    argo: 'Degraded',
    isReady: false,
  },
  {
    name: 'refused by the server as it is declared',
    report: reported('create', 'New', 'failed', 'invalid rules', 'terminal'),
    conditions: ['Ready=False Rejected', 'Stalled=True Rejected'],
    kstatus: 'Failed',
    argo: 'Degraded',
    isReady: false,
  },
  {
    name: 'waiting for something that is not there yet',
    report: reported('refuse', 'Waiting', 'refused', 'there is no NomadCluster default'),
    conditions: ['Ready=False Waiting', 'Reconciling=True Waiting'],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'of unknown state, because the server does not answer',
    report: UNREACHABLE,
    conditions: ['Ready=Unknown Unavailable', 'Reconciling=True Unavailable'],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'failed, and tried again',
    report: reported('update', 'Changed', 'failed', '500', 'transient'),
    conditions: ['Ready=False Failed', 'Reconciling=True Failed'],
    kstatus: 'InProgress',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'suspended',
    report: reported('noop', 'Suspended', 'unchanged', 'spec.suspend is set'),
    spec: { suspend: true },
    conditions: ['Ready=Unknown Suspended'],
    kstatus: 'InProgress',
    argo: 'Suspended',
    isReady: false,
  },
  {
    name: 'expired',
    report: reported('noop', 'Expired', 'unchanged', 'expired; it is not made again'),
    conditions: ['Ready=False Expired', 'Stalled=True Expired'],
    kstatus: 'Failed',
    argo: 'Degraded',
    isReady: false,
  },
  {
    name: 'deleted since it was ready',
    report: READY,
    then: 'deleted',
    conditions: ['Ready=True InSync'],
    kstatus: 'Terminating',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'being deleted while the server does not answer',
    report: UNREACHABLE,
    isDeleting: true,
    conditions: ['Ready=Unknown Unavailable', 'Reconciling=True Unavailable'],
    kstatus: 'Terminating',
    argo: 'Progressing',
    isReady: false,
  },
  {
    name: 'being deleted, and nothing is left to do',
    report: READY,
    isDeleting: true,
    conditions: ['Ready=False InSync'],
    kstatus: 'Terminating',
    argo: 'Progressing',
    isReady: false,
  },
];
