import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/**
 * What becomes of what is sent: it passes, it waits until it may pass, nothing is passed on though the connections stay, or
 * the connection is cut as soon as the server answers.
 */
export type Way = 'pass' | 'hold' | 'stall' | 'lose replies';

/** Stands between a client and a server that speak TLS, and sees no more than their bytes. */
export interface TcpProxy {
  readonly address: string;
  /** Connections that were ever made. */
  readonly accepted: () => number;
  /** For all connections from now on, those that stand included. */
  go(way: Way): void;
  /** Ends all connections that stand, with a reset. */
  cut(): void;
  /** Tells the clients that nothing more comes, and reads on what they send. */
  halfClose(): void;
  close(): Promise<void>;
}

/** @param target `https://HOST:PORT` */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const pairs = new Set<readonly [Socket, Socket]>();
  let accepted = 0;
  let way: Way = 'pass';
  const setFlow = (pair: readonly [Socket, Socket]): void => {
    for (const socket of pair)
      if (way === 'hold') socket.pause();
      else socket.resume();
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    accepted++;
    const upstream = connect({ host: hostname, port: Number(port) });
    const pair = [client, upstream] as const;
    pairs.add(pair);
    setFlow(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    client.on('data', (chunk) => {
      if (way !== 'stall') upstream.write(chunk);
    });
    client.on('end', () => upstream.end());
    upstream.on('data', (chunk) => {
      if (way === 'lose replies') client.resetAndDestroy();
      else if (way !== 'stall' && client.writable) client.write(chunk);
    });
    upstream.on('end', () => {
      if (way !== 'stall') client.end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    address: `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    accepted: () => accepted,
    go: (now) => {
      way = now;
      for (const pair of pairs) setFlow(pair);
    },
    cut: () => {
      for (const [client] of pairs) client.resetAndDestroy();
    },
    halfClose: () => {
      for (const [client] of pairs) client.end();
    },
    close: () =>
      new Promise((done) => {
        server.close(() => {
          done();
        });
        for (const [client] of pairs) client.destroy();
      }),
  };
}
