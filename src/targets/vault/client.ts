import nodeVault from 'node-vault';
import type { Credential } from '../../contract/credential.ts';
import { TargetError, type ErrorClass } from '../../contract/errors.ts';
import type { VaultApi } from '../../contract/target.ts';
import { authenticated, credentialOf } from '../authenticated.ts';
import { foreignAnswer, foreignRefusal, isPage } from '../foreign.ts';
import { Http, type HttpOptions, type HttpRequest, type HttpResponse, type Transport } from '../../http/http.ts';

export interface VaultClientOptions extends HttpOptions {
  /** A credential is closed together with the client. */
  readonly token: Credential | string | undefined;
  /** Enterprise namespace. */
  readonly namespace?: string | undefined;
}

interface Reply {
  readonly data?: unknown;
  readonly auth?: unknown;
  readonly lease_id?: unknown;
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
  readonly #options: VaultClientOptions;
  readonly #http: Transport;
  readonly #credential: Credential | undefined;
  readonly #vault: nodeVault.client;

  constructor(options: VaultClientOptions, transport: Transport = new Http(options)) {
    this.address = options.address.replace(/\/$/, '');
    this.namespace = options.namespace;
    this.#options = options;
    this.#http = transport;
    this.#credential = credentialOf(options.token);
    this.#vault = nodeVault({
      endpoint: this.address,
      apiVersion: 'v1',
      noCustomHTTPVerbs: true,
      // node-vault's own debug output prints request bodies.
      debug: () => undefined,
      'request-promise': { defaults: () => (request: TransportRequest) => this.#transport(request) },
    });
    // Set afterwards: as options, empty ones would be filled in from the environment of whoever runs us.
    Object.assign(this.#vault, { token: undefined, namespace: options.namespace, pathPrefix: '' });
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

  in(namespace: string | undefined): VaultClient {
    return new VaultClient({ ...this.#options, token: this.#credential, namespace }, this.#http);
  }

  /** A login or a renewal. @returns what Vault says of the token, the reply's `auth`. @throws TargetError */
  async authenticate<T>(path: string, data: unknown, signal?: AbortSignal): Promise<T> {
    const { auth } = await this.#explained(
      'PUT',
      path,
      () => this.#vault.write(path, data, { signal }) as Promise<Reply>,
    );
    if (typeof auth === 'object' && auth !== null) return auth as T;
    throw foreignAnswer('Vault', `PUT ${this.address}/v1/${path}`, 200);
  }

  /** What is given as a lease, or a renewal of one. @returns the whole reply. @throws TargetError, also for 404 */
  async leased<T>(method: 'GET' | 'PUT', path: string, data?: unknown, signal?: AbortSignal): Promise<T> {
    const ask = method === 'GET' ? this.#vault.read(path, { signal }) : this.#vault.write(path, data, { signal });
    const reply = await this.#explained(method, path, () => ask as Promise<Reply>);
    if (typeof reply.lease_id === 'string') return reply as T;
    throw foreignAnswer('Vault', `${method} ${this.address}/v1/${path}`, 200);
  }

  async close(): Promise<void> {
    await this.#credential?.close();
    await this.#http.close();
  }

  /** Every write that we send is idempotent: Vault's paths name what they make. */
  async #transport(request: TransportRequest): Promise<TransportReply> {
    const url = new URL(request.uri);
    const send = (token: string | undefined): Promise<HttpResponse> =>
      this.#http.request({
        method: request.method,
        path: `${url.pathname}${url.search}`,
        headers: {
          ...request.headers,
          'x-vault-request': 'true',
          'content-type': 'application/json',
          ...(token !== undefined && { 'x-vault-token': token }),
        },
        body: request.json === undefined ? undefined : JSON.stringify(request.json),
        idempotent: true,
        signal: request.signal,
      });
    const response = await authenticated(this.#credential, send, ({ status }) => status === 403);
    const body = bodyOf(response);
    if (!isVaults(request.method, response.status, body))
      throw foreignAnswer('Vault', `${request.method} ${request.uri}`, response.status);
    // 202: Vault has taken it on and is at it; node-vault knows but 200 and 204.
    return { statusCode: response.status === 202 ? 200 : response.status, body, request: { path: url.pathname } };
  }

