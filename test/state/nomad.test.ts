import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { UsageError } from '../../src/contract/errors.ts';
import type { Inventory, RecordedConnection, StateBackend } from '../../src/contract/state.ts';
import type { VariablesApi } from '../../src/contract/variables.ts';
import type { Owned } from '../../src/plan/step.ts';
import { startSandbox } from '../../src/sandbox/index.ts';
import { nomadState } from '../../src/state/nomad.ts';
import { assertOldOrNew } from './disturbed-saves.ts';
import {
  digestsOf,
  entry,
  Faulty,
  httpVariables,
  hurried,
  inventoryOf,
  keysOf,
  StillNomad,
  changeOf,
} from './variables.ts';

const PATH = 'nomad-access/default';
const none: ReadonlySet<string> = new Set();

function stateOf(api: VariablesApi, holder = 'host a, process 1'): StateBackend {
  return nomadState({ api, path: PATH, namespace: 'default', holder, clock: hurried });
}

/** 30 objects of 3 kB each: they need several shards. */
const many = (): Owned[] => Array.from({ length: 30 }, (_, i) => entry(`t-${String(i)}`, 3000));

const connection = (name: string, address: string): RecordedConnection => ({
  kind: 'NomadCluster',
  name,
  address,
  spec: { address },
});

