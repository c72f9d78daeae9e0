import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** A request that came through. */
export interface Passed {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** PEM. */
export interface GatewayTls {
  /** For the target. */
  readonly ca: string;
  /** What the gateway shows. */
  readonly cert: string;
  readonly key: string;
}

/**
 * What becomes of a request: it passes, it never arrives, it is carried out and its reply is lost, only the head of its
 * reply comes and then nothing more, or it is answered with a status in place of the server.
 */
export type Fate = 'pass' | 'lose request' | 'lose reply' | 'swallow' | number;

/** Stands between a client and a real server for as long as both live. Streams pass as they come. */
export interface Gateway {
  readonly address: string;
  /** Every request since the last `forget`, in the order in which they came. */
  readonly passed: readonly Passed[];
  /** Those that are no reads. */
  readonly writes: () => Passed[];
  forget(): void;
  /** Decides on every request from now on. */
  decide(fate: (request: Passed) => Fate): void;
  /** Nobody is let in, and whoever is in is thrown out. */
  close(): Promise<void>;
  /** After a `close`, at the same address. */
  open(): Promise<void>;
  /** Ends the replies that are under way to these requests. @returns how many there were. */
  cut(isMeant: (request: Passed) => boolean): number;
}

/** @param target address of the server. @param tls where it speaks https: then the gateway does, too. */
export async function startGateway(target: string, tls?: GatewayTls): Promise<Gateway> {
  const passed: Passed[] = [];
  const underWay = new Map<http.ServerResponse, Passed>();
  let fate: (request: Passed) => Fate = () => 'pass';
  // Nomad lets one client have a hundred connections, and those that nobody uses count.
  const kept = { keepAlive: true, maxFreeSockets: 8 };
  const agent = tls === undefined ? new http.Agent(kept) : new https.Agent({ ...kept, ca: tls.ca });
  const sockets = new Set<Socket>();
  const take: http.RequestListener = (incoming, outgoing) => {
    const come = { method: incoming.method ?? 'GET', path: incoming.url ?? '/', headers: incoming.headers };
    passed.push(come);
    underWay.set(outgoing, come);
    outgoing.once('close', () => underWay.delete(outgoing));
    pass(target, agent, incoming, outgoing, fate(come));
  };
  const server: http.Server =
    tls === undefined ? http.createServer(take) : https.createServer({ cert: tls.cert, key: tls.key }, take);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number): Promise<void> => new Promise((done) => server.listen(port, '127.0.0.1', done));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    address: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${String(port)}`,
    passed,
    writes: () => passed.filter(({ method }) => method !== 'GET' && method !== 'LIST'),
    forget: () => void passed.splice(0),
    decide: (by) => (fate = by),
    open: () => listen(port),
    close: () =>
      new Promise((done) => {
        if (!server.listening) {
          done();
          return;
        }
        server.close(() => {
          done();
        });
        for (const socket of sockets) socket.destroy();
      }),
    cut: (isMeant) => {
      const meant = [...underWay].filter(([, come]) => isMeant(come));
      for (const [outgoing] of meant) outgoing.destroy();
      return meant.length;
    },
  };
}

function pass(
  target: string,
  agent: http.Agent,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
  fate: Fate,
): void {
  if (fate === 'lose request') {
    incoming.socket.destroy();
    return;
  }
  if (typeof fate === 'number') {
    incoming.resume().once('end', () => outgoing.writeHead(fate).end('in place of the server\n'));
    return;
  }
  const { method, url, headers } = incoming;
  const { request } = agent instanceof https.Agent ? https : http;
  const onward = request(`${target}${url ?? '/'}`, { method, headers, agent }, (reply) => {
    if (fate === 'lose reply') {
      reply.resume().once('end', () => incoming.socket.destroy());
      return;
    }
    outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
    // The head of a stream comes long before its first line.
    outgoing.flushHeaders();
    if (fate === 'swallow') {
      reply.resume();
      return;
    }
    reply.pipe(outgoing);
    reply.once('error', () => outgoing.destroy());
  });
  onward.once('error', () => outgoing.destroy());
  outgoing.once('close', () => onward.destroy());
  incoming.pipe(onward);
}
