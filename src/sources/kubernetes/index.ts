import type { Clock } from '../../contract/clock.ts';
import type { AnyKind } from '../../contract/kind.ts';
import type { KubernetesApi } from '../../contract/kubernetes.ts';
import type { Reporter, ResourceReport } from '../../contract/report.ts';
import { idOf, type Resource } from '../../contract/resource.ts';
import type { Declaration, Desire, DesireChange } from '../../contract/source.ts';
import { resourceText } from '../../plan/step.ts';
import { statusOf, type Observed } from './conditions.ts';
import { Events } from './events.ts';
import { collectionPath, RECONCILE_REQUESTED } from './names.ts';
import { noticesOf } from './notices.ts';
import { sourceOf, type CustomResource } from './resources.ts';
import { Tended } from './tended.ts';

export interface KubernetesSourceOptions {
  readonly kinds: readonly AnyKind[];
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** Limits it to these; otherwise all. */
  readonly namespaces?: readonly string[] | undefined;
  /** Whether the state of connections is written to their status. */
  readonly reportsConnections: boolean;
  /** Who reports Events: the pod. */
  readonly instance: string;
  readonly onWarning: (message: string) => void;
  /** Told whether the objects of a kind, or of one in a namespace, are known to be right, each time that changes. */
  readonly onSync: (what: string, isSynced: boolean, error?: string) => void;
}

type State = Pick<ResourceReport, 'ready' | 'reason' | 'message' | 'outlook'>;

/** Of a request, in the status. */
const LONGEST_REQUEST = 1024;

/** Of one kind, everywhere or in one namespace. */
interface Followed {
  readonly kind: AnyKind;
  readonly namespace: string | undefined;
}

/**
 * The desired view, as a Kubernetes API server has it.
 *
 * Guarantees: a resource is declared only once our finalizer stands on it, so that its deletion can't go unseen; one that is
 * being deleted keeps it until nothing of it is owned any more; one that is not valid declares nothing, and what was made of
 * it stays. A status is written only where it differs from the one that stands there.
 */
