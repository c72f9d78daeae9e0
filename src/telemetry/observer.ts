import type { Observer } from '../contract/observer.ts';
import { createLog, type Log, type LogOptions } from './log.ts';
import { logObserver } from './log-observer.ts';
import { createMetrics, type Counted, type Metrics, type MetricsOptions } from './metrics.ts';
import { Readiness } from './readiness.ts';

export interface TelemetryOptions extends MetricsOptions {
  readonly log?: LogOptions;
  /** Monotonic milliseconds; replaced in tests. */
  readonly now?: () => number;
}

export interface Telemetry {
  /** For the engine. No call throws, waits or keeps what it is given. */
  readonly observer: Observer;
  /** For what is no concern of the engine: start, stop. */
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>;
  /** Why this replica is not ready, one sentence each; empty where it is. */
  readonly ready: () => readonly string[];
}

/**
 * Tells the log, the metrics and the readiness what the engine does. A connection in use counts as unready from the
 * first `synced`: call it with false as soon as the connection is declared.
 *
 * @example
 * const telemetry = createTelemetry({ version: '1.0.0', log: { format: 'text' } });
 * const server = await serveOperations({ listen: '127.0.0.1:8080', telemetry });
 */
export function createTelemetry(options: TelemetryOptions): Telemetry {
  const log = createLog(options.log);
  const lines = logObserver(log, options.now ?? (() => performance.now()));
  const metrics = createMetrics(options);
  const readiness = new Readiness(options.election !== undefined);
  return {
    observer: inTurn(metrics.observer, readiness.observer, lines),
    log,
    metrics,
    ready: () => readiness.reasons(),
  };
}

/** All count, some also speak. Reconciles and requests are only counted: they are too many for a log. */
function inTurn(metrics: Counted, readiness: Readiness['observer'], lines: ReturnType<typeof logObserver>): Observer {
  return {
    ...metrics,
    warned: lines.warned,
    driftFound: (...told) => {
      metrics.driftFound(...told);
      lines.driftFound(...told);
    },
    driftCorrected: (...told) => {
      metrics.driftCorrected(...told);
      lines.driftCorrected(...told);
    },
    stepped: (...told) => {
      metrics.stepped(...told);
      lines.stepped(...told);
    },
    synced: (...told) => {
      metrics.synced(...told);
      readiness.synced(...told);
      lines.synced(...told);
    },
    disconnected: (...told) => {
      metrics.disconnected(...told);
      readiness.disconnected(...told);
      lines.disconnected(...told);
    },
    desired: (...told) => {
      metrics.desired(...told);
      readiness.desired(...told);
      lines.desired(...told);
    },
    leading: (...told) => {
      metrics.leading(...told);
      readiness.leading(...told);
      lines.leading(...told);
    },
  };
}
