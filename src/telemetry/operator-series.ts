import { Gauge, type Registry } from 'prom-client';
import type { Observer } from '../contract/observer.ts';

type Observed = Pick<Observer, 'desired' | 'leading'>;

const ELECTION = 'nomad-access';

/** Series about the operator as a whole. */
export class OperatorSeries {
  readonly observer: Observed;

  constructor(registry: Registry, options: { readonly version: string; readonly election?: string | undefined }) {
    const gauge = <T extends string>(name: string, help: string, labelNames: T[] = []): Gauge<T> =>
      new Gauge({ name, help, labelNames, registers: [registry] });
    const declared = gauge('nomad_access_resources_declared', 'Resources in the manifests');
    const errors = gauge('nomad_access_manifest_errors', 'Errors in the manifests');
    const held = gauge('nomad_access_deletions_held', 'Deletions that wait for --allow-mass-delete');
    const leader = gauge('leader_election_master_status', 'Whether this replica is the one that acts', ['name']);
    const name = options.election ?? ELECTION;
    if (options.election !== undefined) leader.set({ name }, 0);
    gauge('nomad_access_build_info', 'Always 1; its label is the version', ['version']).set(
      { version: options.version },
      1,
    );
    this.observer = {
      desired: (count, found, waiting) => {
        declared.set(count);
        errors.set(found.length);
        held.set(waiting);
      },
      leading: (isLeader) => {
        leader.set({ name }, isLeader ? 1 : 0);
      },
    };
  }
}
