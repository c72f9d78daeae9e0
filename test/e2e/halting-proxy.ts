import { readFileSync } from 'node:fs';
import { createServer as createPlainServer, request as plainRequest } from 'node:http';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer as createTlsServer, request as tlsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { KubernetesServer } from '../servers/kubernetes.ts';
import type { Counter, Hook, Proxy } from './proxy.ts';

interface Front {
  readonly target: string;
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Numbers the writes, but for the Leases and Events, which come when they will. */
  readonly counter: Counter;
  /** Shown each numbered write at its two boundaries. */
  readonly hook: () => Hook;
}

/** Stands in front of a server: reads and streams pass as they come, and a write can be stopped at either of its boundaries. */
export async function startHaltingProxy(front: Front): Promise<Proxy> {
  const listener: RequestListener = (incoming, outgoing) => {
    pass(front, incoming, outgoing).catch(() => incoming.socket.destroy());
  };
  const server = front.tls === undefined ? createPlainServer(listener) : createTlsServer(front.tls, listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    address: `${front.tls === undefined ? 'http' : 'https'}://127.0.0.1:${String(port)}`,
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        server.closeAllConnections();
      }),
  };
}

/** The API server's own certificate, which whoever trusts it trusts here too. */
export function certificateOf({ caFile }: KubernetesServer): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(caFile), key: readFileSync(join(dirname(caFile), 'apiserver.key')) };
}

async function pass(front: Front, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { method = 'GET', url = '/' } = incoming;
  if (method === 'GET' || method === 'LIST' || /\/(leases|events)\b/.test(url)) {
    relay(await forward(front, incoming, outgoing), outgoing);
    return;
  }
  const body = await read(incoming);
  const index = ++front.counter.requests;
  const boundary = { method, path: url, index } as const;
  if ((await front.hook()({ ...boundary, phase: 'before' })) === 'cut') {
    incoming.socket.destroy();
    return;
  }
  const reply = await forward(front, incoming, outgoing, body);
  const content = await read(reply);
  if ((await front.hook()({ ...boundary, phase: 'after' })) === 'cut') {
    incoming.socket.destroy();
    return;
  }
  outgoing.writeHead(reply.statusCode ?? 502, reply.headers).end(content);
}

function forward(
  { target, tls }: Front,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  body?: Buffer,
): Promise<IncomingMessage> {
  const { method, url = '/', headers } = incoming;
  const request = tls === undefined ? plainRequest : tlsRequest;
  return new Promise((done, fail) => {
    const onward = request(`${target}${url}`, { method, headers, ...(tls && { ca: tls.cert }) }, done);
    onward.once('error', fail);
    outgoing.once('close', () => onward.destroy());
    if (body === undefined) incoming.pipe(onward);
    else onward.end(body);
  });
}

function relay(reply: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
  // The head of a stream comes long before its first line.
  outgoing.flushHeaders();
  reply.pipe(outgoing);
  reply.once('error', () => outgoing.destroy());
}

async function read(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