  async #unlessMissing<T>(verb: string, path: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#explained(verb, path, call);
    } catch (error) {
      if (error instanceof TargetError && error.status === 404 && !error.message.endsWith(NO_NAMESPACES))
        return undefined;
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
      const { statusCode: status, body } = response;
      const words = errorsOf(body);
      const why = isForeignRefusal(status, body) ? foreignRefusal('Vault', String(body)) : advice(status, words, path);
      throw new TargetError(`${verb} ${this.address}/v1/${path}: ${String(status)} ${why}`, {
        class: classOf(status, words),
        status,
      });
    }
  }
}

function bodyOf({ status, headers, text }: HttpResponse): unknown {
  if (status >= 300 && status < 400)
    return { errors: [`redirect to ${String(headers['location'])} is not followed: set that address`] };
  return text === '' ? {} : (parse(text) ?? text.slice(0, 500));
}

/** @returns undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Whether a reply from which something follows is Vault's own: one that was carried out, or that says that there is
 * nothing. Vault's 404 has `errors`, mostly empty; where data was deleted softly it has the envelope of a 200.
 */
function isVaults(method: HttpRequest['method'], status: number, body: unknown): boolean {
  if (status !== 200 && status !== 404) return true;
  if (typeof body !== 'object' || body === null) return false;
  if (status === 404) return Array.isArray((body as { errors?: unknown }).errors) || 'request_id' in body;
  return method === 'GET' ? 'data' in body : true;
}

/** Vault says why it refuses, in `errors`. A 400 may be TLS that was not spoken, in Go's own words. */
function isForeignRefusal(status: number, body: unknown): boolean {
  if (typeof body === 'string' && isPage(body)) return true;
  const isRefusal = status === 401 || status === 403 || status === 429 || status >= 500;
  return isRefusal && !Array.isArray((body as { errors?: unknown } | null)?.errors);
}

/** @param body an object of Vault's; a text where something in between refused. */
function errorsOf(body: unknown): string {
  if (typeof body === 'string') return oneLine([body]);
  const { errors, warnings } = body as { errors?: unknown; warnings?: unknown };
  return oneLine([errors, warnings].flatMap((part) => (Array.isArray(part) ? (part as unknown[]) : [])));
}

function oneLine(words: readonly unknown[]): string {
  return words.map(String).join('; ').replace(/\s+/g, ' ').trim().slice(0, 2000);
}

/** Vault fetches the keys while it takes the configuration: their server may just not be there yet. */
const UNREACHABLE_KEYS = /error checking (jwks|oidc discovery) URL/;

function classOf(status: number, words: string): ErrorClass {
  if (status === 401 || status === 403) return 'denied';
  if (status === 400 && UNREACHABLE_KEYS.test(words)) return 'dependency';
  return status === 429 || status >= 500 ? 'transient' : 'terminal';
}

/** Vault's Community Edition says that it is an enterprise-only feature, older ones that they know no such path. Where Enterprise has no such namespace it says nothing. */
const NO_NAMESPACES =
  'this Vault has no namespaces, which need Vault Enterprise: remove createNamespace and namespace from the VaultServer';

function advice(status: number, words: string, path: string): string {
  if (status === 404 && path.startsWith('sys/namespaces') && /enterprise-only|unsupported path/.test(words))
    return `${words}: ${NO_NAMESPACES}`;
  if (status === 400 && /HTTP request to an HTTPS server/.test(words))
    return 'the server speaks TLS there: use https://';
  if (UNREACHABLE_KEYS.test(words)) {
    return `${words}: Vault could not fetch the keys there. Does something answer at that URL, can Vault reach it, and does it trust its certificate (jwksCaPem)?`;
  }
  if (status === 503 && /sealed/i.test(words)) return `${words}: unseal it`;
  if (status === 403 && path.endsWith('/login'))
    return `${words}: is that auth method enabled there, and does its role accept what we log in with?`;
  // Newer Vaults tell a token that they do not know from one that lacks a right.
  if (status === 403 && words.includes('invalid token'))
    return `${words}: Vault does not know the token given for this VaultServer: it has ended, was revoked, or is of another Vault`;
  if (status === 403) return `${words}: the token given for this VaultServer is not valid or lacks the right`;
  return words;
}
