import { afterEach, describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import { Http, type HttpOptions, type HttpRequest } from '../../src/http/http.ts';
import { startMute, startScripted, type Answer, type ScriptedServer } from './scripted-server.ts';
import { failureOf } from './failure.ts';

const GONE = 'http://127.0.0.1:1';
const PUT: HttpRequest = { method: 'PUT', path: '/x', headers: {}, body: '{}', idempotent: true };
const POST: HttpRequest = { method: 'POST', path: '/x', headers: {}, body: '{}', idempotent: false };
const OK: Answer = { status: 200, body: 'done' };

describe('a request', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((o) => o.close()));
  });

  function client(address: string, options: Partial<HttpOptions> = {}): Http {
    const http = new Http({
      address,
      maxConnections: 4,
      retry: { retries: 4, minTimeout: 1, maxTimeout: 4 },
      ...options,
    });
    open.push(http);
    return http;
  }
  async function scripted(...answers: [Answer, ...Answer[]]): Promise<ScriptedServer> {
    const server = await startScripted(...answers);
    open.push(server);
    return server;
  }

  describe('that may be repeated', () => {
    it.each([429, 500, 502, 503, 504])('is sent again after a %i', async (status) => {
      const server = await scripted({ status }, { status }, OK);
      expect(await client(server.address).request(PUT)).toMatchObject({ status: 200, text: 'done' });
      expect(server.seen).toEqual(Array(3).fill({ method: 'PUT', path: '/x', body: '{}' }));
    });
    it.each([200, 204, 400, 401, 403, 404, 405, 501, 505])('is sent once where the answer is %i', async (status) => {
      const server = await scripted({ status }, OK);
      expect((await client(server.address).request(PUT)).status).toBe(status);
      expect(server.seen).toHaveLength(1);
    });
    it('is sent again where the connection broke before the answer', async () => {
      const server = await scripted('cut', OK);
      expect((await client(server.address).request(PUT)).status).toBe(200);
      expect(server.seen).toHaveLength(2);
    });
    it('ends with the last answer when the server does not recover', async () => {
      const server = await scripted({ status: 503, body: 'sealed' });
      expect(await client(server.address).request(PUT)).toMatchObject({ status: 503, text: 'sealed' });
      expect(server.seen).toHaveLength(5);
    });
    it('ends as passing, and not as in doubt, when no answer ever comes', async () => {
      const server = await scripted('cut');
      expect(await failureOf(client(server.address).request(PUT), TargetError)).toMatchObject({
        class: 'transient',
        ambiguous: false,
      });
      expect(server.seen).toHaveLength(5);
    });
  });

  describe('that must not be repeated', () => {
    it.each([500, 502, 503, 504])('is never sent again after a %i: it may have been carried out', async (status) => {
      const server = await scripted({ status }, OK);
      expect((await client(server.address).request(POST)).status).toBe(status);
      expect(server.seen).toHaveLength(1);
    });
    it('is never sent again where the connection broke, and is in doubt', async () => {
      const server = await scripted('cut', OK);
      expect(await failureOf(client(server.address).request(POST), TargetError)).toMatchObject({
        class: 'transient',
        ambiguous: true,
      });
      expect(server.seen).toHaveLength(1);
    });
    it('is in doubt where no answer comes in time', async () => {
      const server = await scripted('hang');
      const error = await failureOf(client(server.address, { timeoutMs: 50 }).request(POST), TargetError);
      expect([error.ambiguous, error.message]).toEqual([true, expect.stringContaining('no answer in time')]);
      expect(server.seen).toHaveLength(1);
    });
    it('is sent again after a 429: that was not carried out', async () => {
      const server = await scripted({ status: 429 }, OK);
      expect((await client(server.address).request(POST)).status).toBe(200);
      expect(server.seen).toHaveLength(2);
    });
    it('is not in doubt where nothing listens: it was never sent', async () => {
      const error = await failureOf(client(GONE).request(POST), TargetError);
      expect([error.class, error.ambiguous]).toEqual(['transient', false]);
      expect(error.message).toContain('POST http://127.0.0.1:1/x: nothing listens there');
    });
    it('is sent again where nothing listened at first', async () => {
      const replies: number[] = [];
      const http = client(GONE, { onReply: (_method, status) => replies.push(status) });
      await failureOf(http.request(POST), TargetError);
      expect(replies).toEqual([0, 0, 0, 0, 0]);
    });
  });

  it('waits as long as the server asks before it is sent again', async () => {
    const server = await scripted({ status: 429, headers: { 'retry-after': '1' } }, OK);
    const begun = performance.now();
    await client(server.address).request(POST);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(990);
  });
  it('is not held up by a Retry-After that is no number of seconds', async () => {
    const server = await scripted({ status: 503, headers: { 'retry-after': 'Wed, 21 Oct 2099 07:28:00 GMT' } }, OK);
    expect((await client(server.address).request(PUT)).status).toBe(200);
  });
  it('stops waiting for the server when it is aborted', async () => {
    const server = await scripted({ status: 503, headers: { 'retry-after': '9' } });
    const abort = new AbortController();
    const sent = failureOf(client(server.address).request({ ...PUT, signal: abort.signal }), TargetError);
    await expect.poll(() => server.seen.length).toBe(1);
    abort.abort();
    expect((await sent).class).toBe('transient');
    expect(server.seen).toHaveLength(1);
  });

  it('stops waiting for a connection when it is aborted', async () => {
    const mute = await startMute();
    const abort = new AbortController();
    const http = client(mute.address);
    open.push(mute);
    const begun = performance.now();
    const sent = failureOf(http.request({ ...PUT, signal: abort.signal }), TargetError);
    setTimeout(() => {
      abort.abort();
    }, 50);
    await sent;
    // A connection is given up after 10 s.
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  it('follows no redirect: the token goes nowhere else', async () => {
    const elsewhere = await scripted(OK);
    const server = await scripted({ status: 307, headers: { location: `${elsewhere.address}/x` } });
    expect((await client(server.address).request(PUT)).status).toBe(307);
    expect(elsewhere.seen).toEqual([]);
  });
  it('never says its query, which may name what it should not', async () => {
    const error = await failureOf(client(GONE).request({ ...PUT, path: '/x?secret=1' }), TargetError);
    expect(error.message).not.toContain('secret');
  });
  it('is told to whoever counts, each try with its status', async () => {
    const server = await scripted({ status: 503 }, 'cut', OK);
    const told: unknown[] = [];
    await client(server.address, { onReply: (method, status) => told.push([method, status]) }).request(PUT);
    expect(told).toEqual([
      ['PUT', 503],
      ['PUT', 0],
      ['PUT', 200],
    ]);
  });

  it('waits its turn: no more connections than allowed', async () => {
    const waiting: (() => void)[] = [];
    const server = await scripted((outgoing) => {
      waiting.push(() => outgoing.end());
    });
    const http = client(server.address, { maxConnections: 2 });
    const sent = Array.from({ length: 6 }, () => http.request(PUT));
    for (let i = 0; i < 6; i++) {
      await expect.poll(() => waiting.length).toBeGreaterThan(0);
      expect(waiting.length).toBeLessThanOrEqual(2);
      waiting.shift()?.();
    }
    await Promise.all(sent);
    expect(server.connections).toHaveLength(2);
  });
});

