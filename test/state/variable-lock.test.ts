import { describe, expect, it, onTestFinished } from 'vitest';
import type { VariablesApi } from '../../src/contract/variables.ts';
import { startSandbox } from '../../src/sandbox/index.ts';
import { nomadState } from '../../src/state/nomad.ts';
import { lockCases } from './lock-cases.ts';
import { follow, Process } from './processes.ts';
import { Faulty, httpVariables, pass, settled, StillNomad } from './variables.ts';

const PATH = 'nomad-access/default';
const LOCK = { namespace: 'default', path: `${PATH}/lock` };
const TTL = 25;

function processOf(nomad: StillNomad, name: string): Process<VariablesApi> {
  return new Process(nomad, name, nomad.api, ({ api, name: holder, clock }) =>
    nomadState({ api, path: PATH, namespace: 'default', holder, clock, lockTtlSeconds: TTL }),
  );
}

function processes(): {
  nomad: StillNomad;
  a: Process<VariablesApi>;
  b: Process<VariablesApi>;
  wait: (ms: number, look?: () => void) => Promise<void>;
} {
  const nomad = new StillNomad();
  const [a, b] = [processOf(nomad, 'host a, process 1'), processOf(nomad, 'host b, process 2')];
  return { nomad, a, b, wait: (ms, look) => pass(nomad, ms, [a.clock, b.clock], look) };
}

describe('the lock of an inventory in Nomad', () => {
  lockCases(
    () => {
      const nomad = new StillNomad();
      return { time: nomad, start: (name) => processOf(nomad, name) };
    },
    {
      takeoverMs: TTL * 1000,
      // Nomad tells.
      handoverMs: 0,
      refusal: /nomad:nomad-access\/default is locked by host a, process 1 since 20.*within 25 s/,
    },
  );

  it('is not trusted any more while Nomad does not answer, and lost for good soon after', async () => {
    const { a, b, wait } = processes();
    const lock = await a.lock();
    const next = follow(b.lock(new AbortController().signal));
    a.isOffline = true;
    await wait(9_000);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([true, false]);
    await wait(6_000);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([false, true]);
    expect(next.value).toBeUndefined();
    await wait(TTL * 1000 - 15_000);
    expect(next.value?.isValid()).toBe(true);
  });

  it('is lost when somebody frees it by hand, at the next renewal', async () => {
    const { nomad, a, wait } = processes();
    const lock = await a.lock();
    await nomad.api.releaseLock(LOCK, (await nomad.api.read(LOCK))?.lockId ?? '');
    await wait(4_100);
    expect([lock.isValid(), lock.lost.aborted]).toEqual([false, true]);
  });

  it('is trusted from the first request on that may have acquired it, not from the one that was answered', async () => {
    const { nomad, a, b, wait } = processes();
    // The reply to the first acquire is lost, and only 18 s later another one is answered: Nomad frees it after 22 s.
    const { api } = new Faulty((request, name) => {
      if (request === 1) return 'reply lost';
      return nomad.now < 18_000 || (nomad.now < 40_000 && name === 'renewLock') ? 'request lost' : undefined;
    }, nomad.api);
    const options = { path: PATH, namespace: 'default', clock: a.clock, lockTtlSeconds: TTL };
    const late = follow(nomadState({ ...options, api, holder: 'late' }).lock(new AbortController().signal));
    await settled();
    const other = follow(b.lock(new AbortController().signal));
    let isHandedOut = false;
    await wait(120_000, () => {
      expect(late.value?.isValid() === true && other.value?.isValid() === true).toBe(false);
      if (!isHandedOut && late.value !== undefined) expect(late.value.isValid()).toBe(true);
      isHandedOut ||= late.value !== undefined;
    });
    expect(late.value?.isValid() === true || other.value?.isValid() === true).toBe(true);
  });

  it('is not taken for acquired when an acquire that was refused since arrives after all', async () => {
    const { nomad, a, b, wait } = processes();
    const held = await b.lock();
    let isCut = false;
    const faulty = new Faulty((request) => (request === 1 ? 'delayed' : isCut ? 'request lost' : undefined), nomad.api);
    const options = { path: PATH, namespace: 'default', clock: a.clock, lockTtlSeconds: TTL };
    const late = follow(
      nomadState({ ...options, api: a.clock.hears(faulty.api), holder: 'late' }).lock(new AbortController().signal),
    );
    await wait(5_000);
    a.clock.isStopped = true;
    await held.release();
    await faulty.arrive();
    const other = follow(b.lock(new AbortController().signal));
    await wait(15_000);
    a.clock.isStopped = false;
    await wait(3_000);
    isCut = true;
    await wait(20_000, () => {
      expect(late.value?.isValid() === true && other.value?.isValid() === true).toBe(false);
    });
    expect(other.value?.isValid()).toBe(true);
  });

  it.each(['lock-acquire', 'lock-renew', 'lock-release'])('a lost reply to %s does no harm', async (operation) => {
    const sandbox = await startSandbox();
    onTestFinished(() => sandbox.close());
    const { api, client } = httpVariables(sandbox.nomad);
    onTestFinished(() => client.close());
    let cut = 0;
    const put = sandbox.nomad.server.variables.put.bind(sandbox.nomad.server.variables);
    let isMeant = false;
    sandbox.nomad.server.variables.put = (request, path) => {
      isMeant = request.query.has(operation);
      return put(request, path);
    };
    sandbox.onRequest = ({ phase }) => (phase === 'after' && isMeant && cut++ === 0 ? 'drop' : undefined);
    const state = nomadState({ api, path: PATH, namespace: 'default', holder: 'a' });
    const lock = await state.lock();
    if (operation === 'lock-renew') await api.renewLock(LOCK, (await api.read(LOCK))?.lockId ?? '');
    expect(lock.isValid()).toBe(true);
    await lock.release();
    expect(cut).toBeGreaterThan(0);
    await (await nomadState({ api, path: PATH, namespace: 'default', holder: 'b' }).lock()).release();
  });

  it.each([0, 22, 172_804, NaN])('of %d seconds is refused before anything is asked of Nomad', (lockTtlSeconds) => {
    const { api } = new StillNomad();
    expect(() => nomadState({ api, path: PATH, namespace: 'default', holder: 'a', lockTtlSeconds })).toThrow(
      'cannot be had from Nomad',
    );
  });
});