describe('the inventory in Nomad Variables', () => {
  it('reads back what was saved, and nothing where there is none', async () => {
    const { api } = new StillNomad();
    expect(await stateOf(api).load()).toBeUndefined();
    const inventory = inventoryOf([entry('a'), entry('b')], { connections: [connection('default', 'http://n:4646')] });
    await stateOf(api).save(changeOf(inventory, none));
    const loaded = await stateOf(api).load();
    expect(loaded).toMatchObject({ version: 1, owner: 'default', connections: inventory.connections });
    expect(digestsOf(loaded?.objects)).toEqual(digestsOf(inventory.objects));
  });

  it('keeps an empty inventory apart from none', async () => {
    const { api } = new StillNomad();
    await stateOf(api).save(changeOf(inventoryOf([]), none));
    expect(await stateOf(api).load()).toEqual(inventoryOf([]));
  });

  it('does not mix with a neighbour whose path begins alike', async () => {
    const { api } = new StillNomad();
    await stateOf(api).save(changeOf(inventoryOf([entry('a')]), none));
    const neighbour = nomadState({ api, path: `${PATH}2`, namespace: 'default', holder: 'b', clock: hurried });
    expect(await neighbour.load()).toBeUndefined();
    await neighbour.save(changeOf(inventoryOf([entry('b')]), none));
    expect((await stateOf(api).load())?.objects.map((o) => o.key.name)).toEqual(['a']);
  });

  it('writes one variable for one object that changed, and the head only when it changed', async () => {
    const { api } = new StillNomad();
    const objects = many();
    await stateOf(api).save(changeOf(inventoryOf(objects), none));
    const written: string[] = [];
    const state = stateOf({
      ...bound(api),
      write: (place, items, cas) => {
        written.push(place.path);
        return api.write(place, items, cas);
      },
    });
    await state.load();
    const changed = objects.map((o, i) => (i === 3 ? { ...o, id: 'new' } : o));
    await state.save(changeOf(inventoryOf(changed), keysOf(changed.slice(3, 4))));
    expect(written).toEqual([expect.stringMatching(/^nomad-access\/default\/objects\/[01]+$/)]);
    expect(digestsOf((await stateOf(api).load())?.objects)).toEqual(digestsOf(changed));
    await state.save(changeOf(inventoryOf(changed), none));
    expect(written).toHaveLength(1);
    await state.save(changeOf(inventoryOf(changed, { connections: [connection('default', 'http://n:4646')] }), none));
    expect(written.slice(1)).toEqual([`${PATH}/head`]);
  });

  it('10,000 resources fit, in variables of a quarter of the limit, and one change costs one small write', async () => {
    const { api } = new StillNomad();
    const objects = Array.from({ length: 10_000 }, (_, i) => ({
      ...entry(`bench-${String(i)} [na:0123456789abcdef.1]`, 32),
      id: crypto.randomUUID(),
    }));
    await stateOf(api).save(changeOf(inventoryOf(objects), none));
    const paths = await api.list('default', `${PATH}/`);
    const variables = await Promise.all(paths.map((path) => api.read({ namespace: 'default', path })));
    const sizes = variables.map((v) =>
      Object.entries(v?.items ?? {}).reduce((n, [k, s]) => n + k.length + s.length, 0),
    );
    const total = sizes.reduce((a, b) => a + b, 0);
    console.log(
      `10,000 objects: ${String(JSON.stringify(objects).length)} bytes of JSON in ${String(paths.length)} variables, ${String(total)} bytes in all, the largest ${String(Math.max(...sizes))}`,
    );
    expect(Math.max(...sizes)).toBeLessThan(17_000);
    expect(paths.length).toBeLessThan(200);
    expect(digestsOf((await stateOf(api).load())?.objects)).toEqual(digestsOf(objects));
  });

  it('spreads objects whose names differ by little evenly over the shards', async () => {
    const { api } = new StillNomad();
    const objects = Array.from({ length: 4000 }, (_, i) => entry(`policy-${String(i).padStart(4, '0')}`, 60));
    await stateOf(api).save(changeOf(inventoryOf(objects), none));
    const depths = (await api.list('default', `${PATH}/objects/`)).map((p) => (p.split('/').at(-1) ?? '').length);
    expect(Math.max(...depths) - Math.min(...depths)).toBeLessThanOrEqual(1);
  });

  it('names an object that is too large for a variable, and keeps the others', async () => {
    const { api } = new StillNomad();
    const state = stateOf(api);
    await state.save(changeOf(inventoryOf([entry('small')]), none));
    const large = [entry('small'), entry('large', 60_000)];
    await expect(state.save(changeOf(inventoryOf(large), keysOf(large)))).rejects.toThrow('default/acl-token/large');
    expect((await stateOf(api).load())?.objects.map((o) => o.key.name)).toEqual(['small']);
  });

  it.each(['', 'a//b', '/a', 'a/', 'a.b', 'a b', 'nomad', 'nomad/x', 'p'.repeat(100)])(
    'refuses the path %j before anything is asked of Nomad',
    (path) => {
      const { api } = new StillNomad();
      expect(() => nomadState({ api, path, namespace: 'default', holder: 'a' })).toThrow(UsageError);
    },
  );

  it('says what to do where the variables hold something else', async () => {
    const { api } = new StillNomad();
    await api.write({ namespace: 'default', path: `${PATH}/head` }, { password: 'x' }, 0);
    await expect(stateOf(api).load()).rejects.toThrow(`${PATH}/head is no part of an inventory (no item content)`);
  });

  it('does not take a lost head for an inventory that never was', async () => {
    const { api } = new StillNomad();
    await stateOf(api).save(changeOf(inventoryOf([entry('a')]), none));
    const head = { namespace: 'default', path: `${PATH}/head` };
    await api.remove(head, (await api.read(head))?.modifyIndex ?? 0);
    await expect(stateOf(api).load()).rejects.toThrow('is missing although there are objects');
  });

  it('is read whole while another process splits a shard', async () => {
    const { api } = new StillNomad();
    const writer = stateOf(api);
    const few = many().slice(0, 4);
    await writer.save(changeOf(inventoryOf(few), none));
    const objects = [...few, ...many().slice(4)];
    let split: Promise<void> | undefined;
    const reader = stateOf({
      ...bound(api),
      read: async (place) => {
        await (split ??= writer.save(changeOf(inventoryOf(objects), keysOf(objects))));
        return api.read(place);
      },
    });
    expect(digestsOf((await reader.load())?.objects)).toEqual(digestsOf(objects));
  });
});

