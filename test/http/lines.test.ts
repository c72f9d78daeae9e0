import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Http, type HttpResponse } from '../../src/http/http.ts';
import { startMute, startScripted, type Answer, type ScriptedServer } from './scripted-server.ts';

const LONG = 60_000;

/** Writes the chunks one by one; each arrives as a piece of its own. */
const chunks =
  (...parts: (string | Buffer)[]): Answer =>
  (outgoing) => {
    for (const part of parts) outgoing.write(part);
    outgoing.end();
  };

describe('lines that come as they are told', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((o) => o.close()));
  });

  interface Reading {
    readonly server: ScriptedServer;
    readonly abort: AbortController;
    readonly lines: AsyncGenerator<string | HttpResponse>;
  }
  async function reading(answer: Answer, quietMs = { first: LONG, later: LONG }, gate?: () => void): Promise<Reading> {
    const server = await startScripted(answer);
    const http = new Http({ address: server.address, maxConnections: 1, gate });
    open.push(http, server);
    const abort = new AbortController();
    return { server, abort, lines: http.lines({ path: '/events?a=1', headers: {}, quietMs, signal: abort.signal }) };
  }
  async function all(lines: AsyncIterable<string | HttpResponse>): Promise<unknown[]> {
    const seen: unknown[] = [];
    for await (const line of lines) seen.push(line);
    return seen;
  }

  it('are announced as soon as the reply begins, however long the first one takes', async () => {
    const server = await startScripted((outgoing) => {
      outgoing.flushHeaders();
    });
    const http = new Http({ address: server.address, maxConnections: 1 });
    open.push(http, server);
    const abort = new AbortController();
    let opened = 0;
    const next = http
      .lines({
        path: '/',
        headers: {},
        quietMs: { first: LONG, later: LONG },
        opened: () => opened++,
        signal: abort.signal,
      })
      .next();
    await expect.poll(() => opened).toBe(1);
    abort.abort();
    expect(await next).toMatchObject({ done: true });
  });
  it('are whole, wherever the pieces end: inside a line, inside a character, between two lines', async () => {
    const umlaut = Buffer.from('ü€😀\n');
    const bytes = [...umlaut].map((byte) => Buffer.from([byte]));
    const { lines } = await reading(chunks('{"a":', '1}\n{"b":2}\n{"c"', ':3}', '\n', ...bytes));
    expect(await all(lines)).toEqual(['{"a":1}', '{"b":2}', '{"c":3}', 'ü€😀']);
  });
  it('are told without waiting for the next one', async () => {
    const { lines } = await reading((outgoing) => outgoing.write('first\n'));
    expect(await lines.next()).toEqual({ done: false, value: 'first' });
    await lines.return(undefined);
  });
  it('are none where only line ends come, and half a line at the end is none', async () => {
    const { lines } = await reading(chunks('\n\na\n', '\nhalf'));
    expect(await all(lines)).toEqual(['a']);
  });
  it('end with what the server said where it refuses', async () => {
    const { lines } = await reading({ status: 403, body: 'Permission denied' });
    expect(await all(lines)).toMatchObject([{ status: 403, text: 'Permission denied' }]);
  });
  it('end without an error when the reader has had enough', async () => {
    const { lines, abort } = await reading((outgoing) => outgoing.write('first\n'));
    await lines.next();
    const next = lines.next();
    abort.abort();
    expect(await next).toMatchObject({ done: true });
  });
  it('leave no connection behind when the reader stops', async () => {
    const { lines, server } = await reading((outgoing) => outgoing.write('first\nsecond\n'));
    await lines.next();
    await lines.return(undefined);
    await expect.poll(() => server.connections.map((socket) => socket.destroyed)).toEqual([true]);
  });
  it('end with an error when the connection breaks', async () => {
    let response: ServerResponse | undefined;
    const { lines } = await reading((outgoing) => {
      response = outgoing;
      outgoing.write('first\n');
    });
    await lines.next();
    response?.socket?.destroy();
    await expect(lines.next()).rejects.toMatchObject({ class: 'transient' });
  });

  describe('silence', () => {
    it('before the answer is an error after a while', async () => {
      const { lines } = await reading('hang', { first: 50, later: LONG });
      await expect(lines.next()).rejects.toMatchObject({
        class: 'transient',
        message: expect.stringMatching(/^GET http:\/\/127.0.0.1:\d+\/events: it says nothing$/) as string,
      });
    });
    it('before there is a connection is one, too', async () => {
      const mute = await startMute();
      const http = new Http({ address: mute.address, maxConnections: 1 });
      open.push(http, mute);
      const quietMs = { first: 50, later: LONG };
      const signal = new AbortController().signal;
      const begun = performance.now();
      await expect(http.lines({ path: '/', headers: {}, quietMs, signal }).next()).rejects.toThrow('it says nothing');
      // A connection is given up after 10 s.
      expect(performance.now() - begun).toBeLessThan(5_000);
    });
    it('after a 200 is one too: so Nomad refuses a token without the right', async () => {
      const { lines } = await reading(
        (outgoing) => {
          outgoing.flushHeaders();
        },
        { first: 50, later: LONG },
      );
      await expect(lines.next()).rejects.toThrow('it says nothing');
    });
    it('after a line is one after the later time', async () => {
      const { lines } = await reading((outgoing) => outgoing.write('first\n'), { first: LONG, later: 50 });
      await lines.next();
      await expect(lines.next()).rejects.toThrow('it says nothing');
    });
    it('is not what a reader hears that takes its time over a line', async () => {
      const { lines } = await reading((outgoing) => outgoing.write('first\n'), { first: 5_000, later: 100 });
      const seen: unknown[] = [];
      const heard = (async () => {
        for await (const line of lines) {
          seen.push(line);
          await sleep(300);
          seen.push('done');
        }
      })();
      await expect(heard).rejects.toThrow('it says nothing');
      expect(seen).toEqual(['first', 'done']);
    });
    it('of half a line counts: it is no sign of life that nothing can be made of', async () => {
      const { lines } = await reading((outgoing) => outgoing.write('half'), { first: 50, later: LONG });
      await expect(lines.next()).rejects.toThrow('it says nothing');
    });
  });

  describe('whoever may not act any more', () => {
    it('does not begin to listen', async () => {
      const { lines, server } = await reading(chunks('a\n'), undefined, () => {
        throw new Error('the lease has ended');
      });
      await expect(lines.next()).rejects.toThrow('the lease has ended');
      expect(server.connections).toEqual([]);
    });
    it('sends nothing over a connection that stood only then', async () => {
      let asked = 0;
      const { lines, server } = await reading(chunks('a\n'), undefined, () => {
        if (++asked > 1) throw new Error('the lease has ended');
      });
      await expect(lines.next()).rejects.toThrow('the lease has ended');
      await expect.poll(() => server.connections.map((socket) => socket.destroyed)).toEqual([true]);
      expect(server.connections.map((socket) => socket.bytesRead)).toEqual([0]);
    });
  });
});
