import { TargetError } from '../../../src/contract/errors.ts';
import type { KubernetesApi } from '../../../src/contract/kubernetes.ts';
import type { Status } from '../../../src/sources/kubernetes/conditions.ts';
import type { CustomResource } from '../../../src/sources/kubernetes/resources.ts';

/** What becomes of a write on its way. */
export type Fate = 'arrives' | 'request lost' | 'reply lost';

/** One AclPolicy on an API server: versions, generations, check-and-set, and what a watch of it tells, later. */
export class ServedObject {
  #object: CustomResource;
  #version = 1;
  /** Told to nobody yet, in order. */
  readonly events: CustomResource[] = [];
  readonly writes: ('finalizers' | 'status')[] = [];
  /** Fates of the next writes; then all arrive. */
  readonly fates: Fate[] = [];
  /** Whether the API server knows its type. */
  isServed = true;
  /** Awaited before a write is carried out, and before its reply comes. */
  pause: () => Promise<void> = () => Promise.resolve();

  constructor(uid = 'first') {
    const metadata = { name: 'it', namespace: 'default', uid, generation: 1, resourceVersion: '1' };
    this.#object = { metadata, spec: { rules: 'read' } };
  }

  get now(): CustomResource {
    return structuredClone(this.#object);
  }

  /** Somebody else changes it. */
  edit(change: { readonly spec?: unknown; readonly status?: Status; readonly finalizers?: readonly string[] }): void {
    const { spec = this.#object.spec, status = this.#object.status, finalizers } = change;
    const { metadata } = this.#object;
    const isNew = JSON.stringify(spec) !== JSON.stringify(this.#object.spec);
    const generation = (metadata.generation ?? 0) + (isNew ? 1 : 0);
    this.#store({
      ...this.#object,
      metadata: { ...metadata, generation, ...(finalizers !== undefined && { finalizers }) },
      spec,
      ...(status !== undefined && { status }),
    });
  }

  readonly api = {
    patch: async (path: string, _type: string, body: unknown) => {
      const isStatus = path.endsWith('/status');
      this.writes.push(isStatus ? 'status' : 'finalizers');
      const fate = this.fates.shift() ?? 'arrives';
      await this.pause();
      if (!this.isServed) return undefined;
      if (fate !== 'request lost') this.#patch(body as CustomResource, isStatus);
      const reply = this.now;
      await this.pause();
      if (fate !== 'arrives') throw new TargetError('no answer', { class: 'transient', ambiguous: true });
      return reply;
    },
  } as unknown as KubernetesApi;

  #patch({ metadata, status }: CustomResource, isStatus: boolean): void {
    const before = this.#object;
    const { resourceVersion } = metadata;
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
      throw new TargetError('the object has been modified', { class: 'transient', status: 409 });
    if (isStatus && status !== undefined) this.#store({ ...before, status });
    else if (!isStatus)
      this.#store({ ...before, metadata: { ...before.metadata, finalizers: metadata.finalizers ?? [] } });
  }

  /** What changes nothing is no new version. */
  #store(object: CustomResource): void {
    if (JSON.stringify(object) === JSON.stringify(this.#object)) return;
    const resourceVersion = String(++this.#version);
    this.#object = structuredClone({ ...object, metadata: { ...object.metadata, resourceVersion } });
    this.events.push(this.now);
  }
}
