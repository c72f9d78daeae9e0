import { connect } from 'node:net';
import { EventEmitter, once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/contract/errors.ts';
import { parseListen } from '../../src/telemetry/listen.ts';
import { createTelemetry, type Telemetry } from '../../src/telemetry/observer.ts';
import { serveOperations, type OperationsServer } from '../../src/telemetry/server.ts';
import { parseExposition } from './exposition.ts';
import { cluster, sheet } from './steps.ts';

const open: OperationsServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(
  telemetry: Pick<Telemetry, 'ready' | 'metrics'>,
  listen = '127.0.0.1:0',
): Promise<OperationsServer> {
  const server = await serveOperations({ listen, telemetry });
  open.push(server);
  return server;
}

function silent(election?: string): Telemetry & { stream: ReturnType<typeof sheet> } {
  const stream = sheet();
  return { ...createTelemetry({ version: '1.2.3', election, log: { stream } }), stream };
}

async function ask(url: string, init: RequestInit = {}): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

describe('/readyz', () => {
  it('is 503 with a line for each reason until all is synced, and 200 then', async () => {
    const { observer, ...telemetry } = silent();
    const { url } = await serve(telemetry);
    const readyz = async (): Promise<[number, string]> => {
      const { status, text } = await ask(`${url}/readyz`);
      return [status, text];
    };
    expect(await readyz()).toEqual([503, '[-]the manifests were not read yet\nreadyz check failed\n']);
    observer.synced(cluster, false, 'connection\nrefused');
    observer.synced({ kind: 'VaultServer', name: 'default' }, false);
    observer.desired(3, [], 0);
    expect(await readyz()).toEqual([
      503,
      '[-]NomadCluster default is not synced: connection refused\n' +
        '[-]VaultServer default is not synced: its objects were not read yet\n' +
        'readyz check failed\n',
    ]);
    observer.synced(cluster, true);
    observer.disconnected({ kind: 'VaultServer', name: 'default' });
    expect(await readyz()).toEqual([200, 'ok\n']);
    observer.synced(cluster, false, 'reset');
    expect((await readyz())[0]).toBe(503);
  });

  it('waits for the election, and takes a standby for ready', () => {
    const { observer, ready } = silent('lock');
    observer.desired(1, [], 0);
    expect(ready()).toEqual(['it is not known yet which replica leads']);
    observer.leading(false);
    expect(ready()).toEqual([]);
  });

  it('does not mind errors in manifests: a restart would not help', () => {
    const { observer, ready } = silent();
    observer.desired(1, [{ file: 'a', line: 1, column: 1, path: '', message: 'x' }], 0);
    expect(ready()).toEqual([]);
  });
});

describe('the server for operation', () => {
  it('is alive also while it is not ready', async () => {
    const { url } = await serve({ ...silent(), ready: () => ['never'] });
    expect(await ask(`${url}/healthz`)).toMatchObject({ status: 200, text: 'ok\n' });
    expect(await ask(`${url}/healthz?verbose`)).toMatchObject({ status: 200 });
  });

  it('serves metrics as a scraper wants them', async () => {
    const { url } = await serve(silent());
    const { status, text, headers } = await ask(`${url}/metrics`);
    expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(parseExposition(text).get('nomad_access_build_info')?.samples[0]?.labels).toEqual({ version: '1.2.3' });
  });

  it('answers 500 where the metrics fail, and goes on', async () => {
    const failing = { contentType: 'text/plain', text: () => Promise.reject(new Error('broken')) };
    const { url } = await serve({ ...silent(), metrics: failing });
    expect(await ask(`${url}/metrics`)).toMatchObject({ status: 500, text: 'broken\n' });
    expect(await ask(`${url}/healthz`)).toMatchObject({ status: 200 });
  });

  it.each(['/', '/metrics/', '/healthz/x', '/debug/pprof'])('knows no %s', async (path) => {
    const { url } = await serve(silent());
    expect(await ask(`${url}${path}`)).toMatchObject({ status: 404 });
  });

  it('takes GET and HEAD only', async () => {
    const { url } = await serve(silent());
    const head = await ask(`${url}/healthz`, { method: 'HEAD' });
    expect([head.status, head.text, head.headers.get('content-length')]).toEqual([200, '', '3']);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await ask(`${url}/metrics`, { method });
      expect([status, headers.get('allow')], method).toEqual([405, 'GET, HEAD']);
    }
  });

  it('logs nothing of what it is asked', async () => {
    const telemetry = silent();
    const { url } = await serve(telemetry);
    await ask(`${url}/healthz`);
    await ask(`${url}/nothing`);
    expect(telemetry.stream.text).toBe('');
  });

  it('says so where the port is in use', async () => {
    const { url } = await serve(silent());
    const listen = url.replace('http://', '');
    await expect(serve(silent(), listen)).rejects.toThrow(UsageError);
    await expect(serve(silent(), listen)).rejects.toThrow(`--listen ${listen}: the port is in use by another process`);
  });

  it('says so where the machine has no such address', async () => {
    await expect(serve(silent(), '192.0.2.1:0')).rejects.toThrow('the machine has no such address');
  });

  it('listens on IPv6, and without a host everywhere', async () => {
    const six = await serve(silent(), '[::1]:0');
    expect(six.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect(await ask(`${six.url}/healthz`)).toMatchObject({ status: 200 });
    const everywhere = await serve(silent(), ':0');
    const port = new URL(everywhere.url).port;
    expect(await ask(`http://127.0.0.1:${port}/healthz`)).toMatchObject({ status: 200 });
  });

  /** A client that stays connected after it has sent this. */
  async function client(url: string, sent: string): Promise<{ answered: Promise<unknown>; closed: Promise<unknown> }> {
    const { port, hostname } = new URL(url);
    const socket = connect(Number(port), hostname);
    const closed = once(socket, 'close');
    const answered = once(socket, 'data');
    answered.catch(() => undefined);
    await once(socket, 'connect');
    socket.resume().write(sent);
    return { answered, closed };
  }

  async function secondsToClose(server: OperationsServer): Promise<number> {
    const begun = performance.now();
    await server.close();
    return (performance.now() - begun) / 1_000;
  }

  it('closes at once although a scraper keeps its connection', async () => {
    const server = await serve(silent());
    const scraper = await client(server.url, 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    await scraper.answered;
    expect(await secondsToClose(server)).toBeLessThan(0.4);
    await scraper.closed;
  });

  it('closes soon although somebody never asks to the end', async () => {
    const server = await serve(silent());
    const half = await client(server.url, 'GET /healthz HTTP/1.1\r\n');
    // The answer to a later one shows that the server has taken the earlier one.
    await ask(`${server.url}/healthz`);
    expect(await secondsToClose(server)).toBeLessThan(2);
    await half.closed;
  });

  it('answers what is being asked while it closes', async () => {
    const events = new EventEmitter();
    const slow = {
      contentType: 'text/plain',
      text: async () => {
        const told = once(events, 'go');
        events.emit('asked');
        await told;
        return 'all of it\n';
      },
    };
    const server = await serveOperations({ listen: '127.0.0.1:0', telemetry: { ...silent(), metrics: slow } });
    const asked = once(events, 'asked');
    const reply = ask(`${server.url}/metrics`);
    await asked;
    const closed = server.close();
    events.emit('go');
    expect(await reply).toMatchObject({ status: 200, text: 'all of it\n' });
    await closed;
  });
});

describe('--listen', () => {
  it.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    [':9090', { host: undefined, port: 9090 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ])('reads %s', (text, address) => {
    expect(parseListen(text)).toEqual(address);
  });

  it.each([
    ['8080', 'the port is missing'],
    ['localhost', 'the port is missing'],
    ['', 'the port is missing'],
    ['::1:8080', 'an IPv6 address stands in brackets'],
    ['http://localhost:8080', 'an address, not a URL'],
    ['localhost:http', 'write HOST:PORT'],
    ['localhost:-1', 'write HOST:PORT'],
    ['a b:1', 'write HOST:PORT'],
    [':65536', 'a port is at most 65535'],
  ])('refuses %j and says what to write', (text, hint) => {
    expect(() => parseListen(text)).toThrow(UsageError);
    expect(() => parseListen(text)).toThrow(hint);
  });
});
