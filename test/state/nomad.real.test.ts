import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StateBackend } from '../../src/contract/state.ts';
import type { VariablesApi } from '../../src/contract/variables.ts';
import { nomadState } from '../../src/state/nomad.ts';
import type { NomadClient } from '../../src/targets/nomad/client.ts';
import { Counter, startProxy, type Hook } from '../e2e/proxy.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { digestsOf, entry, httpVariables, hurried, inventoryOf, keysOf, changeOf } from './variables.ts';

const TTL = 23;
/** For the timers and the requests of a machine that does other things, too; seconds. */
const SLACK = 10;

describe.skipIf(!requireServers('nomad'))('the inventory in a real Nomad', () => {
  let folder: string;
  let nomad: NomadServer;
  let api: VariablesApi;
  let client: NomadClient;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nomad-state-'));
    nomad = await startNomad({ client: false, dataDir: join(folder, 'data') });
    ({ api, client } = httpVariables(nomad));
  });
  afterAll(async () => {
    await client.close();
    await nomad.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const stateAt = (path: string, holder: string, over: VariablesApi = api, lockTtlSeconds = TTL): StateBackend =>
    nomadState({ api: over, path, namespace: 'default', holder, lockTtlSeconds });

  it('10,000 resources are saved and loaded in seconds, and one change in milliseconds', async () => {
    const objects = Array.from({ length: 10_000 }, (_, i) => ({
      ...entry(`bench-${String(i)} [na:0123456789abcdef.1]`, 32),
      id: crypto.randomUUID(),
    }));
    const state = stateAt('nomad-access/large', 'a');
    const saving = performance.now();
    await state.save(changeOf(inventoryOf(objects), new Set()));
    const loading = performance.now();
    const loaded = await stateAt('nomad-access/large', 'b').load();
    const changing = performance.now();
    const changed = objects.map((o, i) => (i === 0 ? { ...o, id: 'changed' } : o));
    await state.save(changeOf(inventoryOf(changed), keysOf(changed.slice(0, 1))));
    const done = performance.now();
    console.log(
      `10,000 objects on a real Nomad, ms: save ${(loading - saving).toFixed(0)}, load ${(changing - loading).toFixed(0)}, save of one change ${(done - changing).toFixed(0)}`,
    );
    expect(digestsOf(loaded?.objects)).toEqual(digestsOf(objects));
    expect(digestsOf((await stateAt('nomad-access/large', 'b').load())?.objects)).toEqual(digestsOf(changed));
    expect(loading - saving).toBeLessThan(20_000);
    expect(changing - loading).toBeLessThan(10_000);
    expect(done - changing).toBeLessThan(10_000);
  });

  it('a save survives the loss of any one request or reply, a split included', async () => {
    let hook: Hook = () => 'pass';
    const proxy = await startProxy(nomad.address, new Counter(), () => hook);
    const cut = httpVariables({ ...nomad, address: proxy.address });
    const before = Array.from({ length: 3 }, (_, i) => entry(`t-${String(i)}`, 3000));
    const after = [...before.slice(1), ...Array.from({ length: 12 }, (_, i) => entry(`u-${String(i)}`, 3000))];
    for (const phase of ['before', 'after'] as const) {
      for (let at = 1, isCut = true; isCut; at++) {
        const path = `nomad-access/${phase}-${String(at)}`;
        const state = nomadState({ api: cut.api, path, namespace: 'default', holder: 'a', clock: hurried });
        await state.save(changeOf(inventoryOf(before), new Set()));
        let requests = 0;
        isCut = false;
        hook = (boundary) => {
          if (boundary.phase !== phase || ++requests !== at) return 'pass';
          isCut = true;
          return 'cut';
        };
        await state.save(changeOf(inventoryOf(after), keysOf([...before, ...after])));
        hook = () => 'pass';
        expect(digestsOf((await stateAt(path, 'b').load())?.objects)).toEqual(digestsOf(after));
      }
    }
    await cut.client.close();
    await proxy.close();
  });

  it('a lock that is released is the next one’s at once', async () => {
    const lock = await stateAt('nomad-access/handover', 'a').lock();
    await expect(stateAt('nomad-access/handover', 'b').lock()).rejects.toThrow('is locked by a since');
    const next = stateAt('nomad-access/handover', 'b').lock(new AbortController().signal);
    // Waiting has begun when the second one has been refused, and watches.
    await expect(stateAt('nomad-access/handover', 'c').lock()).rejects.toThrow('is locked by a since');
    const released = performance.now();
    await lock.release();
    expect((await next).isValid()).toBe(true);
    expect(performance.now() - released).toBeLessThan(TTL * 1000);
    await (await next).release();
  });

  it('a lock whose holder hears and says nothing any more is taken over within its time, and never held twice', async () => {
    let isOffline = false;
    const proxy = await startProxy(nomad.address, new Counter(), () => () => (isOffline ? 'cut' : 'pass'));
    const cut = httpVariables({ ...nomad, address: proxy.address });
    const lock = await stateAt('nomad-access/takeover', 'a', cut.api).lock();
    const [next, lost] = [stateAt('nomad-access/takeover', 'b').lock(new AbortController().signal), aborted(lock.lost)];
    isOffline = true;
    const began = performance.now();
    await lost;
    expect(lock.isValid()).toBe(false);
    expect((await next).isValid()).toBe(true);
    expect((performance.now() - began) / 1000).toBeLessThan(TTL + SLACK);
    await (await next).release();
    await lock.release();
    await cut.client.close();
    await proxy.close();
  });

  it('a lock outlives a restart of Nomad, and so a new leader', async () => {
    // Trusted for longer than a restart takes.
    const lock = await stateAt('nomad-access/restart', 'a', api, 203).lock();
    const { ports, dataDir } = nomad;
    await nomad.stop();
    nomad = await startNomad({ client: false, ports, dataDir });
    const place = { namespace: 'default', path: 'nomad-access/restart/lock' };
    const id = (await api.read(place))?.lockId ?? '';
    expect(await api.renewLock(place, id)).toBe(true);
    await expect(stateAt('nomad-access/restart', 'b').lock()).rejects.toThrow('is locked by a since');
    expect(lock.lost.aborted).toBe(false);
    await lock.release();
    await (await stateAt('nomad-access/restart', 'b').lock()).release();
  });
});

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener('abort', () => {
      done();
    });
  });
}
