import { TargetError } from '../../src/contract/errors.ts';
import type { HttpRequest, HttpResponse, LinesRequest, Transport } from '../../src/http/http.ts';
import type { Reply, Request } from '../../src/sandbox/http.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What goes wrong on the way to a server, as probabilities and as states that last. */
export interface Faults {
  requestLost: number;
  replyLost: number;
  /** An error instead of the work, or although the work was done. */
  errorBefore: number;
  errorAfter: number;
  isDown: boolean;
  /** Our own token is refused. */
  isDenied: boolean;
  /** The stream ends, or says nothing any more, or tells an event twice. */
  streamEnds: number;
  streamStalls: number;
  eventTwice: number;
}

export function calm(): Faults {
  return {
    requestLost: 0,
    replyLost: 0,
    errorBefore: 0,
    errorAfter: 0,
    isDown: false,
    isDenied: false,
    streamEnds: 0,
    streamStalls: 0,
    eventTwice: 0,
  };
}

interface SimOptions {
  readonly name: string;
  readonly handle: (request: Request) => Promise<Reply>;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly faults: Faults;
  readonly isAlive: () => boolean;
  readonly log: (line: string) => void;
  /** Told of each write that reaches the server, before it is carried out. */
  readonly onWrite: () => void;
  /** Aborted when the simulation is over: streams to the dead end by nothing else. */
  readonly over: AbortSignal;
}

const RETRIES = 2;
const STALL_MS = 75_000;

/**
 * A network and a server behind it. What was sent arrives, though the sender may be dead by then; nobody who is dead
 * gets a reply.
 */
export class SimTransport implements Transport {
  readonly #options: SimOptions;

  constructor(options: SimOptions) {
    this.#options = options;
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    for (let attempt = 0; ; attempt++) {
      const reply = await this.#send(request);
      const isPassing = reply === 'lost' || reply.status === 429 || reply.status >= 500;
      const mayRetry = reply !== 'lost' && reply.status === 429 ? true : request.idempotent;
      if (!isPassing || !mayRetry || attempt === RETRIES) {
        if (reply !== 'lost') return reply;
        throw new TargetError(`${request.method} ${request.path}: no answer`, {
          class: 'transient',
          ambiguous: !request.idempotent,
        });
      }
      await this.#wait(200 * 2 ** attempt);
    }
  }

  async *lines(request: LinesRequest): AsyncGenerator<string | HttpResponse> {
    const { random, faults, log, name } = this.#options;
    const reply = await this.#send({ method: 'GET', path: request.path, headers: request.headers, idempotent: true });
    if (reply === 'lost') throw new TargetError('the stream broke', { class: 'transient' });
    if (reply.status !== 200) {
      yield reply;
      return;
    }
    const closed = new AbortController();
    const queue: string[] = [];
    let wake: () => void = () => undefined;
    let end: 'open' | 'ended' | 'broken' = 'open';
    const finish = (how: 'ended' | 'broken'): void => {
      end = how;
      wake();
    };
    const onAbort = (): void => {
      finish('ended');
    };
    request.signal.addEventListener('abort', onAbort);
    // A signal that is made of others is never forgotten while somebody listens to it.
    const close = (): void => {
      request.signal.removeEventListener('abort', onAbort);
      this.#options.over.removeEventListener('abort', close);
      closed.abort();
    };
    this.#options.over.addEventListener('abort', close);
    reply.stream?.((line) => {
      // An event stream may be late, end at any event, or fall silent without ending.
      this.#options.clock.after(random.below(20), () => {
        if (end !== 'open' || !this.#options.isAlive()) return;
        if (random.chance(faults.streamEnds)) {
          log(`${name}: the stream ends`);
          finish('broken');
        } else if (random.chance(faults.streamStalls)) {
          log(`${name}: the stream falls silent`);
          end = 'ended';
          this.#options.clock.after(STALL_MS, () => {
            finish('broken');
          });
        } else {
          for (let i = random.chance(faults.eventTwice) ? 2 : 1; i > 0; i--) queue.push(line);
          wake();
        }
      });
    }, closed.signal);
    try {
      for (;;) {
        for (let line = queue.shift(); line !== undefined; line = queue.shift()) {
          for (const part of line.split('\n')) if (part !== '') yield part;
        }
        if (request.signal.aborted) return;
        if ((end as string) === 'broken') throw new TargetError('the stream broke', { class: 'transient' });
        await new Promise<void>((done) => (wake = done));
      }
    } finally {
      close();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #wait(ms: number): Promise<void> {
    const { clock, isAlive } = this.#options;
    return new Promise((done) => {
      clock.after(ms, () => {
        if (isAlive()) done();
      });
    });
  }

  #send(
    request: Omit<HttpRequest, 'signal'> & { signal?: AbortSignal | undefined },
  ): Promise<(HttpResponse & { stream?: Reply['stream'] }) | 'lost'> {
    const { clock, random, faults, isAlive, handle, log, name } = this.#options;
    return new Promise((done, fail) => {
      if (!isAlive()) return;
      const onAbort = (): void => {
        fail(new TargetError(`${request.method} ${request.path}: aborted`, { class: 'transient' }));
      };
      request.signal?.addEventListener('abort', onAbort, { once: true });
      const answer = (reply: (HttpResponse & { stream?: Reply['stream'] }) | 'lost', ms = random.below(10)): void => {
        clock.after(ms, () => {
          request.signal?.removeEventListener('abort', onAbort);
          if (isAlive()) done(reply);
        });
      };
      const what = `${name}: ${request.method} ${request.path}`;
      clock.after(random.below(10), () => {
        if (faults.isDown || random.chance(faults.requestLost)) {
          log(`${what}: lost`);
          answer('lost', 500);
          return;
        }
        if (faults.isDenied) {
          answer({ status: 403, headers: {}, text: 'Permission denied' });
          return;
        }
        if (random.chance(faults.errorBefore)) {
          answer(failure(random, log, what, 'instead of its work'));
          return;
        }
        if (request.method !== 'GET') this.#options.onWrite();
        void handle(asSandboxRequest(request)).then((reply) => {
          if (reply.stream === undefined && random.chance(faults.replyLost)) {
            log(`${what}: done, reply lost`);
            answer('lost', 500);
          } else if (reply.stream === undefined && random.chance(faults.errorAfter)) {
            answer({ ...failure(random, log, what, 'though done'), status: 502 });
          } else answer(asResponse(reply));
        });
      });
    });
  }
}

function failure(random: Random, log: (line: string) => void, what: string, when: string): HttpResponse {
  const status = random.pick([429, 500, 502, 503]);
  log(`${what}: ${String(status)} ${when}`);
  return { status, headers: {}, text: 'fault' };
}

function asSandboxRequest({
  method,
  path,
  headers,
  body,
}: Pick<HttpRequest, 'method' | 'path' | 'headers' | 'body'>): Request {
  const url = new URL(path, 'http://sandbox');
  return {
    method,
    path: decodeURIComponent(url.pathname),
    query: url.searchParams,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
    body: body === undefined ? undefined : (JSON.parse(body) as unknown),
  };
}

function asResponse(reply: Reply): HttpResponse & { stream?: Reply['stream'] } {
  const { body } = reply;
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  return { status: reply.status, headers: reply.headers ?? {}, text, ...(reply.stream && { stream: reply.stream }) };
}