describe('two operators with one inventory in Nomad', () => {
  it.each([
    ['an object', (objects: Owned[]) => inventoryOf(objects.map((o) => ({ ...o, id: 'theirs' })))],
    ['the connections', (objects: Owned[]) => inventoryOf(objects, { connections: [connection('x', 'http://x:1')] })],
  ])('the one that comes too late with %s overwrites nothing and says who was there', async (_what, theirs) => {
    const { api } = new StillNomad();
    const objects = [entry('a')];
    const [one, two] = [stateOf(api, 'host a, process 1'), stateOf(api, 'host b, process 2')];
    await one.save(changeOf(inventoryOf(objects), none));
    await two.load();
    await one.save(changeOf(theirs(objects), keysOf(objects)));
    const late = inventoryOf([entry('a')], { connections: [connection('y', 'http://y:1')] });
    await expect(two.save(changeOf(late, keysOf(objects)))).rejects.toThrow(
      /was changed by host a, process 1 .*two operators use one inventory/,
    );
    await expect(two.save(changeOf(late, none))).rejects.toThrow(UsageError);
    const { connections, objects: kept } = (await stateOf(api).load()) ?? inventoryOf([]);
    expect(kept).toEqual(theirs(objects).objects);
    expect(connections).not.toContainEqual(expect.objectContaining({ address: 'http://y:1', name: 'x' }));
  });

  it('the second of two first saves is refused', async () => {
    const { api } = new StillNomad();
    const [one, two] = [stateOf(api), stateOf(api)];
    await Promise.all([one.load(), two.load()]);
    await one.save(changeOf(inventoryOf([entry('a')]), none));
    await expect(two.save(changeOf(inventoryOf([entry('b')]), none))).rejects.toThrow(
      'two operators use one inventory',
    );
  });

  it('what was removed by hand is not made again', async () => {
    const { api } = new StillNomad();
    const state = stateOf(api);
    const objects = [entry('a')];
    await state.save(changeOf(inventoryOf(objects), none));
    const place = { namespace: 'default', path: `${PATH}/objects` };
    await api.remove(place, (await api.read(place))?.modifyIndex ?? 0);
    await expect(state.save(changeOf(inventoryOf(objects), keysOf(objects)))).rejects.toThrow(
      'was removed by somebody else',
    );
  });
});

