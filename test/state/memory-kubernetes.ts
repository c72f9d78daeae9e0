import { isDeepStrictEqual } from 'node:util';
import { TargetError } from '../../src/contract/errors.ts';
import type { Collection, KubernetesApi, KubernetesObject } from '../../src/contract/kubernetes.ts';

type Json = Record<string, unknown>;

/** Objects of a Kubernetes API server by their paths: resource versions, conflicts, merge patches, writes that change nothing. */
export class MemoryKubernetes implements KubernetesApi {
  readonly #objects = new Map<string, string>();
  #version = 0;

  /** Paths of all objects. */
  paths(): string[] {
    return [...this.#objects.keys()].sort();
  }

  get<T>(path: string): Promise<T | undefined> {
    return Promise.resolve(this.#read(path) as T | undefined);
  }

  list<T extends KubernetesObject>({ path, labelSelector = '' }: Collection): Promise<readonly T[]> {
    const inPath = this.paths().filter((p) => p.slice(0, p.lastIndexOf('/')) === path);
    const objects = inPath.map((p) => this.#read(p) as unknown as T);
    return Promise.resolve(objects.filter((object) => isSelected(object.metadata.labels ?? {}, labelSelector)));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is a rejection
  async create<T>(collection: string, body: unknown): Promise<T> {
    const path = `${collection}/${(body as KubernetesObject).metadata.name}`;
    if (this.#objects.has(path)) throw conflict(`${path} already exists`);
    return this.#store(path, body as Json, { uid: crypto.randomUUID() }) as T;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- as above
  async replace<T>(path: string, body: unknown): Promise<T> {
    const before = this.#read(path);
    if (before === undefined) throw new TargetError(`${path} not found`, { class: 'terminal', status: 404 });
    return this.#change(path, before, body as Json) as T;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- as above
  async patch<T>(path: string, type: string, body: unknown): Promise<T | undefined> {
    if (type !== 'merge') throw new Error(`no ${type} patches here`);
    const before = this.#read(path);
    if (before === undefined) return undefined;
    return this.#change(path, before, merged(before, JSON.parse(JSON.stringify(body)) as Json)) as T;
  }

  delete(path: string): Promise<void> {
    this.#objects.delete(path);
    return Promise.resolve();
  }

  follow(): Promise<void> {
    throw new Error('nothing is followed here');
  }

  #read(path: string): Json | undefined {
    const text = this.#objects.get(path);
    return text === undefined ? undefined : (JSON.parse(text) as Json);
  }

  #change(path: string, before: Json, after: Json): Json {
    const { uid, resourceVersion } = metadataOf(before);
    const given = metadataOf(after)['resourceVersion'] ?? resourceVersion;
    if (given !== resourceVersion) throw conflict(`${path} has been modified`);
    const same = { ...after, metadata: { ...metadataOf(after), uid, resourceVersion } };
    return isDeepStrictEqual(JSON.parse(JSON.stringify(same)), before) ? before : this.#store(path, after, { uid });
  }

  #store(path: string, object: Json, { uid }: { uid?: unknown }): Json {
    const metadata = { ...metadataOf(object), uid, resourceVersion: String(++this.#version) };
    this.#objects.set(path, JSON.stringify({ ...object, metadata }));
    return this.#read(path) ?? {};
  }
}

function metadataOf(object: Json): Json {
  return object['metadata'] as Json;
}

function conflict(message: string): TargetError {
  return new TargetError(message, { class: 'transient', status: 409 });
}

/** RFC 7386 */
function merged(target: unknown, patch: Json): Json {
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, key);
    else result[key] = isObject(value) ? merged(result[key], value) : value;
  }
  return result;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSelected(labels: Readonly<Record<string, string>>, selector: string): boolean {
  return selector.split(',').every((term) => {
    const [label = '', value] = term.split('=');
    return label === '' || (value === undefined ? label in labels : labels[label] === value);
  });
}
