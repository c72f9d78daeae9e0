import type { Clock } from '../../contract/clock.ts';
import { messageOf, TargetError } from '../../contract/errors.ts';
import type { AnyKind } from '../../contract/kind.ts';
import { isNewer, type KubernetesApi, type KubernetesObject } from '../../contract/kubernetes.ts';
import { API_VERSION, GROUP } from '../../contract/resource.ts';
import { isEqual, type Value } from '../../plan/value.ts';
import type { Status } from './conditions.ts';
import { FINALIZER, objectPath } from './names.ts';
import { readResource, type CustomResource, type Reading } from './resources.ts';

export interface TendedOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** Told when the object is another one after a write of ours. */
  readonly onWritten: () => void;
  readonly onWarning: (message: string) => void;
}

const AGAIN_MS = { least: 500, most: 30_000 };

/**
 * An object of ours on the API server: how it stands, and what we still have to write to it.
 *
 * Guarantees: writes to one object follow each other, each made from how the object stands then; of what is told and what a
 * write was answered with, the newer version counts; a write that fails is tried again, later each time, until it is no
 * longer wanted.
 */
export class Tended {
  readonly kind: AnyKind;
  readonly #options: TendedOptions;
  #object: CustomResource;
  #reading: Reading;
  #finalizer: 'stands' | 'goes' | undefined;
  #status: Status | undefined;
  /** The status that was last written, and what the server made of it. */
  #applied: { readonly wanted: Status; readonly got: Status | undefined } | undefined;
  #isWriting = false;
  #isClosed = false;
  #failures = 0;
  /** Calls the next try off; undefined where none is due. */
  #nextTry: (() => void) | undefined;

  constructor(kind: AnyKind, object: CustomResource, options: TendedOptions) {
    this.kind = kind;
    this.#options = options;
    this.#reading = readResource(kind, object);
    this.#object = slim(object);
  }

  get object(): CustomResource {
    return this.#object;
  }

  get reading(): Reading {
    return this.#reading;
  }

  get isDeleting(): boolean {
    return this.#object.metadata.deletionTimestamp !== undefined;
  }

