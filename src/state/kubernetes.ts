import { createHash } from 'node:crypto';
import { systemClock, type Waiting } from '../contract/clock.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import type { StateBackend } from '../contract/state.ts';
import { ConfigMapStore } from './config-maps.ts';
import { type LeaseTimes, leaseTimes, lockLease } from './lease.ts';

export interface KubernetesStateOptions {
  readonly api: KubernetesApi;
  /** That the operator runs in. */
  readonly namespace: string;
  /** Name of the installation; any text. */
  readonly owner: string;
  /** Who we are, for messages: host and process. */
  readonly holder: string;
  readonly clock?: Waiting;
  /** Default: a lease of 15 s. */
  readonly times?: LeaseTimes;
}

/**
 * The inventory in Kubernetes, in one namespace: ConfigMaps `nomad-access-OWNER-inventory...` (ConfigMapStore says what is
 * guaranteed), and as lock the Lease `nomad-access-OWNER` (lease.ts says within which time it is handed over). All bear the
 * labels `app.kubernetes.io/managed-by` and `nomad-access.io/owner`.
 *
 * Needs `list`, `get`, `create` and `patch` of ConfigMaps, and `get`, `create` and `update` of Leases.
 */
export function kubernetesState(options: KubernetesStateOptions): StateBackend {
  const { api, namespace, owner, holder, clock = systemClock, times = leaseTimes() } = options;
  const label = labelOf(owner);
  const name = `nomad-access-${label}`;
  const labels = { 'app.kubernetes.io/managed-by': 'nomad-access', 'nomad-access.io/owner': label };
  const location = `kubernetes:${namespace}/${name}-inventory`;
  const shared = { api, namespace, labels, clock, location };
  const store = new ConfigMapStore({ ...shared, name: `${name}-inventory`, writer: holder });
  return {
    location,
    load: () => store.load(),
    save: (change) => store.save(change),
    lock: (wait) => lockLease({ ...shared, name, holder, times }, wait),
  };
}

/**
 * A part of a name and a label's value that no two owners share: an owner that is both by itself, else what is left of it with
 * a digest behind a dot, which no such owner has.
 */
function labelOf(owner: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(owner)) return owner;
  const readable = owner
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  const digest = createHash('sha256').update(owner).digest('hex').slice(0, 16);
  return `${readable === '' ? 'owner' : readable}.${digest}`;
}