export class KubernetesSource {
  readonly #options: KubernetesSourceOptions;
  readonly #objects = new Map<string, Tended>();
  /** Whose declaration may have changed since it was told. */
  readonly #dirty = new Set<string>();
  /** The resource that was told, by its ID. */
  readonly #told = new Map<string, Resource>();
  readonly #events: Events;
  readonly #unlisted: Set<Followed>;
  #wake: () => void = () => undefined;

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.#events = new Events(options);
    const { namespaces } = options;
    const scopes = (kind: AnyKind): readonly (string | undefined)[] =>
      namespaces === undefined || kind.scope === 'Cluster' ? [undefined] : namespaces;
    this.#unlisted = new Set(
      options.kinds.flatMap((kind) => scopes(kind).map((namespace): Followed => ({ kind, namespace }))),
    );
  }

  /** All of it once everything was listed, and then what changes, until the signal is aborted. */
  async *declarations(signal: AbortSignal): AsyncGenerator<Declaration> {
    // Whoever takes no more has it end, too.
    const ended = new AbortController();
    const until = AbortSignal.any([signal, ended.signal]);
    const following = [...this.#unlisted].map((followed) => this.#follow(followed, until));
    const wake = (): void => {
      this.#wake();
    };
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (this.#unlisted.size > 0 && !signal.aborted) await this.#news();
      if (!signal.aborted) yield this.#whole();
      while (!signal.aborted) {
        if (this.#dirty.size === 0) await this.#news();
        else yield this.#change();
      }
    } finally {
      ended.abort();
      signal.removeEventListener('abort', wake);
      for (const tended of this.#objects.values()) tended.close();
      this.#events.close();
      await Promise.all(following);
    }
  }

  /** Whether what the inventory holds under a source is deleted when nothing declares it. */
  readonly isPruned = (source: string): boolean => {
    const { namespaces } = this.#options;
    const namespace = /^[^ ]+ ([^/]*)\//.exec(source)?.[1] ?? '';
    // What is there, and not declared, is not valid, or does not have its finalizer yet.
    return (namespaces === undefined || namespaces.includes(namespace)) && !this.#objects.has(source);
  };

  /** Writes how a resource came out of a pass to its status, and as Events. */
  readonly report: Reporter = (report) => {
    const { declared } = report;
    const tended = this.#objects.get(resourceText(idOf(declared)));
    const isSame = tended?.object.metadata.uid === declared.metadata.uid;
    if (tended === undefined || !isSame || !this.#isReported(tended)) return;
    for (const notice of noticesOf(report, tended.status)) this.#events.record(tended.kind.kind, tended.object, notice);
    if (report.isGone) tended.wantFinalizer('goes');
    // What was found out about another declaration is not said of this one: a pass over it follows.
    else if (declared === tended.reading.resource) tended.wantStatus(statusOf(report, this.#observed(tended)));
  };

  /** Writes a state that no pass found out: of a connection. @param declared as it was when that was found out. */
  reportState(declared: Resource, state: State): void {
    this.report({ ...state, declared, live: undefined, changes: [], isGone: false });
  }

  /** Where it serves some namespaces only, connections are none of its business but to read. */
  #isReported({ kind }: Tended): boolean {
    return this.#options.reportsConnections || kind.scope === 'Namespaced';
  }

  async #follow(followed: Followed, signal: AbortSignal): Promise<void> {
    const { api, onSync } = this.#options;
    const { kind, namespace } = followed;
    const isMine = (tended: Tended): boolean =>
      tended.kind === kind && (namespace === undefined || tended.object.metadata.namespace === namespace);
    await api.follow<CustomResource>(
      { path: collectionPath(kind, namespace) },
      {
        replaced: (objects) => {
          const ids = new Set(objects.map((object) => this.#idOf(kind, object)));
          for (const [id, tended] of [...this.#objects]) if (isMine(tended) && !ids.has(id)) this.#remove(id);
          for (const object of objects) this.#take(kind, object);
          if (this.#unlisted.delete(followed)) this.#wake();
        },
        changed: (object) => {
          this.#take(kind, object);
        },
        removed: (object) => {
          this.#remove(this.#idOf(kind, object));
        },
        trouble: (why) => {
          onSync(namespace === undefined ? kind.kind : `${kind.kind} in ${namespace}`, why === undefined, why);
        },
      },
      signal,
    );
  }

  #idOf(kind: AnyKind, { metadata }: CustomResource): string {
    return sourceOf(kind.kind, metadata.namespace ?? '', metadata.name);
  }

  #take(kind: AnyKind, object: CustomResource): void {
    const id = this.#idOf(kind, object);
    const known = this.#objects.get(id);
    if (known?.object.metadata.uid === object.metadata.uid) {
      if (known?.take(object) === true) this.#judge(id, known);
      return;
    }
    known?.close();
    const { api, clock, onWarning } = this.#options;
    const tended: Tended = new Tended(kind, object, {
      api,
      clock,
      onWarning,
      onWritten: () => {
        this.#judge(id, tended);
      },
    });
    this.#objects.set(id, tended);
    this.#judge(id, tended);
  }

  #remove(id: string): void {
    this.#objects.get(id)?.close();
    if (this.#objects.delete(id)) this.#mark(id);
  }

  /** What is to be done for a resource beside what the engine does. */
  #judge(id: string, tended: Tended): void {
    if (this.#objects.get(id) !== tended) return;
    const { reading, kind, isDeleting } = tended;
    if (kind.scope === 'Namespaced' && !isDeleting && reading.errors.length === 0) tended.wantFinalizer('stands');
    if (reading.errors.length > 0 && !isDeleting) this.#refuse(tended);
    const told = this.#told.get(id);
    if (told !== (this.#isDeclared(tended) || this.#isGoing(tended) ? reading.resource : undefined)) this.#mark(id);
  }

  #refuse(tended: Tended): void {
    const message = tended.reading.errors.join('; ');
    this.reportState(tended.reading.resource, { ready: 'False', reason: 'Invalid', message, outlook: 'stalled' });
  }

  #isDeclared({ kind, reading, isDeleting, hasFinalizer }: Tended): boolean {
    return !isDeleting && reading.errors.length === 0 && (hasFinalizer || kind.scope === 'Cluster');
  }

  #isGoing({ kind, isDeleting, hasFinalizer }: Tended): boolean {
    return isDeleting && hasFinalizer && kind.scope === 'Namespaced';
  }

  #mark(id: string): void {
    this.#dirty.add(id);
    this.#wake();
  }

  async #news(): Promise<void> {
    await new Promise<void>((done) => {
      this.#wake = done;
    });
  }

  #whole(): Desire {
    this.#dirty.clear();
    const resources: Resource[] = [];
    const deleting: Resource[] = [];
    for (const [id, tended] of this.#objects) {
      const { resource } = tended.reading;
      if (this.#isDeclared(tended)) resources.push(resource);
      else if (this.#isGoing(tended)) deleting.push(resource);
      else continue;
      this.#told.set(id, resource);
    }
    return { resources, deleting, errors: [], roots: [], unknown: [] };
  }

  #change(): DesireChange {
    const changed: Resource[] = [];
    const deleting: Resource[] = [];
    const gone: string[] = [];
    for (const id of this.#dirty) {
      const tended = this.#objects.get(id);
      const resource = tended?.reading.resource;
      if (tended !== undefined && resource !== undefined && this.#isDeclared(tended)) changed.push(resource);
      else if (tended !== undefined && resource !== undefined && this.#isGoing(tended)) deleting.push(resource);
      else gone.push(id);
      if (resource !== undefined && gone.at(-1) !== id) this.#told.set(id, resource);
      else this.#told.delete(id);
    }
    this.#dirty.clear();
    return { changed, deleting, gone };
  }

  #observed(tended: Tended): Observed {
    const { object, reading, isDeleting, status } = tended;
    return {
      generation: object.metadata.generation ?? 0,
      isDeleting,
      reconcileRequest: reading.resource.metadata.annotations[RECONCILE_REQUESTED]?.slice(0, LONGEST_REQUEST),
      before: status,
      now: this.#options.clock.now(),
    };
  }
}
