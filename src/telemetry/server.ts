import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, UsageError } from '../contract/errors.ts';
import { parseListen } from './listen.ts';
import type { Telemetry } from './observer.ts';
import { oneLine } from './one-line.ts';

export interface OperationsOptions {
  /** `HOST:PORT`, `:PORT` or `[IPv6]:PORT`. */
  readonly listen: string;
  readonly telemetry: Pick<Telemetry, 'metrics' | 'ready'>;
}

export interface OperationsServer {
  /** As it is reached, with the real port: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Answers what is being asked, and ends all connections, at the latest after half a second. */
  readonly close: () => Promise<void>;
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const CLOSE_AFTER_MS = 500;

/**
 * `/healthz`, `/readyz` and `/metrics`. Nothing that is asked is logged.
 * @throws UsageError where it can't listen there.
 */
export async function serveOperations({ listen, telemetry }: OperationsOptions): Promise<OperationsServer> {
  // A client has ten seconds to ask: these replies are small, and their askers near.
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    void answer(telemetry, request, response);
  });
  await bind(server, listen);
  // A connection that could not be taken, as for want of file descriptors, must not end the process.
  server.on('error', () => undefined);
  const { address, family, port } = server.address() as AddressInfo;
  const host = family === 'IPv6' ? `[${address}]` : address;
  return { url: `http://${host}:${String(port)}`, close: () => close(server) };
}

async function bind(server: Server, listen: string): Promise<void> {
  const { host, port } = parseListen(listen);
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new UsageError(`--listen ${listen}: ${explain(error)}`);
  }
}

function explain(error: unknown): string {
  switch ((error as { code?: string }).code) {
    case 'EADDRINUSE':
      return 'the port is in use by another process; choose another one, or port 0 for any that is free';
    case 'EACCES':
      return 'this user may not listen on that port; choose one above 1023';
    case 'EADDRNOTAVAIL':
      return 'the machine has no such address';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'there is no host of that name';
    default:
      return messageOf(error);
  }
}

async function close(server: Server): Promise<void> {
  const timer = setTimeout(() => {
    server.closeAllConnections();
  }, CLOSE_AFTER_MS);
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeIdleConnections();
  });
  clearTimeout(timer);
}

async function answer(
  telemetry: OperationsOptions['telemetry'],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, text, type = 'text/plain; charset=utf-8', headers } = await replyTo(telemetry, request);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}

async function replyTo({ metrics, ready }: OperationsOptions['telemetry'], request: IncomingMessage): Promise<Reply> {
  const path = request.url?.split('?', 1)[0];
  if (path !== '/healthz' && path !== '/readyz' && path !== '/metrics') return { status: 404, text: 'not found\n' };
  if (request.method !== 'GET' && request.method !== 'HEAD') return NOT_ALLOWED;
  if (path === '/healthz') return OK;
  if (path === '/readyz') return readiness(ready());
  try {
    return { status: 200, text: await metrics.text(), type: metrics.contentType };
  } catch (error) {
    return { status: 500, text: `${oneLine(messageOf(error))}\n` };
  }
}

const OK: Reply = { status: 200, text: 'ok\n' };
/** What such a request carries is not read, so its connection can't be used again. */
const NOT_ALLOWED: Reply = {
  status: 405,
  text: 'method not allowed\n',
  headers: { allow: 'GET, HEAD', connection: 'close' },
};

/** One line for each reason, in the way of Kubernetes' `/readyz?verbose`. */
function readiness(reasons: readonly string[]): Reply {
  if (reasons.length === 0) return OK;
  const lines = [...reasons.map((reason) => `[-]${oneLine(reason)}`), 'readyz check failed'];
  return { status: 503, text: `${lines.join('\n')}\n` };
}