describe('a save that is disturbed', () => {
  const before = inventoryOf(many().slice(0, 3), { connections: [connection('old', 'http://old:1')] });
  /** One is changed, one removed, many added: the shards split. */
  const after = inventoryOf(
    [{ ...(before.objects[0] ?? entry('')), id: 'new' }, ...before.objects.slice(2), ...many().slice(3)],
    {
      connections: [connection('new', 'http://new:1')],
    },
  );
  const changed = new Set([...keysOf(before.objects), ...keysOf(after.objects)]);

  async function prepared(): Promise<{ nomad: StillNomad; requests: number }> {
    const nomad = new StillNomad();
    await stateOf(nomad.api).save(changeOf(before, none));
    const undisturbed = new StillNomad();
    await stateOf(undisturbed.api).save(changeOf(before, none));
    const counting = new Faulty(() => undefined, undisturbed.api);
    const state = stateOf(counting.api);
    await state.load();
    const loaded = counting.requests;
    await state.save(changeOf(after, changed));
    return { nomad, requests: counting.requests - loaded };
  }

  function expectOldOrNew(found: Inventory | undefined): void {
    const [old, now, is] = [before, after, found].map((i) => digestsOf(i?.objects));
    for (const key of changed) expect([old?.[key], now?.[key]], key).toContain(is?.[key]);
    expect(new Set(keysOf(found?.objects ?? [])).size).toBe(found?.objects.length);
    expect([...keysOf(found?.objects ?? [])].filter((key) => !changed.has(key))).toEqual([]);
    // No object without the connection through which it can be deleted.
    const isDone = isDeepStrictEqual(is, now);
    expect(found?.connections).toContainEqual(isDone ? after.connections[0] : before.connections[0]);
  }

  it('needs more than a dozen requests, so that there is something to disturb', async () => {
    expect((await prepared()).requests).toBeGreaterThan(12);
  });

  it.each(['request lost', 'reply lost'] as const)(
    'by a crash at any of its requests (%s) leaves each object old or new, and is made good by the next process',
    async (fault) => {
      const { requests } = await prepared();
      for (let at = 1; at <= requests; at++) {
        const { nomad } = await prepared();
        const alive = Infinity;
        let left = alive;
        const dying = new Faulty(() => {
          left--;
          return left > 0 ? undefined : left === 0 ? fault : 'request lost';
        }, nomad.api);
        const state = stateOf(dying.api);
        await state.load();
        left = at;
        await state.save(changeOf(after, changed)).catch(() => undefined);
        const next = stateOf(nomad.api);
        expectOldOrNew(await next.load());
        await next.save(changeOf(after, changed));
        expect(digestsOf((await stateOf(nomad.api).load())?.objects)).toEqual(digestsOf(after.objects));
        expect((await stateOf(nomad.api).load())?.connections).toEqual(after.connections);
      }
    },
  );

  it('by a lost reply at any of its requests succeeds all the same', async () => {
    const sandbox = await startSandbox();
    onTestFinished(() => sandbox.close());
    const { api, client } = httpVariables(sandbox.nomad);
    onTestFinished(() => client.close());
    for (let at = 1, cut = true; cut; at++) {
      const path = `nomad-access/run-${String(at)}`;
      const state = nomadState({ api, path, namespace: 'default', holder: 'a', clock: hurried });
      await state.save(changeOf(before, none));
      let requests = 0;
      cut = false;
      sandbox.onRequest = ({ phase }) => {
        if (phase !== 'after' || ++requests !== at) return undefined;
        cut = true;
        return 'drop';
      };
      await state.save(changeOf(after, changed));
      sandbox.onRequest = undefined;
      const found = await nomadState({ api, path, namespace: 'default', holder: 'b' }).load();
      expect(digestsOf(found?.objects)).toEqual(digestsOf(after.objects));
      expect(found?.connections).toEqual(after.connections);
    }
  });

  it('leaves no shard behind that counts for nothing', async () => {
    const { nomad } = await prepared();
    const state = stateOf(nomad.api);
    await state.load();
    await state.save(changeOf(after, changed));
    expect(await nomad.paths()).not.toContain(`${PATH}/objects`);
  });

  it('gives up when Nomad answers nothing for long, and the next save stores what this one could not', async () => {
    const { nomad } = await prepared();
    let down = false;
    const { api } = new Faulty(() => (down ? 'request lost' : undefined), nomad.api);
    const state = stateOf(api);
    await state.load();
    down = true;
    await expect(state.save(changeOf(after, changed))).rejects.toThrow('request lost');
    down = false;
    await state.save(changeOf(after, none));
    expect(digestsOf((await stateOf(nomad.api).load())?.objects)).toEqual(digestsOf(after.objects));
  });

  it('holds its promise through any sequence of changes, lost and late requests, and restarts', async () => {
    await assertOldOrNew((fault) => {
      const nomad = new StillNomad();
      const faulty = new Faulty(fault, nomad.api);
      return {
        open: () => stateOf(faulty.api),
        calm: () => stateOf(nomad.api),
        arrive: () => faulty.arrive(),
      };
    });
  });
});

/** Its methods as own properties, to replace some of them. */
function bound(api: VariablesApi): VariablesApi {
  return {
    list: (...args) => api.list(...args),
    read: (...args) => api.read(...args),
    write: (...args) => api.write(...args),
    remove: (...args) => api.remove(...args),
    acquireLock: (...args) => api.acquireLock(...args),
    renewLock: (...args) => api.renewLock(...args),
    releaseLock: (...args) => api.releaseLock(...args),
  };
}