describe('whoever may not act any more', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((o) => o.close()));
  });

  async function gated(gate: () => void): Promise<{ server: ScriptedServer; http: Http }> {
    const server = await startScripted(OK);
    const http = new Http({
      address: server.address,
      maxConnections: 1,
      retry: { retries: 4, minTimeout: 1, maxTimeout: 4 },
      gate,
    });
    open.push(http, server);
    return { server, http };
  }

  it('sends no request over a connection that stands, and does not try again', async () => {
    let asked = 0;
    let isOpen = true;
    const { server, http } = await gated(() => {
      asked++;
      if (!isOpen) throw new Error('the lease has ended');
    });
    await http.request(PUT);
    isOpen = false;
    asked = 0;
    await expect(http.request(PUT)).rejects.toMatchObject({ class: 'transient', ambiguous: false });
    expect([asked, server.seen.length]).toEqual([1, 1]);
  });
  it('sends no request of the one who may not, while others send theirs', async () => {
    const { server, http } = await gated(() => undefined);
    const closed = (): void => {
      throw new Error('the lease has ended');
    };
    const [mine, other] = await Promise.allSettled([http.request({ ...PUT, gate: closed }), http.request(POST)]);
    expect(mine).toMatchObject({ status: 'rejected', reason: { class: 'transient', ambiguous: false } });
    expect(other).toMatchObject({ status: 'fulfilled', value: { status: 200 } });
    expect(server.seen.map(({ method }) => method)).toEqual(['POST']);
  });
  it('sends no request that waited for its turn while the right to it ended', async () => {
    const waiting: (() => void)[] = [];
    const server = await startScripted((outgoing) => {
      waiting.push(() => outgoing.end());
    });
    const http = new Http({ address: server.address, maxConnections: 1 });
    open.push(http, server);
    let isOpen = true;
    const gate = (): void => {
      if (!isOpen) throw new Error('the lease has ended');
    };
    const sent = [http.request({ ...POST, gate }), http.request({ ...POST, gate })];
    const outcome = Promise.allSettled(sent);
    await expect.poll(() => waiting.length).toBe(1);
    isOpen = false;
    waiting[0]?.();
    expect((await outcome).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(server.seen).toHaveLength(1);
  });
  it('makes no connection either', async () => {
    const { server, http } = await gated(() => {
      throw new Error('the lease has ended');
    });
    await expect(http.request(POST)).rejects.toThrow('the lease has ended');
    expect(server.connections).toEqual([]);
  });
  it('writes nothing to a connection that stood only when the lease had ended', async () => {
    let asked = 0;
    const { server, http } = await gated(() => {
      if (++asked > 1) throw new Error('the lease has ended');
    });
    await expect(http.request(POST)).rejects.toMatchObject({ class: 'transient', ambiguous: false });
    await expect.poll(() => server.connections.map((socket) => socket.destroyed)).toEqual([true]);
    expect(server.connections.map((socket) => socket.bytesRead)).toEqual([0]);
    expect([asked, server.seen]).toEqual([2, []]);
  });
  it('acts again when it may', async () => {
    let isOpen = false;
    const { http } = await gated(() => {
      if (!isOpen) throw new TargetError('not the leader', { class: 'dependency' });
    });
    await expect(http.request(PUT)).rejects.toMatchObject({ class: 'dependency' });
    isOpen = true;
    expect((await http.request(PUT)).status).toBe(200);
  });
});
