import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';
import { buildConnector, Client, errors, Pool } from 'undici';
import { messageOf, TargetError } from '../contract/errors.ts';
import { exchange, type HttpResponse } from './exchange.ts';
import { AdaptiveLimit } from './limit.ts';
import { connectOptions, type TlsOptions } from './tls.ts';

export interface HttpOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`. */
  readonly address: string;
  readonly tls?: TlsOptions | undefined;
  /** Connections, and so requests, at once. */
  readonly maxConnections: number;
  /** Until the first byte of a reply, and between two; milliseconds. */
  readonly timeoutMs?: number;
  readonly retry?: RetryOptions;
  /**
   * Asked in the same tick in which a request is handed to its connection, and again when a new connection stands: whoever
   * may not act any more (the lease has ended) throws.
   */
  readonly gate?: (() => void) | undefined;
  /** Told of every request, retries included. @param status 0 where no reply came. @param seconds it took. */
  readonly onReply?: ((method: string, status: number, seconds: number) => void) | undefined;
}

export interface RetryOptions {
  /** Tries after the first one. */
  readonly retries: number;
  /** Before the first of them, doubling; milliseconds, with jitter. */
  readonly minTimeout: number;
  readonly maxTimeout: number;
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Whether it may be sent again when it is not known what became of it. */
  readonly idempotent: boolean;
  /** Asked in the same tick in which this request is written to its connection: whoever may not act any more throws. */
  readonly gate?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A reply that never ends, read line by line. */
export interface LinesRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How long it may say nothing before it counts as dead: until the first line, and between two; milliseconds. */
  readonly quietMs: { readonly first: number; readonly later: number };
  /** Told once when the reply begins, with status 200: its first line may come much later. */
  readonly opened?: (() => void) | undefined;
  readonly signal: AbortSignal;
}

export type { HttpResponse };

/** The way to one server. */
export interface Transport {
  request(request: HttpRequest): Promise<HttpResponse>;
  lines(request: LinesRequest): AsyncIterable<string | HttpResponse>;
  close(): Promise<void>;
}

export const DEFAULT_RETRY: RetryOptions = { retries: 4, minTimeout: 200, maxTimeout: 3_000 };
/** A Retry-After beyond this is not waited for inside one request; milliseconds. */
const LONGEST_RETRY_AFTER = 10_000;

/** How long requests under way are waited for when it is closed; milliseconds. */
const CLOSING_MS = 1_000;

/** Thrown inside to make p-retry try again; the last one's response is what the caller gets. */
class Refused extends Error {
  constructor(readonly response: HttpResponse) {
    super(`status ${String(response.status)}`);
  }
}

/**
 * One server over kept-alive connections: bounded and adaptive concurrency, and retries inside a request. It follows no
 * redirects, so that a token goes nowhere else.
 */
export class Http implements Transport {
  readonly #pool: Pool;
  readonly #limit: AdaptiveLimit;
  readonly #address: string;
  readonly #retry: RetryOptions;
  readonly #origin: string;
  readonly #clientOptions: Client.Options;
  readonly #gate: () => void;
  readonly #onReply: NonNullable<HttpOptions['onReply']>;

  constructor(options: HttpOptions) {
    const unix = options.address.startsWith('unix://');
    const timeout = options.timeoutMs ?? 60_000;
    this.#address = options.address.replace(/\/$/, '');
    this.#retry = options.retry ?? DEFAULT_RETRY;
    this.#limit = new AdaptiveLimit(options.maxConnections);
    this.#gate = closable(options.gate);
    this.#onReply = options.onReply ?? (() => undefined);
    this.#origin = unix ? 'http://localhost' : new URL(options.address).origin;
    this.#clientOptions = {
      pipelining: 1,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect: gated(
        buildConnector({
          ...connectOptions(options.tls),
          timeout: 10_000,
          ...(unix && { socketPath: options.address.slice('unix://'.length) }),
        }),
        this.#gate,
      ),
    };
    this.#pool = new Pool(this.#origin, { ...this.#clientOptions, connections: options.maxConnections });
  }

  /**
   * @returns the last reply, whatever its status.
   * @throws TargetError `transient` when no reply came; `ambiguous` when the request may have been carried out.
   */
  async request(request: HttpRequest): Promise<HttpResponse> {
    try {
      return await pRetry(() => this.#limit.run(() => this.#once(request), isOverload), {
        ...this.#retry,
        randomize: true,
        ...(request.signal && { signal: request.signal }),
        shouldRetry: ({ error }) => mayRetry(error, request.idempotent),
        onFailedAttempt: ({ error, retriesLeft }) => pauseFor(error, retriesLeft, request.signal),
      });
    } catch (error) {
      if (error instanceof Refused) return error.response;
      if (error instanceof TargetError) throw error;
      throw this.#unanswered(request, error);
    }
  }

  /**
   * Lines as they come, over a connection of its own: it does not count against the limit, and ends with the signal.
   * A status other than 200 is yielded as a response, and ends it.
   * @throws TargetError `transient` when it breaks, or says nothing for too long.
   */
  async *lines(request: LinesRequest): AsyncGenerator<string | HttpResponse> {
    const quiet = new Quiet();
    const client = new Client(this.#origin, { ...this.#clientOptions, headersTimeout: 0, bodyTimeout: 0 });
    const signal = AbortSignal.any([request.signal, quiet.signal]);
    const end = (): void => {
      client.destroy().catch(() => undefined);
    };
    // A signal ends a request only once it has a connection: who waits for one must not wait on, either.
    signal.addEventListener('abort', end);
    try {
      quiet.start(request.quietMs.first);
      this.#gate();
      const reply = await client.request({
        method: 'GET',
        path: request.path,
        headers: request.headers,
        signal,
      });
      if (reply.statusCode !== 200) {
        yield { status: reply.statusCode, headers: reply.headers, text: await reply.body.text() };
        return;
      }
      request.opened?.();
      for await (const line of linesOf(reply.body)) {
        // Whoever takes long over a line must not find that the server was silent meanwhile.
        quiet.stop();
        yield line;
        quiet.start(request.quietMs.later);
      }
    } catch (error) {
      if (request.signal.aborted) return;
      if (error instanceof TargetError) throw error;
      const path = request.path.split('?')[0] ?? '';
      const why = quiet.signal.aborted ? 'it says nothing' : reasonOf(error);
      throw new TargetError(`GET ${this.#address}${path}: ${why}`, { class: 'transient', cause: error });
    } finally {
      quiet.stop();
      signal.removeEventListener('abort', end);
      end();
    }
  }

  /** What is under way gets a moment more, and no answer after that. */
  async close(): Promise<void> {
    const over = new AbortController();
    const late = sleep(CLOSING_MS, undefined, { signal: over.signal }).then(
      () => this.#pool.destroy(),
      () => undefined,
    );
    await Promise.race([this.#pool.close(), late]);
    over.abort();
  }

  async #once(request: HttpRequest): Promise<HttpResponse> {
    const started = performance.now();
    let status = 0;
    try {
      this.#gate();
      const response = await exchange(this.#pool, { ...request, gate: request.gate && closable(request.gate) });
      status = response.status;
      if (response.status === 429 || response.status >= 500) throw new Refused(response);
      return response;
    } finally {
      this.#onReply(request.method, status, (performance.now() - started) / 1000);
    }
  }

  #unanswered(request: HttpRequest, error: unknown): TargetError {
    const where = `${request.method} ${this.#address}${request.path.split('?')[0] ?? ''}`;
    return new TargetError(`${where}: ${reasonOf(error)}`, {
      class: 'transient',
      ambiguous: !request.idempotent && !neverSent(error),
    });
  }
}

