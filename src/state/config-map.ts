import type { Waiting } from '../contract/clock.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi, KubernetesObject } from '../contract/kubernetes.ts';

export interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

export interface ConfigMapPlace {
  readonly api: KubernetesApi;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly clock: Waiting;
  /** Who we are, readable for people: it is named in the message of a conflict. */
  readonly writer: string;
}

type Data = ReadonlyMap<string, string>;

const WRITER = 'nomad-access.io/writer';
/** Counts the writes, so that each makes a new version, and one that was sent before can't succeed any more. */
const WRITE = 'nomad-access.io/write';
/** Tries of one write; between two of them a pause that doubles, milliseconds. */
const TRIES = 4;
const PAUSE_MS = 200;

/**
 * A ConfigMap of ours as we know it to be stored, and what is still to be written to it.
 *
 * A write carries what changes and nothing else, as a check-and-set on the resource version. What became of one whose reply
 * was lost is known by the content: it is either what it was, or what one of our writes would have made of it. Where it is
 * anything else, somebody else writes it, and it is never overwritten.
 */
export class StoredConfigMap {
  readonly #place: ConfigMapPlace;
  /** Resource version; undefined while there is none that we know of. */
  #version: string | undefined;
  #stored: Data;
  readonly #waiting = new Map<string, string | undefined>();
  /** What writes that were not answered may have made of it since it had this version. */
  #possible: Data[] = [];
  #writes: number;

  constructor(place: ConfigMapPlace, found?: ConfigMap) {
    this.#place = place;
    this.#version = found?.metadata.resourceVersion;
    this.#stored = dataOf(found);
    this.#writes = Number(found?.metadata.annotations?.[WRITE] ?? 0) || 0;
  }

  get name(): string {
    return this.#place.name;
  }

  /** As it is stored, for all we know. */
  get data(): Data {
    return this.#stored;
  }

  get isChanged(): boolean {
    return this.#waiting.size > 0;
  }

  /** Once it is written; of keys and values. */
  get size(): number {
    let size = 0;
    for (const [key, value] of this.#wanted()) size += sizeOf(key, value);
    return size;
  }

  /** @param value undefined to remove it. */
  set(key: string, value: string | undefined): void {
    if (this.#possible.length === 0 && this.#stored.get(key) === value) this.#waiting.delete(key);
    else this.#waiting.set(key, value);
  }

  /** @throws UsageError where somebody else changed it, TargetError where it is not known what became of it. */
  async write(): Promise<void> {
    for (let tries = 1; this.isChanged; tries++) {
      const wanted = this.#wanted();
      try {
        const written = await this.#send(wanted);
        if (written === undefined) throw this.#conflict('was removed by somebody else');
        this.#take(written, wanted);
        this.#waiting.clear();
      } catch (error) {
        if (!(error instanceof TargetError) || !(error.ambiguous || error.status === 409)) throw error;
        if (!this.#possible.some((content) => isSame(content, wanted))) this.#possible.push(wanted);
        this.#judge(await this.#place.api.get<ConfigMap>(this.#path()));
        if (this.#waiting.size === 0) return;
        if (tries === TRIES) throw error;
        await this.#place.clock.sleep(PAUSE_MS * 2 ** (tries - 1));
      }
    }
  }

  #send(wanted: Data): Promise<ConfigMap | undefined> {
    const { api, namespace, name, labels, writer } = this.#place;
    const annotations = { [WRITER]: writer, [WRITE]: String(++this.#writes) };
    if (this.#version !== undefined) {
      const data = Object.fromEntries([...this.#waiting].map(([key, value]) => [key, value ?? null]));
      const body = { metadata: { resourceVersion: this.#version, annotations }, data };
      return api.patch<ConfigMap>(this.#path(), 'merge', body);
    }
    const metadata = { namespace, name, labels, annotations };
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: Object.fromEntries(wanted) };
    return api.create<ConfigMap>(collectionPath(namespace), body);
  }

  /** Takes up what a look shows. @throws UsageError where that is not of our making. */
  #judge(current: ConfigMap | undefined): void {
    if (current === undefined && this.#version === undefined) return;
    if (current === undefined) throw this.#conflict('was removed by somebody else');
    if (!this.#isLabelled(current))
      throw new UsageError(
        `the ConfigMap ${this.name} (namespace ${this.#place.namespace}) is in the way and not of nomad-access: rename or remove it`,
      );
    const data = dataOf(current);
    const known = this.#version === undefined ? this.#possible : [this.#stored, ...this.#possible];
    if (!known.some((content) => isSame(content, data)))
      throw this.#conflict(`was changed by ${current.metadata.annotations?.[WRITER] ?? 'somebody else'}`);
    this.#take(current, data);
    for (const [key, value] of this.#waiting) this.set(key, value);
  }

  #take({ metadata: { resourceVersion } }: ConfigMap, data: Data): void {
    this.#stored = data;
    // A write that is still on its way can succeed as long as the version is the one that it was sent with.
    if (resourceVersion !== this.#version) this.#possible = [];
    this.#version = resourceVersion;
  }

  #wanted(): Data {
    const wanted = new Map(this.#stored);
    for (const [key, value] of this.#waiting) {
      if (value === undefined) wanted.delete(key);
      else wanted.set(key, value);
    }
    return wanted;
  }

  #isLabelled({ metadata }: ConfigMap): boolean {
    return Object.entries(this.#place.labels).every(([key, value]) => metadata.labels?.[key] === value);
  }

  #path(): string {
    return `${collectionPath(this.#place.namespace)}/${this.name}`;
  }

  #conflict(what: string): UsageError {
    return new UsageError(
      `the ConfigMap ${this.name} (namespace ${this.#place.namespace}) ${what}: two operators use one inventory; give each its own with --owner, or stop one and start the other anew`,
    );
  }
}

export function collectionPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`;
}

/** What an entry takes, in bytes. */
export function sizeOf(key: string, value: string): number {
  return key.length + Buffer.byteLength(value);
}

function dataOf(configMap: ConfigMap | undefined): Data {
  return new Map(Object.entries(configMap?.data ?? {}));
}

function isSame(a: Data, b: Data): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
