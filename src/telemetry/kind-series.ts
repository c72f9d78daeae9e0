import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Observer, StepOutcome } from '../contract/observer.ts';
import type { Action } from '../plan/step.ts';
import { amount } from './amount.ts';

/** As controller-runtime's `controller_runtime_reconcile_time_seconds`. */
const RECONCILE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75, 2,
  2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];
/** As controller-runtime's work queues: powers of ten from 10 ns. */
const QUEUE_BUCKETS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1, 10, 100, 1000];
const CORRECTION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

const RESULTS = ['success', 'error', 'requeue'] as const;
const READY = ['True', 'False', 'Unknown'] as const;
const ACTIONS = Object.keys({
  create: 0,
  update: 0,
  replace: 0,
  delete: 0,
  noop: 0,
  refuse: 0,
} satisfies Record<Action, 0>);
const STATUSES = Object.keys({
  done: 0,
  unchanged: 0,
  refused: 0,
  failed: 0,
  skipped: 0,
  interrupted: 0,
} satisfies Record<StepOutcome['status'], 0>);

type Observed = Pick<
  Observer,
  'queued' | 'started' | 'finished' | 'driftFound' | 'driftCorrected' | 'stepped' | 'resources'
>;

interface Activity {
  waiting: number;
  active: number;
  /** No resource is declared: its series go as soon as nothing is under way and they were scraped once more. */
  isLeaving: boolean;
}

/** Series by kind: reconciles, queue, changes, drift, readiness. */
export class KindSeries {
  readonly #activities = new Map<string, Activity>();
  readonly #metrics: ReturnType<typeof metricsIn>;

  constructor(registry: Registry) {
    this.#metrics = metricsIn(registry);
  }

  readonly observer: Observed = {
    queued: (kind, isRetry) => {
      const activity = this.#activity(kind);
      this.#metrics.adds.inc(queue(kind));
      if (isRetry) this.#metrics.retries.inc(queue(kind));
      this.#metrics.depth.set(waiting(kind), ++activity.waiting);
    },
    started: (kind, waited) => {
      const activity = this.#activity(kind);
      activity.waiting = Math.max(0, activity.waiting - 1);
      this.#metrics.depth.set(waiting(kind), activity.waiting);
      this.#metrics.active.set({ controller: kind }, ++activity.active);
      this.#metrics.queueTime.observe(queue(kind), amount(waited));
    },
    finished: (kind, seconds, result) => {
      const activity = this.#activity(kind);
      activity.active = Math.max(0, activity.active - 1);
      this.#metrics.active.set({ controller: kind }, activity.active);
      this.#metrics.reconciles.inc({ controller: kind, result });
      if (result === 'error') this.#metrics.errors.inc({ controller: kind });
      this.#metrics.reconcileTime.observe({ controller: kind }, amount(seconds));
      this.#metrics.workTime.observe(queue(kind), amount(seconds));
    },
    driftFound: ({ kind }) => {
      this.#activity(kind);
      this.#metrics.driftFound.inc({ kind });
    },
    driftCorrected: ({ kind }, seconds) => {
      this.#activity(kind);
      this.#metrics.driftCorrected.inc({ kind });
      this.#metrics.correctionTime.observe({ kind }, amount(seconds));
    },
    stepped: ({ kind, action }, outcome) => {
      this.#activity(kind);
      this.#metrics.changes.inc({ kind, action, result: outcome.status });
    },
    resources: (kind, counts) => {
      if (counts.True + counts.False + counts.Unknown === 0) {
        this.#leave(kind);
        return;
      }
      this.#activity(kind).isLeaving = false;
      for (const ready of READY) this.#metrics.resources.set({ kind, ready }, counts[ready]);
    },
  };

  /** The text that was scraped holds the last of the kinds that are leaving. */
  scraped(): void {
    for (const [kind, { isLeaving, active, waiting }] of this.#activities) {
      if (isLeaving && active === 0 && waiting === 0) this.#remove(kind);
    }
  }

