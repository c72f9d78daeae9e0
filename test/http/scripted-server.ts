import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';

export interface Seen {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body: string;
}

/** A reply; `cut` ends the connection without one; `hang` never answers; a function writes what it likes. */
export type Answer =
  | { readonly status: number; readonly body?: string; readonly headers?: Readonly<Record<string, string>> }
  | 'cut'
  | 'hang'
  | ((outgoing: ServerResponse) => void);

export interface ScriptedServer {
  readonly address: string;
  /** Requests that arrived whole, in their order. */
  readonly seen: Seen[];
  /** Connections that were ever made. */
  readonly connections: Socket[];
  close(): Promise<void>;
}

/** A server that answers as it is told: the answers in their order, the last one again and again. */
export async function startScripted(...answers: readonly [Answer, ...Answer[]]): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  const connections: Socket[] = [];
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      seen.push({
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        body: Buffer.concat(chunks).toString('utf8'),
      });
      reply(answers[Math.min(seen.length, answers.length) - 1] ?? 'cut', outgoing);
    });
  });
  server.on('connection', (socket) => connections.push(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    connections,
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        server.closeAllConnections();
      }),
  };
}

/** Takes connections and never says a word: who asks it by https never comes to send a request. */
export async function startMute(): Promise<{ address: string; close(): Promise<void> }> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => sockets.push(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    address: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function reply(answer: Answer, outgoing: ServerResponse): void {
  if (answer === 'hang') return;
  if (answer === 'cut') {
    outgoing.socket?.destroy();
    return;
  }
  if (typeof answer === 'function') {
    answer(outgoing);
    return;
  }
  outgoing.writeHead(answer.status, answer.headers);
  outgoing.end(answer.body ?? '');
}
