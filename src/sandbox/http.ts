import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as the state machines see it. */
export interface Request {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Parsed JSON; undefined where there was no body. */
  readonly body: unknown;
}

export interface Reply {
  readonly status: number;
  /** A string is sent as plain text, anything else as JSON; undefined as an empty body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends lines until `closed` is aborted, instead of a body. What `write` returns is awaited: room for more. */
  readonly stream?: (write: (line: string) => unknown, closed: AbortSignal) => void;
}

/** A request at one of its two boundaries: received but not processed, and processed but not answered. */
export interface RequestEvent {
  readonly target: 'nomad' | 'vault';
  readonly phase: 'before' | 'after';
  readonly method: string;
  readonly path: string;
  /** Counts the requests of both servers, from 1. */
  readonly index: number;
}

/** What shall happen at a boundary instead of the usual: the connection is cut, or another reply is sent. */
export type RequestHook = (event: RequestEvent) => HookAnswer | Promise<HookAnswer>;
export type HookAnswer = undefined | 'drop' | Reply;

export interface ServerOptions {
  readonly target: RequestEvent['target'];
  readonly host: string;
  /** 0 for a free one. */
  readonly port: number;
  /** Connections of one client at most, and what is answered to the next one. */
  readonly maxConnections?: number;
  readonly tooMany?: Reply;
  readonly handle: (request: Request) => Reply | Promise<Reply>;
  readonly count: () => number;
  readonly hook: () => RequestHook | undefined;
}

/** The port that was asked for can't be had. */
export class PortUnavailable extends Error {
  override readonly name = 'PortUnavailable';
  constructor(
    readonly target: RequestEvent['target'],
    readonly port: number,
    readonly reason: 'in use' | 'not allowed',
  ) {
    super(`port ${String(port)} for ${target} is ${reason}`);
  }
}

/** Puts a state machine on a port. @returns its address, and how to end it. @throws PortUnavailable */
export async function listen(options: ServerOptions): Promise<{ address: string; close(): Promise<void> }> {
  const server: Server = createServer((incoming, outgoing) => {
    void serve(options, incoming, outgoing);
  });
  server.keepAliveTimeout = 60_000;
  let connections = 0;
  server.on('connection', (socket) => {
    connections++;
    socket.on('close', () => connections--);
    if (connections > (options.maxConnections ?? Infinity) && options.tooMany) refuse(socket, options.tooMany);
  });
  await new Promise<void>((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      fail(portProblem(options, error) ?? error);
    });
    server.listen(options.port, options.host, done);
  });
  const address = `http://${options.host}:${String((server.address() as AddressInfo).port)}`;
  return {
    address,
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        server.closeAllConnections();
      }),
  };
}

function portProblem({ target, port }: ServerOptions, { code }: NodeJS.ErrnoException): PortUnavailable | undefined {
  if (code === 'EADDRINUSE') return new PortUnavailable(target, port, 'in use');
  return code === 'EACCES' ? new PortUnavailable(target, port, 'not allowed') : undefined;
}

function refuse(socket: import('node:net').Socket, reply: Reply): void {
  const body = String(reply.body);
  socket.end(
    `HTTP/1.1 ${String(reply.status)} Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: ${String(body.length)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

async function serve(options: ServerOptions, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const index = options.count();
  const url = new URL(incoming.url ?? '/', 'http://sandbox');
  const request: Request = {
    method: incoming.method ?? 'GET',
    path: decodeURIComponent(url.pathname),
    query: url.searchParams,
    headers: Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)])),
    body: await bodyOf(incoming),
  };
  const event = (phase: RequestEvent['phase']): RequestEvent => ({
    target: options.target,
    phase,
    method: request.method,
    path: request.path,
    index,
  });
  const before = await options.hook()?.(event('before'));
  if (before === 'drop') return void incoming.socket.destroy();
  const reply = before ?? (await options.handle(request));
  const after = await options.hook()?.(event('after'));
  if (after === 'drop') return void incoming.socket.destroy();
  send(outgoing, after ?? reply);
}

async function bodyOf(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function send(outgoing: ServerResponse, reply: Reply): void {
  const isText = typeof reply.body === 'string' || reply.body === undefined;
  outgoing.writeHead(reply.status, {
    'content-type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    ...reply.headers,
  });
  if (reply.stream === undefined) {
    outgoing.end(reply.body === undefined ? '' : isText ? reply.body : JSON.stringify(reply.body));
    return;
  }
  const closed = new AbortController();
  outgoing.on('close', () => {
    closed.abort();
  });
  outgoing.flushHeaders();
  reply.stream((line) => written(outgoing, line, closed.signal), closed.signal);
}

async function written(outgoing: ServerResponse, line: string, closed: AbortSignal): Promise<void> {
  if (closed.aborted || outgoing.write(line)) return;
  await once(outgoing, 'drain', { signal: closed }).catch(() => undefined);
}
