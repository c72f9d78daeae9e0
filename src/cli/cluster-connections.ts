import type { Observer } from '../contract/observer.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import { isWhole, type Declaration } from '../contract/source.ts';
import type { Ledger } from '../engine/ledger.ts';
import type { Connection } from '../engine/world.ts';
import { resourceText } from '../plan/step.ts';
import type { KubernetesSource } from '../sources/kubernetes/index.ts';
import { isConnection } from './connections.ts';
import type { OpenConnections } from './open-connections.ts';

/** Takes connections out of what is declared, opens them, and tells their state. */
export class ClusterConnections {
  readonly #opened: OpenConnections;
  readonly #source: KubernetesSource;
  readonly #ledger: Ledger;
  readonly #declared = new Map<string, Resource>();
  #connections: readonly Connection[] = [];

  constructor(opened: OpenConnections, source: KubernetesSource, ledger: Ledger) {
    this.#opened = opened;
    this.#source = source;
    this.#ledger = ledger;
  }

  async take(declaration: Declaration): Promise<{ connections: readonly Connection[]; declaration: Declaration }> {
    const rest = this.#takeOut(declaration);
    if (rest.isConcerned || this.#isLeft()) {
      const all = await this.#opened.update([...this.#declared.values()], () => true);
      this.#connections = all.filter((c) => this.#opened.isInUse(c));
      for (const connection of this.#connections) this.#tellRefusal(connection);
    }
    return { connections: this.#connections, declaration: rest.declaration };
  }

  #tellRefusal({ kind, name, refused }: Connection): void {
    const declared = this.#declared.get(idOfConnection(kind, name));
    if (refused === undefined || declared === undefined) return;
    const outlook = refused.reason === 'AddressChanged' ? 'stalled' : 'going';
    this.#source.reportState(declared, { ready: 'False', reason: refused.reason, message: refused.error, outlook });
  }

  /** Whether nothing is left of what was made through a connection that is not declared any more. */
  #isLeft(): boolean {
    const used = new Set(this.#ledger.connections().map(({ kind, name }) => `${kind}/${name}`));
    return this.#connections.some(({ kind, name, retired }) => retired !== undefined && !used.has(`${kind}/${name}`));
  }

  /** The same observer, with what becomes of connections told in their status as well. */
  observing(observer: Observer): Observer {
    return {
      ...observer,
      synced: (connection, isSynced, error) => {
        observer.synced(connection, isSynced, error);
        this.#tell(connection.kind, connection.name, isSynced, error);
      },
    };
  }

  #tell(kind: string, name: string, isSynced: boolean, error: string | undefined): void {
    const declared = this.#declared.get(idOfConnection(kind, name));
    // That it is being read for the first time is no news.
    if (declared === undefined || (!isSynced && error === undefined)) return;
    const { grants } = declared.spec as { readonly grants?: unknown };
    const granted = grants === undefined ? UNGRANTED : 'it can be used';
    const message = isSynced ? granted : (error ?? '');
    const [ready, outlook] = isSynced ? (['True', 'settled'] as const) : (['Unknown', 'going'] as const);
    this.#source.reportState(declared, {
      ready,
      reason: isSynced ? 'InSync' : 'Unavailable',
      message,
      outlook,
    });
  }

  #takeOut(declaration: Declaration): { declaration: Declaration; isConcerned: boolean } {
    if (isWhole(declaration)) {
      this.#declared.clear();
      for (const resource of declaration.resources.filter(isConnection)) this.#declare(resource);
      const resources = declaration.resources.filter((resource) => !isConnection(resource));
      return { declaration: { ...declaration, resources }, isConcerned: true };
    }
    const { changed, deleting, gone } = declaration;
    const connections = changed.filter(isConnection);
    const left = gone.filter((id) => this.#declared.delete(id));
    for (const resource of connections) this.#declare(resource);
    const isNothing = changed.length + deleting.length + gone.length === 0;
    return {
      declaration: {
        changed: changed.filter((resource) => !isConnection(resource)),
        deleting,
        gone: gone.filter((id) => !left.includes(id)),
      },
      isConcerned: isNothing || connections.length + left.length > 0,
    };
  }

  #declare(resource: Resource): void {
    this.#declared.set(resourceText(idOf(resource)), resource);
  }
}

/** A connection without grants is for everybody, but for what is most dangerous. */
const UNGRANTED =
  'no grants are declared: resources of every namespace may use it, but not for management or global tokens';

function idOfConnection(kind: string, name: string): string {
  return resourceText({ kind, namespace: '', name });
}
