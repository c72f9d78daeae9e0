import type { Observer } from '../contract/observer.ts';

type Observed = Pick<Observer, 'desired' | 'synced' | 'disconnected' | 'leading'>;

/**
 * Whether this replica does what it is for: the manifests were read, every connection in use is synced, and, where
 * replicas elect a leader, it is known who leads. One that stands by is as ready as the one that acts; errors in
 * manifests and failing resources are no reason, as a restart or another replica would not help.
 */
export class Readiness {
  readonly #elects: boolean;
  readonly #unsynced = new Map<string, string>();
  #isRead = false;
  #isElected = false;
  #isStandby = false;

  constructor(elects: boolean) {
    this.#elects = elects;
  }

  readonly observer: Observed = {
    desired: () => {
      this.#isRead = true;
    },
    synced: ({ kind, name }, isSynced, error) => {
      const connection = `${kind} ${name}`;
      if (isSynced) this.#unsynced.delete(connection);
      else this.#unsynced.set(connection, error ?? 'its objects were not read yet');
    },
    disconnected: ({ kind, name }) => {
      this.#unsynced.delete(`${kind} ${name}`);
    },
    leading: (isLeader) => {
      this.#isElected = true;
      this.#isStandby = !isLeader;
    },
  };

  /** Why it is not ready; empty where it is. */
  reasons(): readonly string[] {
    // What it would act on it reads only when it acts.
    if (this.#isStandby) return [];
    return [
      ...(this.#isRead ? [] : ['the manifests were not read yet']),
      ...(this.#elects && !this.#isElected ? ['it is not known yet which replica leads'] : []),
      ...[...this.#unsynced].map(([connection, error]) => `${connection} is not synced: ${error}`),
    ];
  }
}
