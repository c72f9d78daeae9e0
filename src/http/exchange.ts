import type { Dispatcher } from 'undici';

/** A whole reply. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface Exchange {
  readonly method: Dispatcher.HttpMethod;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Asked in the tick in which the request is written to its connection; what it throws ends the request unsent. */
  readonly gate?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One request and its whole reply. It is undici's `request` without the stream around the body, which for replies of a few
 * hundred bytes costs more than all the rest.
 * @throws what undici throws, or the signal's reason.
 */
export function exchange(dispatcher: Dispatcher, request: Exchange): Promise<HttpResponse> {
  const { method, path, headers, body = null, gate, signal } = request;
  return new Promise((done, fail) => {
    if (signal?.aborted) fail(signal.reason as Error);
    else dispatcher.dispatch({ method, path, headers, body }, new Collector(gate, signal, done, fail));
  });
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #gate: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #done: (reply: HttpResponse) => void;
  readonly #fail: (error: Error) => void;
  readonly #chunks: Buffer[] = [];
  #status = 0;
  #headers: HttpResponse['headers'] = {};
  #controller: Dispatcher.DispatchController | undefined;
  /** Before the request has a connection there is nothing to abort: whoever waits for it is let go, and it is never sent. */
  readonly #abort = (): void => {
    const reason = this.#signal?.reason as Error;
    if (this.#controller === undefined) this.#fail(reason);
    else this.#controller.abort(reason);
  };

  constructor(
    gate: (() => void) | undefined,
    signal: AbortSignal | undefined,
    done: (reply: HttpResponse) => void,
    fail: (error: Error) => void,
  ) {
    this.#gate = gate;
    this.#signal = signal;
    this.#done = done;
    this.#fail = fail;
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    try {
      this.#signal?.throwIfAborted();
      this.#gate?.();
      this.#controller = controller;
    } catch (error) {
      controller.abort(error as Error);
    }
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: HttpResponse['headers']): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#end();
    const [first, ...more] = this.#chunks;
    const body = more.length === 0 ? first : Buffer.concat(this.#chunks);
    this.#done({ status: this.#status, headers: this.#headers, text: body?.toString('utf8') ?? '' });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#end();
    this.#fail(error);
  }

  #end(): void {
    this.#signal?.removeEventListener('abort', this.#abort);
  }
}