  /** Counters begin at zero, or the first increase of each would be missed by `rate()`. */
  #activity(kind: string): Activity {
    const known = this.#activities.get(kind);
    if (known !== undefined) return known;
    const made: Activity = { waiting: 0, active: 0, isLeaving: true };
    this.#activities.set(kind, made);
    const m = this.#metrics;
    for (const result of RESULTS) m.reconciles.inc({ controller: kind, result }, 0);
    m.errors.inc({ controller: kind }, 0);
    m.active.set({ controller: kind }, 0);
    m.depth.set(waiting(kind), 0);
    for (const counter of [m.adds, m.retries]) counter.inc(queue(kind), 0);
    for (const counter of [m.driftFound, m.driftCorrected]) counter.inc({ kind }, 0);
    return made;
  }

  #leave(kind: string): void {
    for (const ready of READY) this.#metrics.resources.remove({ kind, ready });
    const activity = this.#activities.get(kind);
    if (activity !== undefined) activity.isLeaving = true;
  }

  #remove(kind: string): void {
    this.#activities.delete(kind);
    const m = this.#metrics;
    for (const result of RESULTS) m.reconciles.remove({ controller: kind, result });
    for (const metric of [m.errors, m.reconcileTime, m.active]) metric.remove({ controller: kind });
    for (const metric of [m.adds, m.retries, m.queueTime, m.workTime]) metric.remove(queue(kind));
    m.depth.remove(waiting(kind));
    for (const metric of [m.driftFound, m.driftCorrected, m.correctionTime]) metric.remove({ kind });
    for (const action of ACTIONS) for (const result of STATUSES) m.changes.remove({ kind, action, result });
  }
}

function queue(kind: string): { name: string; controller: string } {
  return { name: kind, controller: kind };
}

/** Our queue knows no priorities; an empty label is an absent one. */
function waiting(kind: string): { name: string; controller: string; priority: string } {
  return { name: kind, controller: kind, priority: '' };
}

function metricsIn(registry: Registry) {
  const registers = [registry];
  const counter = <T extends string>(name: string, labelNames: T[], help: string): Counter<T> =>
    new Counter({ name, labelNames, help, registers });
  const gauge = <T extends string>(name: string, labelNames: T[], help: string): Gauge<T> =>
    new Gauge({ name, labelNames, help, registers });
  const histogram = <T extends string>(name: string, labelNames: T[], buckets: number[], help: string): Histogram<T> =>
    new Histogram({ name, labelNames, buckets, help, registers });
  return {
    reconciles: counter(
      'controller_runtime_reconcile_total',
      ['controller', 'result'],
      'Reconciles by kind and by how they ended',
    ),
    errors: counter('controller_runtime_reconcile_errors_total', ['controller'], 'Reconciles that ended in an error'),
    reconcileTime: histogram(
      'controller_runtime_reconcile_time_seconds',
      ['controller'],
      RECONCILE_BUCKETS,
      'How long reconciles take',
    ),
    active: gauge('controller_runtime_active_workers', ['controller'], 'Reconciles under way'),
    depth: gauge('workqueue_depth', ['name', 'controller', 'priority'], 'Resources that wait for a reconcile'),
    adds: counter('workqueue_adds_total', ['name', 'controller'], 'How often a resource began to wait'),
    retries: counter(
      'workqueue_retries_total',
      ['name', 'controller'],
      'How often a resource began to wait after a failure',
    ),
    queueTime: histogram(
      'workqueue_queue_duration_seconds',
      ['name', 'controller'],
      QUEUE_BUCKETS,
      'How long a due resource waits for its reconcile',
    ),
    workTime: histogram(
      'workqueue_work_duration_seconds',
      ['name', 'controller'],
      QUEUE_BUCKETS,
      'How long a resource is worked on',
    ),
    resources: gauge('nomad_access_resources', ['kind', 'ready'], 'Declared resources by readiness'),
    changes: counter(
      'nomad_access_changes_total',
      ['kind', 'action', 'result'],
      'Steps by what was to be done and what became of it',
    ),
    driftFound: counter('nomad_access_drift_found_total', ['kind'], 'Foreign changes seen on objects of ours'),
    driftCorrected: counter(
      'nomad_access_drift_corrected_total',
      ['kind'],
      'Foreign changes on objects of ours that were put back',
    ),
    correctionTime: histogram(
      'nomad_access_drift_correction_seconds',
      ['kind'],
      CORRECTION_BUCKETS,
      'From a foreign change seen to the corrected state',
    ),
  };
}
