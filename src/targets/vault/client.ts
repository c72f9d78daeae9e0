import nodeVault from 'node-vault';
import { TargetError, type ErrorClass } from '../../contract/errors.ts';
import type { VaultApi } from '../../contract/target.ts';
import { Http, type HttpOptions, type HttpRequest } from '../http.ts';

export interface VaultClientOptions extends HttpOptions {
  readonly token: string | undefined;
  /** Enterprise namespace. */
  readonly namespace?: string | undefined;
}

interface Reply {
  readonly data?: unknown;
}

/** What node-vault hands to its transport, and what it wants back. */
interface TransportRequest {
  readonly method: HttpRequest['method'];
  readonly uri: string;
  readonly headers: Record<string, string>;
  readonly json?: unknown;
  readonly signal?: AbortSignal;
}
interface TransportReply {
  readonly statusCode: number;
  readonly body: unknown;
  readonly request: { readonly path: string };
}

/**
 * Vault's HTTP API by node-vault, over our own transport: node-vault's default one opens a connection for each request
 * with a custom CA, knows no AbortSignal and follows redirects with the token.
 */
export class VaultClient implements VaultApi {
  readonly address: string;
  readonly namespace: string | undefined;
  readonly #http: Http;
  readonly #vault: nodeVault.client;

  constructor(options: VaultClientOptions) {
    this.address = options.address.replace(/\/$/, '');
    this.namespace = options.namespace;
    this.#http = new Http(options);
    this.#vault = nodeVault({
      endpoint: this.address,
      apiVersion: 'v1',
      noCustomHTTPVerbs: true,
      // node-vault's own debug output prints request bodies.
      debug: () => undefined,
      'request-promise': { defaults: () => (request: TransportRequest) => this.#transport(request) },
    });
    // Set afterwards: as options, empty ones would be filled in from the environment of whoever runs us.
    Object.assign(this.#vault, { token: options.token, namespace: options.namespace, pathPrefix: '' });
  }

  async read<T>(path: string, signal?: AbortSignal): Promise<T | undefined> {
    const reply = await this.#unlessMissing('GET', path, () => this.#vault.read(path, { signal }) as Promise<Reply>);
    return reply?.data as T | undefined;
  }

  async list(path: string, signal?: AbortSignal): Promise<readonly string[]> {
    const reply = await this.#unlessMissing('LIST', path, () => this.#vault.list(path, { signal }) as Promise<Reply>);
    return (reply?.data as { keys?: string[] } | undefined)?.keys ?? [];
  }

  async write(path: string, data: unknown, signal?: AbortSignal): Promise<void> {
    await this.#explained('PUT', path, () => this.#vault.write(path, data, { signal }));
  }

  async delete(path: string, signal?: AbortSignal): Promise<void> {
    await this.#unlessMissing('DELETE', path, () => this.#vault.delete(path, { signal }));
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** Every write that we send is idempotent: Vault's paths name what they make. */
  async #transport(request: TransportRequest): Promise<TransportReply> {
    const url = new URL(request.uri);
    const response = await this.#http.request({
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: { ...request.headers, 'x-vault-request': 'true', 'content-type': 'application/json' },
      body: request.json === undefined ? undefined : JSON.stringify(request.json),
      idempotent: true,
      signal: request.signal,
    });
    // A page that says "200" must not be taken for an object without data.
    if (response.status < 300 && HTML.test(response.text))
      throw new TargetError(`${request.method} ${request.uri}: ${NOT_VAULT}`, { class: 'terminal' });
    const redirect = response.headers['location'];
    const body =
      redirect === undefined
        ? parse(response.text)
        : { errors: [`redirect to ${String(redirect)} is not followed: set that address`] };
    return { statusCode: response.status, body, request: { path: url.pathname } };
  }

  async #unlessMissing<T>(verb: string, path: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#explained(verb, path, call);
    } catch (error) {
      if (error instanceof TargetError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Turns node-vault's errors, which tell only the first of Vault's, into ours. */
  async #explained<T>(verb: string, path: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      const response = (error as { response?: { statusCode: number; body: unknown } }).response;
      if (response === undefined) throw error;
      const words = errorsOf(response.body);
      throw new TargetError(
        `${verb} ${this.address}/v1/${path}: ${String(response.statusCode)} ${advice(response.statusCode, words)}`,
        {
          class: classOf(response.statusCode, words),
          status: response.statusCode,
        },
      );
    }
  }
}

const HTML = /^\s*<(!doctype|html)/i;
const NOT_VAULT = 'what answers there is not Vault (it sends an HTML page)';

function parse(text: string): unknown {
  if (text === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [text.slice(0, 500)] };
  }
}

function errorsOf(body: unknown): string {
  const { errors, warnings } = body as { errors?: unknown[]; warnings?: unknown[] };
  const words = [...(errors ?? []), ...(warnings ?? [])].map(String).join('; ');
  return words.replace(/\s+/g, ' ').trim().slice(0, 2000);
}

/** Vault fetches the keys while it takes the configuration: their server may just not be there yet. */
const UNREACHABLE_KEYS = /error checking jwks|error checking oidc discovery|error fetching (jwks|keys)/i;

function classOf(status: number, words: string): ErrorClass {
  if (status === 401 || status === 403) return 'denied';
  if (status === 400 && UNREACHABLE_KEYS.test(words)) return 'dependency';
  return status === 429 || status >= 500 ? 'transient' : 'terminal';
}

function advice(status: number, words: string): string {
  if (HTML.test(words)) return NOT_VAULT;
  if (status === 400 && /HTTP request to an HTTPS server/.test(words))
    return 'the server speaks TLS there: use https://';
  if (UNREACHABLE_KEYS.test(words)) {
    return `${words}: Vault could not fetch the keys there. Does something answer at that URL, can Vault reach it, and does it trust its certificate (jwksCaPem)?`;
  }
  if (status === 503 && /sealed/i.test(words)) return `${words}: unseal it`;
  if (status === 403) return `${words}: the token given for this VaultServer is not valid or lacks the right`;
  return words;
}
