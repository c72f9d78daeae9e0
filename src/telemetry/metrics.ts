import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Observer } from '../contract/observer.ts';
import { KindSeries } from './kind-series.ts';
import { OperatorSeries } from './operator-series.ts';
import { RequestSeries } from './request-series.ts';

export interface MetricsOptions {
  readonly version: string;
  /** What the replicas elect their leader by, as the label of `leader_election_master_status`. Absent: no election. */
  readonly election?: string | undefined;
}

/** All that can be counted. */
export type Counted = Omit<Observer, 'warned'>;

export interface Metrics {
  readonly observer: Counted;
  /** Media type of the text. */
  readonly contentType: string;
  /** Everything in Prometheus' text format. */
  readonly text: () => Promise<string>;
}

/**
 * Counts what an Observer is told. Where the meaning is that of controller-runtime's metrics, names, labels and buckets
 * are, too, with the kind as the controller, so that existing dashboards and alerts work.
 *
 * Series go with what they are about: a connection's when it is declared no more, a kind's when its last resource is
 * gone (its counters with the scrape after that one, or the last deletions would never be seen).
 */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const kinds = new KindSeries(registry);
  const requests = new RequestSeries(registry);
  const operator = new OperatorSeries(registry, options);
  return {
    observer: { ...kinds.observer, ...requests.observer, ...operator.observer },
    contentType: registry.contentType,
    text: async () => {
      const text = await registry.metrics();
      kinds.scraped();
      return text;
    },
  };
}
