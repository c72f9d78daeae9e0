import type { Credential } from '../../contract/credential.ts';
import { TargetError, type ErrorClass } from '../../contract/errors.ts';
import type { NomadApi, NomadEvent, NomadList, NomadReply, Query } from '../../contract/target.ts';
import { authenticated, credentialOf } from '../authenticated.ts';
import { foreignAnswer, foreignRefusal, isPage } from '../foreign.ts';
import { Regions, untilFound } from './regions.ts';
import { Http, type HttpOptions, type HttpRequest, type HttpResponse, type Transport } from '../../http/http.ts';

export interface NomadClientOptions extends HttpOptions {
  /** A credential is closed together with the client. */
  readonly token: Credential | string | undefined;
  readonly region?: string | undefined;
  /** `user:password` for a proxy in front of Nomad that asks for it (NOMAD_HTTP_AUTH). */
  readonly httpAuth?: string | undefined;
}

/** Objects of one page of a list. Nomad sends all at once where none is asked for; pages bound the size of a reply. */
const PAGE = 5_000;
/** How long a blocking query waits; below the timeout of a request. */
const WAIT_SECONDS = 30;
/** How long what was written may take to come to another region: the replication itself tries again in less. */
const ARRIVAL_MS = 20_000;
/** How long another region than ours may take: one to which nothing is replicated must not hold up the others for long. */
const SPREAD_MS = 5_000;
/** The event stream says something at once and then every 30 s. To a reader that fell behind it says nothing any more, and stays open. */
const QUIET_MS = { first: 10_000, later: 45_000 };

/** Nomad's HTTP API, one region. */
export class NomadClient implements NomadApi {
  readonly address: string;
  readonly #http: Transport;
  readonly #credential: Credential | undefined;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #region: string | undefined;
  readonly #regions: Regions;
  /** What ends each open event stream, and the token that it was opened with. */
  readonly #streams = new Map<AbortController, string | undefined>();

