import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that passes, at one of its two boundaries: before the server sees it, and after it was carried out. */
export interface Boundary {
  readonly phase: 'before' | 'after';
  readonly method: string;
  readonly path: string;
  /** Counts the requests through all proxies of one counter, from 1. */
  readonly index: number;
}

/** What happens at a boundary: nothing, or the connection is cut (before: the request is lost; after: its reply). */
export type Hook = (boundary: Boundary) => 'pass' | 'cut' | Promise<'pass' | 'cut'>;

export interface Proxy {
  readonly address: string;
  close(): Promise<void>;
}

/** A counter that several proxies share. */
export class Counter {
  requests = 0;
}

/** Stands in front of a real server and shows every request to the hook. */
export async function startProxy(target: string, counter: Counter, hook: () => Hook): Promise<Proxy> {
  const server = createServer((incoming, outgoing) => {
    void pass(target, incoming, outgoing, ++counter.requests, hook());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    address: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        server.closeAllConnections();
      }),
  };
}

async function pass(
  target: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  index: number,
  hook: Hook,
): Promise<void> {
  const { method = 'GET', url = '/' } = incoming;
  const body = await read(incoming);
  if ((await hook({ phase: 'before', method, path: url, index })) === 'cut') {
    incoming.socket.destroy();
    return;
  }
  const reply = await forward(target, method, url, incoming.headers, body);
  if ((await hook({ phase: 'after', method, path: url, index })) === 'cut') {
    incoming.socket.destroy();
    return;
  }
  outgoing.writeHead(reply.status, reply.headers);
  outgoing.end(reply.body);
}

async function read(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function forward(
  target: string,
  method: string,
  path: string,
  headers: IncomingMessage['headers'],
  body: Buffer,
): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
  return new Promise((done, fail) => {
    const outgoing = request(`${target}${path}`, { method, headers }, (reply) => {
      read(reply).then((content) => {
        done({ status: reply.statusCode ?? 502, headers: reply.headers, body: content });
      }, fail);
    });
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}
