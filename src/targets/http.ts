import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';
import { errors, Pool } from 'undici';
import { messageOf, TargetError } from '../contract/errors.ts';
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
}

export interface RetryOptions {
  /** Tries after the first one. */
  readonly retries: number;
  /** Before the first of them, doubling; milliseconds, with jitter. */
  readonly minTimeout: number;
  readonly maxTimeout: number;
}

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Whether it may be sent again when it is not known what became of it. */
  readonly idempotent: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export const DEFAULT_RETRY: RetryOptions = { retries: 4, minTimeout: 200, maxTimeout: 3_000 };
/** A Retry-After beyond this is not waited for inside one request; milliseconds. */
const LONGEST_RETRY_AFTER = 10_000;

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
export class Http {
  readonly #pool: Pool;
  readonly #limit: AdaptiveLimit;
  readonly #address: string;
  readonly #retry: RetryOptions;

  constructor(options: HttpOptions) {
    const unix = options.address.startsWith('unix://');
    const timeout = options.timeoutMs ?? 60_000;
    this.#address = options.address.replace(/\/$/, '');
    this.#retry = options.retry ?? DEFAULT_RETRY;
    this.#limit = new AdaptiveLimit(options.maxConnections);
    this.#pool = new Pool(unix ? 'http://localhost' : new URL(options.address).origin, {
      connections: options.maxConnections,
      pipelining: 1,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connect: { ...connectOptions(options.tls), timeout: 10_000 },
      ...(unix && { socketPath: options.address.slice('unix://'.length) }),
    });
  }

  /**
   * @returns the last reply, whatever its status.
   * @throws TargetError `transient` when no reply came; `ambiguous` when the request may have been carried out.
   */
  async request(request: HttpRequest): Promise<HttpResponse> {
    try {
      return await pRetry(() => this.#limit.run(() => this.#once(request)), {
        ...this.#retry,
        randomize: true,
        ...(request.signal && { signal: request.signal }),
        shouldRetry: ({ error }) => mayRetry(error, request.idempotent),
        onFailedAttempt: ({ error, retriesLeft }) => pauseFor(error, retriesLeft, request.signal),
      });
    } catch (error) {
      if (error instanceof Refused) return error.response;
      throw this.#unanswered(request, error);
    }
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #once(request: HttpRequest): Promise<HttpResponse> {
    const reply = await this.#pool.request({
      method: request.method,
      path: request.path,
      headers: request.headers,
      ...(request.body !== undefined && { body: request.body }),
      ...(request.signal && { signal: request.signal }),
    });
    const response = { status: reply.statusCode, headers: reply.headers, text: await reply.body.text() };
    if (response.status !== 429 && response.status < 500) {
      this.#limit.succeeded();
      return response;
    }
    this.#limit.overloaded();
    throw new Refused(response);
  }

  #unanswered(request: HttpRequest, error: unknown): TargetError {
    const where = `${request.method} ${this.#address}${request.path.split('?')[0] ?? ''}`;
    return new TargetError(`${where}: ${reasonOf(error)}`, {
      class: 'transient',
      ambiguous: !request.idempotent && !neverSent(error),
    });
  }
}

/** 429 and a refused connection were never carried out; anything else may have been. */
function mayRetry(error: Error, idempotent: boolean): boolean {
  if (error.name === 'AbortError') return false;
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
