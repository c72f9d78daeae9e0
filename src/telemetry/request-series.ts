import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Observer } from '../contract/observer.ts';
import { amount } from './amount.ts';

type Target = Parameters<Observer['requested']>[0];
type Labels = Record<'target' | 'connection' | 'verb' | 'status', string>;
type Observed = Pick<Observer, 'synced' | 'disconnected' | 'requested'>;

/** Up to a blocking query's five minutes. */
const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** All that a server is asked by; anything else is OTHER, so that no label grows without bound. */
const VERBS = ['GET', 'HEAD', 'LIST', 'PUT', 'POST', 'PATCH', 'DELETE', 'READ', 'WRITE', 'WATCH'];
const VERB_OF = new Map(VERBS.flatMap((verb) => [[verb, verb] as const, [verb.toLowerCase(), verb] as const]));

const TARGET_OF: Readonly<Record<string, Target>> = { NomadCluster: 'nomad', VaultServer: 'vault' };

/**
 * Series by connection. Those of a connection go with it; a reply that comes later counts no more, and counting begins
 * anew when the connection is `synced`, or not, again.
 */
export class RequestSeries {
  /** By target and connection, then by verb and status. */
  readonly #labels = new Map<string, Map<string, Labels>>();
  readonly #gone = new Set<string>();
  readonly #requests: Counter<keyof Labels>;
  readonly #seconds: Histogram<'target' | 'verb'>;
  readonly #synced: Gauge<'kind' | 'connection'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#requests = new Counter({
      name: 'nomad_access_requests_total',
      help: 'Requests to the servers; status 0 where no reply came',
      labelNames: ['target', 'connection', 'verb', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'nomad_access_request_duration_seconds',
      help: 'How long requests to the servers take',
      labelNames: ['target', 'verb'],
      buckets: REQUEST_BUCKETS,
      registers,
    });
    this.#synced = new Gauge({
      name: 'nomad_access_synced',
      help: 'Whether the live objects of a connection are known',
      labelNames: ['kind', 'connection'],
      registers,
    });
  }

  readonly observer: Observed = {
    synced: ({ kind, name }, isSynced) => {
      this.#gone.delete(keyOf(TARGET_OF[kind], name));
      this.#synced.set({ kind, connection: name }, isSynced ? 1 : 0);
    },
    disconnected: ({ kind, name }) => {
      this.#synced.remove({ kind, connection: name });
      const key = keyOf(TARGET_OF[kind], name);
      this.#gone.add(key);
      for (const labels of this.#labels.get(key)?.values() ?? []) this.#requests.remove(labels);
      this.#labels.delete(key);
    },
    requested: (target, connection, verb, status, seconds) => {
      const known = VERB_OF.get(verb) ?? 'OTHER';
      this.#seconds.observe({ target, verb: known }, amount(seconds));
      const key = keyOf(target, connection);
      if (!this.#gone.has(key)) this.#requests.inc(this.#labelsOf(key, target, connection, known, status));
    },
  };

  #labelsOf(key: string, target: Target, connection: string, verb: string, status: number): Labels {
    const ofConnection = this.#labels.get(key) ?? new Map<string, Labels>();
    if (ofConnection.size === 0) this.#labels.set(key, ofConnection);
    const code = isStatus(status) ? status : 0;
    const series = `${verb} ${code}`;
    const known = ofConnection.get(series);
    if (known !== undefined) return known;
    const made = { target, connection, verb, status: String(code) };
    ofConnection.set(series, made);
    return made;
  }
}

function keyOf(target: Target | undefined, connection: string): string {
  return `${target ?? ''} ${connection}`;
}

function isStatus(status: number): boolean {
  return Number.isInteger(status) && status >= 100 && status <= 599;
}