/** A gate's refusal is final for the request, and nothing was sent: neither is it tried again nor looked for. */
function closable(gate: HttpOptions['gate']): () => void {
  return () => {
    try {
      gate?.();
    } catch (error) {
      if (error instanceof TargetError) throw error;
      throw new TargetError(messageOf(error), { class: 'transient', cause: error });
    }
  };
}

/** A connection that stands only when its use is no longer allowed is not used. */
function gated(connect: buildConnector.connector, gate: () => void): buildConnector.connector {
  return (options, callback) => {
    connect(options, (...result) => {
      try {
        gate();
      } catch (error) {
        result[1]?.destroy();
        callback(error as Error, null);
        return;
      }
      callback(...result);
    });
  };
}

/** Aborts its signal when it runs out: started anew by each sign of life. */
class Quiet {
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(ms: number): void {
    this.stop();
    this.#timer = setTimeout(() => {
      this.#controller.abort();
    }, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line !== '') yield line;
  }
}

/** 429 and the 5xx: the server says that it is too much, or that it fails. */
function isOverload(error: unknown): boolean {
  return error instanceof Refused;
}

/** 429 and a refused connection were never carried out; anything else may have been. */
function mayRetry(error: Error, idempotent: boolean): boolean {
  if (error.name === 'AbortError' || error instanceof TargetError || isUntrusted(error)) return false;
  if (error instanceof Refused)
    return error.response.status === 429 || (idempotent && isPassing(error.response.status));
  return idempotent || neverSent(error);
}

/** 501 and the like say that it will never work. */
function isPassing(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504;
}

async function pauseFor(error: Error, retriesLeft: number, signal: AbortSignal | undefined): Promise<void> {
  if (!(error instanceof Refused) || retriesLeft === 0) return;
  const seconds = Number(error.response.headers['retry-after']);
  if (!(seconds > 0)) return;
  await sleep(Math.min(seconds * 1000, LONGEST_RETRY_AFTER), undefined, signal && { signal });
}

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

function neverSent(error: unknown): boolean {
  const codes = error instanceof AggregateError ? error.errors.map(codeOf) : [codeOf(error)];
  return codes.every((code) => code !== undefined && (NEVER_SENT.has(code) || isCertificateError(code)));
}

/** What a certificate lacks now it will lack in a second, too. */
function isUntrusted(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && isCertificateError(code);
}

function isCertificateError(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL/.test(code);
}

/** How OpenSSL names an answer that is no TLS. */
const NO_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_LAYER_FAILURE/;

/** What a person who is paged can act on. */
function reasonOf(error: unknown): string {
  const first = error instanceof AggregateError && error.message === '' ? (error.errors[0] as unknown) : error;
  const code = codeOf(first);
  if (code === 'ECONNREFUSED')
    return 'nothing listens there (connection refused): is the server running, is the address right?';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the host name is not known (DNS)';
  if (code !== undefined && NO_TLS.test(code)) return 'the server speaks plain http there: use http://';
  if (code !== undefined && isCertificateError(code))
    return `TLS failed: ${messageOf(first)}; check the CA (tls.caFile) and the client certificate`;
  if (first instanceof errors.HeadersTimeoutError || first instanceof errors.BodyTimeoutError)
    return 'no answer in time';
  if (first instanceof errors.ConnectTimeoutError) return 'no connection in time';
  return `no answer: ${messageOf(first)}`;
}
