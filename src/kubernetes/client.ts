import {
  FIELD_MANAGER,
  type Collection,
  type CollectionHandler,
  type KubernetesApi,
  type KubernetesObject,
  type PatchType,
} from '../contract/kubernetes.ts';
import type { HttpRequest, HttpResponse } from '../http/http.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { follow, type FollowTimes } from './follow.ts';
import { loadKubeconfig, type KubeconfigOptions } from './kubeconfig.ts';
import { listAll, withoutManagedFields } from './list.ts';
import { refusal, unreadable } from './refusal.ts';

export interface KubernetesClientOptions extends KubeconfigOptions, Partial<ConnectionOptions> {
  readonly followTimes?: Partial<FollowTimes>;
}

export interface KubernetesClient extends KubernetesApi {
  readonly address: string;
  /** Where our own objects live: the pod's namespace, else the context's, else `default`. */
  readonly namespace: string;
  /** The same way to the server. @param gate asked in the tick of every send of a write: whoever may not write any more throws. */
  gated(gate: () => void): KubernetesApi;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 32;

/** Nothing is sent yet. @throws UsageError where no usable kubeconfig is found. */
export async function openKubernetes(options: KubernetesClientOptions = {}): Promise<KubernetesClient> {
  const access = await loadKubeconfig(options);
  const { maxConnections = MAX_CONNECTIONS, onReply, retry, followTimes = {} } = options;
  const connection = new Connection(access, { maxConnections, onReply, ...(retry && { retry }) });
  return new Client(connection, access.namespace, followTimes);
}

class Api implements KubernetesApi {
  readonly address: string;
  readonly connection: Connection;
  readonly times: Partial<FollowTimes>;
  readonly #gate: (() => void) | undefined;

  constructor(connection: Connection, times: Partial<FollowTimes>, gate?: () => void) {
    this.address = connection.address;
    this.connection = connection;
    this.times = times;
    this.#gate = gate;
  }

  async get<T>(path: string, signal?: AbortSignal): Promise<T | undefined> {
    const response = await this.connection.request({ method: 'GET', path, headers: ACCEPT, idempotent: true, signal });
    if (response.status === 404) return undefined;
    return this.#object<T>({ method: 'GET', path, idempotent: true }, response);
  }

  async list<T extends KubernetesObject>(collection: Collection, signal?: AbortSignal): Promise<readonly T[]> {
    return (await listAll<T>(this.connection, collection, signal)).objects;
  }

  async create<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    const write: Write = { method: 'POST', path, body, idempotent: false, query: MANAGED, signal };
    return this.#object(write, await this.#write(write));
  }

  async replace<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    const write: Write = { method: 'PUT', path, body, idempotent: !isCheckAndSet(body), query: MANAGED, signal };
    return this.#object(write, await this.#write(write));
  }

  async patch<T>(path: string, type: PatchType, body: unknown, signal?: AbortSignal): Promise<T | undefined> {
    // A JSON patch may add to a list: twice is once too often.
    const idempotent = type !== 'json' && !isCheckAndSet(body);
    const query = type === 'apply' ? { ...MANAGED, force: 'true' } : MANAGED;
    const write: Write = { method: 'PATCH', path, body, idempotent, query, contentType: CONTENT_TYPES[type], signal };
    const response = await this.#write(write);
    if (response.status === 404) return undefined;
    return this.#object(write, response);
  }

  async delete(
    path: string,
    preconditions?: { readonly uid?: string; readonly resourceVersion?: string },
  ): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...(preconditions && { preconditions }) };
    // Where a finalizer holds the object, its version is another one after the first time.
    const idempotent = preconditions?.resourceVersion === undefined;
    const write: Write = { method: 'DELETE', path, body, idempotent };
    const response = await this.#write(write);
    if (response.status !== 404) this.#object(write, response);
  }

  follow<T extends KubernetesObject>(
    collection: Collection,
    handler: CollectionHandler<T>,
    signal: AbortSignal,
  ): Promise<void> {
    return follow(this.connection, collection, handler, signal, this.times);
  }

  #write(write: Write): Promise<HttpResponse> {
    const query = write.query === undefined ? '' : `?${new URLSearchParams(write.query).toString()}`;
    return this.connection.request({
      method: write.method,
      path: write.path + query,
      headers: { ...ACCEPT, 'content-type': write.contentType ?? 'application/json' },
      body: JSON.stringify(write.body),
      idempotent: write.idempotent,
      gate: this.#gate,
      signal: write.signal,
    });
  }

  #object<T>(request: Pick<Write, 'method' | 'path' | 'idempotent'>, response: HttpResponse): T {
    const named = { method: request.method, address: this.address, path: request.path };
    const isDone = response.status >= 200 && response.status < 300;
    if (!isDone) throw refusal(named, response, !request.idempotent && response.status >= 500);
    try {
      return withoutManagedFields(JSON.parse(response.text) as T);
    } catch {
      throw unreadable(named, response, !request.idempotent);
    }
  }
}

class Client extends Api implements KubernetesClient {
  readonly namespace: string;

  constructor(connection: Connection, namespace: string, times: Partial<FollowTimes>) {
    super(connection, times);
    this.namespace = namespace;
  }

  gated(gate: () => void): KubernetesApi {
    return new Api(this.connection, this.times, gate);
  }

  close(): Promise<void> {
    return this.connection.close();
  }
}

interface Write {
  readonly method: HttpRequest['method'];
  readonly path: string;
  readonly body?: unknown;
  readonly idempotent: boolean;
  readonly query?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

const ACCEPT = { accept: 'application/json' };
const MANAGED = { fieldManager: FIELD_MANAGER };
const CONTENT_TYPES: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** After a lost reply it would find the version that it made itself. */
function isCheckAndSet(body: unknown): boolean {
  return (body as { metadata?: { resourceVersion?: unknown } } | null)?.metadata?.resourceVersion !== undefined;
}