  constructor(options: NomadClientOptions, transport: Transport = new Http(options)) {
    this.address = options.address.replace(/\/$/, '');
    this.#http = transport;
    this.#credential = credentialOf(options.token);
    this.#region = options.region;
    this.#regions = new Regions(async () => (await this.get<readonly string[]>('/v1/regions'))?.body ?? []);
    this.#headers = {
      ...(options.httpAuth !== undefined && {
        authorization: `Basic ${Buffer.from(options.httpAuth).toString('base64')}`,
      }),
    };
  }

  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<NomadReply<T> | undefined> {
    const response = await this.#send('GET', path, query, undefined, true, signal);
    if (isMissing(response)) return undefined;
    return this.#reply<T>('GET', path, response);
  }

  async list<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<NomadList<T>> {
    const items: T[] = [];
    let index: number | undefined;
    let next: string | undefined;
    do {
      const page = { ...query, per_page: PAGE, ...(next !== undefined && { next_token: next }) };
      const response = await this.#send('GET', path, page, undefined, true, signal);
      items.push(...this.#items<T>(path, response));
      index ??= indexOf(response);
      const token = response.headers['x-nomad-nexttoken'];
      next = typeof token === 'string' && token !== '' ? token : undefined;
    } while (next !== undefined);
    return { items, index };
  }

  async put<T>(path: string, body: unknown, signal?: AbortSignal): Promise<NomadReply<T>> {
    return this.#reply<T>('PUT', path, await this.#send('PUT', path, {}, body, true, signal));
  }

  async post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<NomadReply<T>> {
    return this.#reply<T>('POST', path, await this.#send('POST', path, {}, body, false, signal));
  }

  /** A missing token answers 400, other missing objects 500: only a look tells them from real failures. */
  async delete(path: string, signal?: AbortSignal): Promise<number> {
    const response = await this.#send('DELETE', path, {}, undefined, true, signal);
    if (isMissing(response)) return 0;
    if ((response.status === 400 || response.status === 500) && (await this.get(path, {}, signal)) === undefined)
      return 0;
    this.#body('DELETE', path, response);
    return indexOf(response);
  }

  regions(): Promise<readonly string[]> {
    return this.#regions.names();
  }

  async arrival<T>(
    path: string,
    isSo: (body: T | undefined) => boolean,
    signal?: AbortSignal,
  ): Promise<{ body: T | undefined; index: number } | undefined> {
    if ((await this.regions()).length < 2) return undefined;
    const look = async (): Promise<{ body: T | undefined; index: number } | undefined> => {
      const response = await this.#send('GET', path, {}, undefined, true, signal);
      const body = isMissing(response) ? undefined : this.#body<T>('GET', path, response);
      return isSo(body) ? { body, index: indexOf(response) } : undefined;
    };
    const message = `${this.#named('GET', path)}: what was written has not come to this region: does the replication from the authoritative region work?`;
    return untilFound(look, { mostMs: ARRIVAL_MS, message, signal });
  }

  async everywhere(path: string): Promise<void> {
    const regions = await this.regions().catch(() => []);
    if (regions.length < 2) return;
    const look = async (region: string): Promise<true | undefined> => (await this.get(path, { region })) && true;
    const waiting = regions.map((region) => untilFound(() => look(region), { mostMs: SPREAD_MS, message: '' }));
    await Promise.allSettled(waiting);
  }

  async *events(topics: readonly string[], signal: AbortSignal, from = 0): AsyncGenerator<readonly NomadEvent[]> {
    const query = topics.map((topic) => `topic=${encodeURIComponent(topic)}`);
    if (this.#region !== undefined) query.push(`region=${encodeURIComponent(this.#region)}`);
    if (from > 0) query.push(`index=${String(from)}`);
    const path = `/v1/event/stream?${query.join('&')}`;
    // Compressed, as it may be, an event would wait until the server's compressor is full.
    const token = this.#credential?.token();
    const headers = { ...this.#headersWith(token), 'accept-encoding': 'identity' };
    const ended = new AbortController();
    this.#streams.set(ended, token);
    try {
      const until = AbortSignal.any([signal, ended.signal]);
      for await (const line of this.#http.lines({ path, headers, quietMs: QUIET_MS, signal: until })) {
        if (typeof line === 'string') yield this.#events(line);
        else {
          // Whoever reads it begins again after a failure, and with the token of then.
          if (isRefusal(line) && token !== undefined) await this.#credential?.replaced(token);
          this.#body('GET', '/v1/event/stream', line);
        }
      }
    } finally {
      this.#streams.delete(ended);
    }
  }

  /**
   * There may be another token. A stream whose token was deleted or has ended stays open, and Nomad sends nothing on it any
   * more: those that were opened with another one than that of now are ended.
   */
  tokenChanged(): void {
    const now = this.#credential?.trouble === undefined ? this.#credential?.token() : undefined;
    for (const [ended, token] of this.#streams) if (now !== undefined && token !== now) ended.abort();
  }

  async moved(path: string, index: number, signal: AbortSignal): Promise<number> {
    const query = { index: Math.max(1, index), wait: `${String(WAIT_SECONDS)}s`, per_page: 1 };
    const response = await this.#send('GET', path, query, undefined, true, signal);
    this.#items(path, response);
    return indexOf(response);
  }

  /**
   * One request whose caller knows what the statuses in `expect` mean; they are returned as they came.
   * @throws TargetError for any other status; `ambiguous` where it was not idempotent and may have been carried out.
   */
  async request(
    method: HttpRequest['method'],
    path: string,
    query: Query,
    body: unknown,
    options: {
      readonly expect: readonly number[];
      readonly idempotent?: boolean;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<HttpResponse> {
    const { expect, idempotent = false, signal } = options;
    const response = await this.#send(method, path, query, body, idempotent, signal);
    if (response.status === 200) this.#parsed(method, path, response.text, !idempotent);
    const isExpected = expect.includes(response.status);
    if (isExpected && isPage(response.text)) throw foreignAnswer('Nomad', this.#named(method, path), response.status);
    if (isExpected && (response.status !== 404 || isMissing(response))) return response;
    throw this.#refused(method, path, response, !idempotent && response.status >= 500);
  }

  async close(): Promise<void> {
    await this.#credential?.close();
    await this.#http.close();
  }

  #headersWith(token: string | undefined): Readonly<Record<string, string>> {
    return token === undefined ? this.#headers : { ...this.#headers, 'x-nomad-token': token };
  }

  #send(
    method: HttpRequest['method'],
    path: string,
    query: Query,
    body: unknown,
    idempotent: boolean,
    signal: AbortSignal | undefined,
  ): Promise<HttpResponse> {
    const request = {
      method,
      path: withQuery(path, { region: this.#region, ...query }),
      body: body === undefined ? undefined : JSON.stringify(body),
      idempotent,
      signal,
    };
    const send = (token: string | undefined): Promise<HttpResponse> =>
      this.#http.request({ ...request, headers: this.#headersWith(token) });
    return authenticated(this.#credential, send, isRefusal);
  }

  #reply<T>(method: HttpRequest['method'], path: string, response: HttpResponse): NomadReply<T> {
    return { body: this.#body<T>(method, path, response), index: indexOf(response) };
  }

  #body<T>(method: HttpRequest['method'], path: string, response: HttpResponse): T {
    if (response.status === 200) return this.#parsed(method, path, response.text, method === 'POST') as T;
    throw this.#refused(method, path, response, method === 'POST' && response.status >= 500);
  }

  #refused(method: HttpRequest['method'], path: string, response: HttpResponse, ambiguous: boolean): TargetError {
    if (response.status === 404 && !isMissing(response)) return foreignAnswer('Nomad', this.#named(method, path), 404);
    return new TargetError(`${this.#named(method, path)}: ${String(response.status)} ${explain(response)}`, {
      class: classOf(response),
      status: response.status,
      ambiguous,
    });
  }

  /** What is put or deleted may be answered with nothing; everything else is JSON. */
  #parsed(method: HttpRequest['method'], path: string, text: string, ambiguous: boolean): unknown {
    if (text === '' && (method === 'PUT' || method === 'DELETE')) return undefined;
    const parsed = parse(text);
    if (parsed === undefined) throw foreignAnswer('Nomad', this.#named(method, path), 200, ambiguous);
    return parsed;
  }

  /** A list says as of which index it is. */
  #items<T>(path: string, response: HttpResponse): readonly T[] {
    const items = this.#body<unknown>('GET', path, response) ?? [];
    if (Array.isArray(items) && INDEX in response.headers) return items as T[];
    throw foreignAnswer('Nomad', this.#named('GET', path), 200);
  }

  #events(line: string): readonly NomadEvent[] {
    const parsed = parse(line);
    if (typeof parsed !== 'object' || parsed === null)
      throw foreignAnswer('Nomad', this.#named('GET', '/v1/event/stream'), 200);
    return (parsed as { Events?: NomadEvent[] }).Events ?? [];
  }

  #named(method: HttpRequest['method'], path: string): string {
    return `${method} ${this.address}${path}`;
  }
}

/** How Nomad says that an object is not there; a path that it does not know has an empty 404. */
const MISSING =
  /^((ACL (policy|token|role|auth-method|binding rule)|variable|namespace|job) not found|variable doesn't exist)$/i;

function isMissing({ status, text }: HttpResponse): boolean {
  return status === 404 && MISSING.test(text.trim());
}

/** @returns undefined for what is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const INDEX = 'x-nomad-index';

function indexOf({ headers }: HttpResponse): number {
  return Number(headers[INDEX] ?? 0);
}

function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length === 0
    ? path
    : `${path}?${given.map(([k, v]) => `${k}=${encodeURIComponent(String(v))}`).join('&')}`;
}

/** Reading a token with one that has expired answers 500; everything else that is asked with it 403. */
const EXPIRED = /^ACL token expired$|: ACL token expired$/;

function isRefusal({ status, text }: HttpResponse): boolean {
  return status === 401 || status === 403 || (status === 500 && EXPIRED.test(text.trim()));
}

function classOf(response: HttpResponse): ErrorClass {
  if (isRefusal(response)) return 'denied';
  const { status } = response;
  return status === 429 || status >= 500 ? 'transient' : 'terminal';
}

/** Nomad's errors are plain text. */
function explain({ status, text, headers }: HttpResponse): string {
  const words = text.replace(/\s+/g, ' ').trim().slice(0, 2000);
  if (status >= 300 && status < 400)
    return `redirect to ${String(headers['location'])} is not followed: set that address`;
  if (isPage(text)) return foreignRefusal('Nomad', text);
  if (status === 400 && /HTTP request to an HTTPS server/.test(words))
    return 'the server speaks TLS there: use https://';
  if (status === 403) return `${words}: the token given for this NomadCluster must be a valid management token`;
  if (status === 400 && words === 'ACL support disabled')
    return `${words}: set acl { enabled = true } in the servers' configuration`;
  return words;
}
