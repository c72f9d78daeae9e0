import { createServer } from 'node:net';

// Below Linux' range for outgoing connections (32768-60999) and Nomad's for tasks (20000-32000), so that no client's
// socket can sit on a port between its choice here and the server's bind. Above 10080, the highest port that `fetch`
// refuses to talk to ("bad port").
const FIRST = 10_081;
const LAST = 19_999;

const given = new Set<number>();

/**
 * `count` different ports free on 127.0.0.1 at this moment, never the same twice in a process. Another process may still
 * take one before the server binds it; `startProcess` reports that as AddressInUseError and `withFreePorts` tries again.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => {
      resolve(false);
    });
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      probe.close(() => {
        resolve(true);
      });
    });
  });
}

/** The server lost the race for a port. */
export class AddressInUseError extends Error {}

/** Starts something with fresh ports, again when another process was faster to one of them. */
export async function withFreePorts<T>(count: number, start: (ports: number[]) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      if (!(error instanceof AddressInUseError) || attempt === 5) throw error;
    }
  }
}