  get hasFinalizer(): boolean {
    return finalizersOf(this.#object).includes(FINALIZER);
  }

  /** The status that was last written, or is about to be. */
  get status(): Status | undefined {
    return this.#status ?? this.#object.status;
  }

  /** What was told of it. @returns whether it is news. */
  take(object: CustomResource): boolean {
    if (!this.#isNews(object)) return false;
    this.#adopt(object);
    // What failed because it was made from an older version can be done now.
    this.#nextTry?.();
    this.#nextTry = undefined;
    void this.#write();
    return true;
  }

  /** The finalizer shall stand, or go. */
  wantFinalizer(finalizer: 'stands' | 'goes'): void {
    this.#finalizer = finalizer;
    void this.#write();
  }

  wantStatus(status: Status): void {
    this.#status = status;
    void this.#write();
  }

  /** Nothing more is written. */
  close(): void {
    this.#isClosed = true;
    this.#nextTry?.();
  }

  async #write(): Promise<void> {
    if (this.#isWriting || this.#nextTry !== undefined) return;
    this.#isWriting = true;
    try {
      for (let next = this.#next(); next !== undefined; next = this.#next()) {
        await this.#send(next);
        this.#failures = 0;
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isWriting = false;
    }
  }

  #next(): (() => Promise<CustomResource | undefined>) | undefined {
    if (this.#isClosed) return undefined;
    if (this.#finalizer === 'stands' && !this.hasFinalizer && !this.isDeleting)
      return () => this.#patchFinalizers([...finalizersOf(this.#object), FINALIZER]);
    if (this.#finalizer === 'goes')
      return this.hasFinalizer
        ? () => this.#patchFinalizers(finalizersOf(this.#object).filter((name) => name !== FINALIZER))
        : undefined;
    const status = this.#status;
    return status === undefined || this.#stands(status) ? undefined : () => this.#applyStatus(status);
  }

  #stands(status: Status): boolean {
    const { status: now } = this.#object;
    return areSame(status, now) || (this.#applied?.wanted === status && areSame(this.#applied.got, now));
  }

  /** @throws TargetError */
  async #send(write: () => Promise<CustomResource | undefined>): Promise<void> {
    const before = this.#object.metadata.resourceVersion;
    const written = await write().catch((error: unknown) => {
      // Somebody changed it meanwhile; if that was told already, the next write is made from it.
      if (isConflict(error) && this.#object.metadata.resourceVersion !== before) return 'outdated' as const;
      throw error;
    });
    if (this.#isClosed || written === 'outdated') return;
    // It may only not be served yet; that it is gone is told.
    if (written === undefined) throw new TargetError(`${this.#path()} is not there`, { class: 'dependency' });
    if (this.#isNews(written)) this.#adopt(written);
    this.#options.onWritten();
  }

  #isNews({ metadata }: CustomResource): boolean {
    return isNewer(metadata.resourceVersion ?? '', this.#object.metadata.resourceVersion ?? '');
  }

  #adopt(object: CustomResource): void {
    if (!isSameDeclaration(this.#object, object)) this.#reading = readResource(this.kind, object);
    this.#object = slim(object);
  }

  #patchFinalizers(finalizers: readonly string[]): Promise<CustomResource | undefined> {
    const { resourceVersion } = this.#object.metadata;
    return this.#options.api.patch(this.#path(), 'merge', { metadata: { finalizers, resourceVersion } });
  }

  async #applyStatus(status: Status): Promise<CustomResource | undefined> {
    const { name, namespace, uid } = this.#object.metadata;
    const metadata = { name, ...(namespace !== undefined && { namespace }), ...(uid !== undefined && { uid }) };
    const body = { apiVersion: API_VERSION, kind: this.kind.kind, metadata, status };
    const written = await this.#options.api.patch<CustomResource>(`${this.#path()}/status`, 'apply', body);
    this.#applied = { wanted: status, got: written?.status };
    return written;
  }

  #path(): string {
    const { name, namespace = '' } = this.#object.metadata;
    return objectPath(this.kind, namespace, name);
  }

  #failed(error: unknown): void {
    const { clock, onWarning } = this.#options;
    if (this.#isClosed) return;
    // That somebody changed it will be told.
    if (!isConflict(error)) onWarning(messageOf(error));
    const delay = Math.min(AGAIN_MS.most, AGAIN_MS.least * 2 ** this.#failures++);
    this.#nextTry = clock.after(delay, () => {
      this.#nextTry = undefined;
      void this.#write();
    });
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof TargetError && error.status === 409;
}

function finalizersOf({ metadata }: CustomResource): readonly string[] {
  return metadata.finalizers ?? [];
}

/** What of it is kept: its spec is in the reading. */
function slim({ metadata, status }: CustomResource): CustomResource {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp, finalizers } =
    metadata;
  const ours = ourAnnotations(metadata);
  return {
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(generation !== undefined && { generation }),
      ...(creationTimestamp !== undefined && { creationTimestamp }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
      ...(finalizers !== undefined && { finalizers }),
      ...(Object.keys(ours).length > 0 && { annotations: ours }),
    },
    ...(status !== undefined && { status }),
  };
}

function ourAnnotations({ annotations = {} }: KubernetesObject['metadata']): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(`${GROUP}/`)));
}

function isSameDeclaration({ metadata: a }: CustomResource, { metadata: b }: CustomResource): boolean {
  return (
    a.uid === b.uid &&
    a.generation === b.generation &&
    a.deletionTimestamp === b.deletionTimestamp &&
    areSame(ourAnnotations(a), ourAnnotations(b))
  );
}

function areSame(a: unknown, b: unknown): boolean {
  return a === b || (a !== undefined && b !== undefined && isEqual(a as Value, b as Value));
}
