import { TargetError, type ErrorClass } from '../../contract/errors.ts';
import type { NomadApi, NomadReply, Query } from '../../contract/target.ts';
import { Http, type HttpOptions, type HttpRequest, type HttpResponse } from '../http.ts';

export interface NomadClientOptions extends HttpOptions {
  readonly token: string | undefined;
  readonly region?: string | undefined;
  /** `user:password` for a proxy in front of Nomad that asks for it (NOMAD_HTTP_AUTH). */
  readonly httpAuth?: string | undefined;
}

/** Objects of one page of a list. Nomad sends all at once where none is asked for; pages bound the size of a reply. */
const PAGE = 5_000;

/** Nomad's HTTP API, one region. */
export class NomadClient implements NomadApi {
  readonly address: string;
  readonly #http: Http;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #region: string | undefined;

  constructor(options: NomadClientOptions) {
    this.address = options.address.replace(/\/$/, '');
    this.#http = new Http(options);
    this.#region = options.region;
    this.#headers = {
      ...(options.token !== undefined && { 'x-nomad-token': options.token }),
      ...(options.httpAuth !== undefined && {
        authorization: `Basic ${Buffer.from(options.httpAuth).toString('base64')}`,
      }),
    };
  }

  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<NomadReply<T> | undefined> {
    const response = await this.#send('GET', path, query, undefined, true, signal);
    if (response.status === 404) return undefined;
    return { body: this.#body<T>('GET', path, response), index: Number(response.headers['x-nomad-index'] ?? 0) };
  }

  async list<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<readonly T[]> {
    const items: T[] = [];
    let next: string | undefined;
    do {
      const page = { ...query, per_page: PAGE, ...(next !== undefined && { next_token: next }) };
      const response = await this.#send('GET', path, page, undefined, true, signal);
      items.push(...(this.#body<T[] | null>('GET', path, response) ?? []));
      const token = response.headers['x-nomad-nexttoken'];
      next = typeof token === 'string' && token !== '' ? token : undefined;
    } while (next !== undefined);
    return items;
  }

  async put<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    return this.#body<T>('PUT', path, await this.#send('PUT', path, {}, body, true, signal));
  }

  async post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
    return this.#body<T>('POST', path, await this.#send('POST', path, {}, body, false, signal));
  }

  /** A missing token answers 400, other missing objects 500: only a look tells them from real failures. */
  async delete(path: string, signal?: AbortSignal): Promise<boolean> {
    const response = await this.#send('DELETE', path, {}, undefined, true, signal);
    if (response.status === 404) return false;
    if ((response.status === 400 || response.status === 500) && (await this.get(path, {}, signal)) === undefined)
      return false;
    this.#body('DELETE', path, response);
    return true;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #send(
    method: HttpRequest['method'],
    path: string,
    query: Query,
    body: unknown,
    idempotent: boolean,
    signal: AbortSignal | undefined,
  ): Promise<HttpResponse> {
    return this.#http.request({
      method,
      path: withQuery(path, { ...query, region: this.#region }),
      headers: this.#headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      idempotent,
      signal,
    });
  }

  #body<T>(method: HttpRequest['method'], path: string, response: HttpResponse): T {
    if (response.status === 200) return (response.text === '' ? undefined : JSON.parse(response.text)) as T;
    throw new TargetError(`${method} ${this.address}${path}: ${String(response.status)} ${explain(response)}`, {
      class: classOf(response.status),
      status: response.status,
      ambiguous: method === 'POST' && response.status >= 500,
    });
  }
}

function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length === 0
    ? path
    : `${path}?${given.map(([k, v]) => `${k}=${encodeURIComponent(String(v))}`).join('&')}`;
}

function classOf(status: number): ErrorClass {
  if (status === 401 || status === 403) return 'denied';
  return status === 429 || status >= 500 ? 'transient' : 'terminal';
}

/** Nomad's errors are plain text. */
function explain({ status, text, headers }: HttpResponse): string {
  const words = text.replace(/\s+/g, ' ').trim().slice(0, 2000);
  if (status >= 300 && status < 400)
    return `redirect to ${String(headers['location'])} is not followed: set that address`;
  if (/^<(!doctype|html)/i.test(words)) return 'what answers there is not Nomad (it sends an HTML page)';
  if (status === 400 && /HTTP request to an HTTPS server/.test(words))
    return 'the server speaks TLS there: use https://';
  if (status === 403) return `${words}: the token given for this NomadCluster must be a valid management token`;
  if (status === 400 && words === 'ACL support disabled')
    return `${words}: set acl { enabled = true } in the servers' configuration`;
  return words;
}
