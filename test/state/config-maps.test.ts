import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { TargetError, UsageError } from '../../src/contract/errors.ts';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import type { Inventory, RecordedConnection, StateBackend } from '../../src/contract/state.ts';
import type { Owned } from '../../src/plan/step.ts';
import { kubernetesState } from '../../src/state/kubernetes.ts';
import { assertOldOrNew } from './disturbed-saves.ts';
import { MemoryKubernetes } from './memory-kubernetes.ts';
import { changeOf, digestsOf, entry, Faulty, hurried, inventoryOf, keysOf } from './variables.ts';

const MAPS = '/api/v1/namespaces/ops/configmaps';
const HEAD = `${MAPS}/nomad-access-default-inventory`;
const PAGE = `${HEAD}-1`;
const none: ReadonlySet<string> = new Set();

function stateOf(api: KubernetesApi, { holder = 'host a, process 1', owner = 'default' } = {}): StateBackend {
  return kubernetesState({ api, namespace: 'ops', owner, holder, clock: hurried });
}

/** An entry as the inventory has most of them. */
function usual(i: number): Owned {
  return { ...entry(`bench-${String(i)} [na:0123456789abcdef.1]`, 32), id: crypto.randomUUID() };
}

/** 30 objects of 6 kB each: they need several pages. */
const many = (): Owned[] => Array.from({ length: 30 }, (_, i) => entry(`t-${String(i)}`, 4500));

const connection = (name: string, address: string): RecordedConnection => ({
  kind: 'NomadCluster',
  name,
  address,
  spec: { address },
});

/** Requests through it, as `patch nomad-access-default-inventory-1`. */
function recorded(server: KubernetesApi): { api: KubernetesApi; asked: string[]; patches: Partial<ConfigMap>[] } {
  const asked: string[] = [];
  const patches: Partial<ConfigMap>[] = [];
  const api = new Proxy(server, {
    get:
      (_target, name: keyof KubernetesApi) =>
      (...args: unknown[]) => {
        const [path, body] = args as [string, { metadata: { name: string } }];
        if (name === 'patch') patches.push(args[2] as ConfigMap);
        if (name === 'list') asked.push('list');
        else asked.push(`${name} ${name === 'create' ? body.metadata.name : path.slice(MAPS.length + 1)}`);
        return (server[name] as (...args: unknown[]) => unknown).apply(server, args);
      },
  });
  return { api, asked, patches };
}

interface ConfigMap {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly data: Record<string, string>;
}

describe('the inventory in ConfigMaps', () => {
  it('reads back what was saved, and nothing where there is none', async () => {
    const server = new MemoryKubernetes();
    expect(await stateOf(server).load()).toBeUndefined();
    const inventory = inventoryOf([entry('a'), entry('b')], { connections: [connection('default', 'http://n:4646')] });
    await stateOf(server).save(changeOf(inventory, none));
    expect(await stateOf(server).load()).toEqual(inventory);
  });

  it('keeps an empty inventory apart from none', async () => {
    const server = new MemoryKubernetes();
    await stateOf(server).save(changeOf(inventoryOf([]), none));
    expect(await stateOf(server).load()).toEqual(inventoryOf([]));
    expect(server.paths()).toEqual([HEAD]);
  });

  it.each(['default', 'default-inventory', 'default-inventory-1', 'Default', 'default_', 'ä', '', 'x'.repeat(300)])(
    'owner %j: names and labels that Kubernetes takes, and nothing shared with another owner',
    async (owner) => {
      const server = new MemoryKubernetes();
      const others = ['default', 'default-inventory', 'default-inventory-1', 'Default', 'default.', 'default-', 'x'];
      for (const other of others.filter((o) => o !== owner))
        await stateOf(server, { owner: other }).save(changeOf(inventoryOf([entry('theirs')], { owner: other }), none));
      const before = new Set(server.paths());
      const inventory = inventoryOf([entry('a')], { owner });
      expect(await stateOf(server, { owner }).load()).toBeUndefined();
      await stateOf(server, { owner }).save(changeOf(inventory, none));
      expect(await stateOf(server, { owner }).load()).toEqual(inventory);
      await (await stateOf(server, { owner }).lock()).release();
      const ours = server.paths().filter((path) => !before.has(path));
      expect(ours).toHaveLength(3);
      for (const path of ours) {
        const { metadata } = (await server.get<ConfigMap>(path)) ?? expect.fail(path);
        expect(metadata.name).toMatch(/^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
        for (const value of Object.values(metadata.labels))
          expect(value).toMatch(/^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/);
      }
    },
  );

  it('is loaded with one list, and a change of one object is one patch of that object', async () => {
    const server = new MemoryKubernetes();
    const objects = many();
    await stateOf(server).save(changeOf(inventoryOf(objects), none));
    const { api, asked, patches } = recorded(server);
    const state = stateOf(api);
    await state.load();
    const changed = objects.map((o, i) => (i === 3 ? { ...o, id: 'new' } : o));
    await state.save(changeOf(inventoryOf(changed), keysOf(changed.slice(3, 4))));
    expect(asked).toEqual(['list', 'patch nomad-access-default-inventory-1']);
    expect(patches).toEqual([
      {
        metadata: { resourceVersion: expect.any(String) as string, annotations: expect.any(Object) as object },
        data: { [Object.keys(patches[0]?.data ?? {})[0] ?? '']: JSON.stringify(changed[3]) },
      },
    ]);
    expect(digestsOf((await stateOf(server).load())?.objects)).toEqual(digestsOf(changed));
  });

  it('writes nothing where nothing changed, and the head only when it changed', async () => {
    const server = new MemoryKubernetes();
    const objects = [entry('a'), entry('b')];
    const { api, asked } = recorded(server);
    const state = stateOf(api);
    await state.save(changeOf(inventoryOf(objects), none));
    asked.length = 0;
    await state.save(changeOf(inventoryOf(objects), keysOf(objects)));
    expect(asked).toEqual([]);
    const connections = [connection('default', 'http://n:4646')];
    await state.save(changeOf(inventoryOf(objects, { connections }), none));
    expect(asked).toEqual(['patch nomad-access-default-inventory']);
  });

  it('10,000 objects: pages of 64 KiB; one list loads them, a save of 25 new ones is one request', async () => {
    const server = new MemoryKubernetes();
    const objects = Array.from({ length: 10_000 }, (_, i) => usual(i));
    await stateOf(server).save(changeOf(inventoryOf(objects), none));
    const pages = await server.list<ConfigMap>({ path: MAPS, labelSelector: 'nomad-access.io/inventory=page' });
    const sizes = pages.map(({ data }) => Object.entries(data).reduce((n, [k, v]) => n + k.length + v.length, 0));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(65_536);
    expect(pages.length).toBeLessThan(90);
    const { api, asked } = recorded(server);
    const state = stateOf(api);
    expect(digestsOf((await state.load())?.objects)).toEqual(digestsOf(objects));
    expect(asked.splice(0)).toEqual(['list']);
    for (let i = 0; i < 40; i++) {
      const fresh = Array.from({ length: 25 }, (_, j) => usual(10_000 + i * 25 + j));
      objects.push(...fresh);
      await state.save(changeOf(inventoryOf(objects), keysOf(fresh)));
      expect(asked.splice(0)).toHaveLength(1);
    }
    expect(digestsOf((await stateOf(server).load())?.objects)).toEqual(digestsOf(objects));
  });

  it('fills the pages again that removed objects have emptied, so that churn makes no more of them', async () => {
    const server = new MemoryKubernetes();
    const state = stateOf(server);
    let objects = Array.from({ length: 1_000 }, (_, i) => usual(i));
    await state.save(changeOf(inventoryOf(objects), none));
    const before = server.paths().length;
    for (let round = 1; round <= 20; round++) {
      const gone = objects.filter((_, i) => i % 2 === 0);
      const fresh = Array.from({ length: 500 }, (_, i) => usual(round * 1_000 + i));
      objects = [...objects.filter((_, i) => i % 2 === 1), ...fresh];
      await state.save(changeOf(inventoryOf(objects), keysOf([...gone, ...fresh])));
    }
    expect(server.paths().length).toBeLessThanOrEqual(before * 2);
    expect(digestsOf((await stateOf(server).load())?.objects)).toEqual(digestsOf(objects));
  });

  it('names an object that is too large for a ConfigMap, and keeps the others', async () => {
    const server = new MemoryKubernetes();
    const state = stateOf(server);
    await state.save(changeOf(inventoryOf([entry('small')]), none));
    const large = [entry('small'), entry('large', 600_000)];
    await expect(state.save(changeOf(inventoryOf(large), keysOf(large)))).rejects.toThrow('default/acl-token/large');
    expect((await stateOf(server).load())?.objects.map((o) => o.key.name)).toEqual(['small']);
  });

  it.each([
    ['no JSON', 'x', /Unexpected token/],
    ['no entry', '{}', /key: /],
    ['the entry of another object', JSON.stringify(entry('b')), /not the key of default\/acl-token\/b/],
  ])('a page that holds %s is an error that names the ConfigMap and what to do', async (_what, value, why) => {
    const server = new MemoryKubernetes();
    await stateOf(server).save(changeOf(inventoryOf([entry('a')]), none));
    const [key = ''] = Object.keys((await server.get<ConfigMap>(PAGE))?.data ?? {});
    await server.patch(PAGE, 'merge', { data: { [key]: value } });
    const load = stateOf(server).load();
    await expect(load).rejects.toThrow(UsageError);
    await expect(load).rejects.toThrow(why);
    await expect(load).rejects.toThrow(
      /^the ConfigMap nomad-access-default-inventory-1 \(namespace ops\) .*restore it from a backup, or take another --owner$/,
    );
  });

  it('refuses an inventory of a newer version', async () => {
    const server = new MemoryKubernetes();
    await stateOf(server).save(changeOf(inventoryOf([entry('a')]), none));
    await server.patch(HEAD, 'merge', { data: { head: '{"version":2}' } });
    await expect(stateOf(server).load()).rejects.toThrow('written by a newer version: upgrade nomad-access');
  });

  it('does not take a lost head for an inventory that never was', async () => {
    const server = new MemoryKubernetes();
    await stateOf(server).save(changeOf(inventoryOf([entry('a')]), none));
    await server.delete(HEAD);
    await expect(stateOf(server).load()).rejects.toThrow('is missing although there are objects');
  });

  it('a copy of a page that somebody keeps under another name counts for nothing', async () => {
    const server = new MemoryKubernetes();
    const objects = [entry('a')];
    const state = stateOf(server);
    await state.save(changeOf(inventoryOf(objects), none));
    const page = (await server.get<ConfigMap>(PAGE)) ?? expect.fail();
    const name = 'nomad-access-default-inventory-1-before';
    await server.create(MAPS, { ...page, metadata: { labels: page.metadata.labels, name } });
    await state.save(changeOf(inventoryOf([]), keysOf(objects)));
    expect((await stateOf(server).load())?.objects).toEqual([]);
  });
});

describe('two operators with one inventory in Kubernetes', () => {
  it.each([
    ['an object', (objects: Owned[]) => inventoryOf(objects.map((o) => ({ ...o, id: 'theirs' })))],
    ['the connections', (objects: Owned[]) => inventoryOf(objects, { connections: [connection('x', 'http://x:1')] })],
  ])('the one that comes too late with %s overwrites nothing and says who was there', async (_what, theirs) => {
    const server = new MemoryKubernetes();
    const objects = [entry('a')];
    const one = stateOf(server);
    const two = stateOf(server, { holder: 'host b, process 2' });
    await one.save(changeOf(inventoryOf(objects), none));
    await two.load();
    await one.save(changeOf(theirs(objects), keysOf(objects)));
    const late = inventoryOf([entry('a')], { connections: [connection('y', 'http://y:1')] });
    const save = two.save(changeOf(late, keysOf(objects)));
    await expect(save).rejects.toThrow(UsageError);
    await expect(save).rejects.toThrow(/was changed by host a, process 1: two operators use one inventory/);
    await expect(two.save(changeOf(late, none))).rejects.toThrow(UsageError);
    expect((await stateOf(server).load())?.objects).toEqual(theirs(objects).objects);
  });

  it('the second of two first saves is refused', async () => {
    const server = new MemoryKubernetes();
    const [one, two] = [stateOf(server), stateOf(server)];
    await Promise.all([one.load(), two.load()]);
    await one.save(changeOf(inventoryOf([entry('a')]), none));
    const theirs = inventoryOf([entry('b')], { connections: [connection('y', 'http://y:1')] });
    await expect(two.save(changeOf(theirs, none))).rejects.toThrow('two operators use one inventory');
    expect((await stateOf(server).load())?.objects.map((o) => o.key.name)).toEqual(['a']);
  });

  it('what was removed by hand is not made again', async () => {
    const server = new MemoryKubernetes();
    const state = stateOf(server);
    await state.save(changeOf(inventoryOf([entry('a')]), none));
    await server.delete(PAGE);
    const changed = [entry('a')];
    await expect(state.save(changeOf(inventoryOf(changed), keysOf(changed)))).rejects.toThrow(
      'nomad-access-default-inventory-1 (namespace ops) was removed by somebody else',
    );
  });

  it.each([HEAD, PAGE])('%s of somebody else is never overwritten', async (path) => {
    const server = new MemoryKubernetes();
    const theirs = { metadata: { name: path.slice(MAPS.length + 1) }, data: { theirs: 'x' } };
    await server.create(MAPS, theirs);
    await expect(stateOf(server).save(changeOf(inventoryOf([entry('a')]), none))).rejects.toThrow(
      'in the way and not of nomad-access: rename or remove it',
    );
    expect(await server.get(path)).toMatchObject(theirs);
  });

  it('labels and annotations that others set disturb nothing and stay', async () => {
    const server = new MemoryKubernetes();
    const state = stateOf(server);
    await state.save(changeOf(inventoryOf([entry('a')]), none));
    const theirs = { metadata: { labels: { team: 'platform' }, annotations: { note: 'x' } } };
    await server.patch(PAGE, 'merge', theirs);
    const changed = [entry('a')];
    await state.save(changeOf(inventoryOf(changed), keysOf(changed)));
    expect(await server.get(PAGE)).toMatchObject(theirs);
    expect((await stateOf(server).load())?.objects).toEqual(changed);
  });
});

describe('a save to Kubernetes that is disturbed', () => {
  const before = inventoryOf(many().slice(0, 20), { connections: [connection('old', 'http://old:1')] });
  /** Some change, some are removed, many are added, in all pages and new ones. */
  const after = inventoryOf(
    [...before.objects.slice(0, 15).map((o, i) => (i % 2 === 0 ? { ...o, id: 'new' } : o)), ...many().slice(20)],
    { connections: [connection('new', 'http://new:1')] },
  );
  const changed = new Set([...keysOf(before.objects), ...keysOf(after.objects)]);

  async function prepared(): Promise<MemoryKubernetes> {
    const server = new MemoryKubernetes();
    await stateOf(server).save(changeOf(before, none));
    return server;
  }

  async function requestsOfSave(): Promise<number> {
    const counting = new Faulty<KubernetesApi>(() => undefined, await prepared());
    const state = stateOf(counting.api);
    await state.load();
    const loaded = counting.requests;
    await state.save(changeOf(after, changed));
    return counting.requests - loaded;
  }

  function expectOldOrNew(found: Inventory | undefined): void {
    const [old, now, is] = [before, after, found].map((i) => digestsOf(i?.objects));
    for (const key of changed) expect([old?.[key], now?.[key]], key).toContain(is?.[key]);
    expect(new Set(keysOf(found?.objects ?? [])).size).toBe(found?.objects.length);
    // No object without the connection through which it can be deleted.
    const isDone = isDeepStrictEqual(is, now);
    expect(found?.connections).toContainEqual(isDone ? after.connections[0] : before.connections[0]);
  }

  it('needs several requests, so that there is something to disturb', async () => {
    expect(await requestsOfSave()).toBeGreaterThanOrEqual(5);
  });

  it.each(['request lost', 'reply lost'] as const)(
    'by a crash at any of its requests (%s) leaves each object old or new, and is made good by the next process',
    async (fault) => {
      const requests = await requestsOfSave();
      for (let at = 1; at <= requests; at++) {
        const server = await prepared();
        let left = Infinity;
        const dying = new Faulty<KubernetesApi>(() => {
          left--;
          return left > 0 ? undefined : left === 0 ? fault : 'request lost';
        }, server);
        const state = stateOf(dying.api);
        await state.load();
        left = at;
        await expect(state.save(changeOf(after, changed))).rejects.toThrow(TargetError);
        const next = stateOf(server);
        expectOldOrNew(await next.load());
        await next.save(changeOf(after, changed));
        const found = await stateOf(server).load();
        expect(digestsOf(found?.objects)).toEqual(digestsOf(after.objects));
        expect(found?.connections).toEqual(after.connections);
      }
    },
  );

  it.each(['request lost', 'reply lost', 'delayed'] as const)(
    'by one %s at any of its requests succeeds all the same',
    async (fault) => {
      const requests = await requestsOfSave();
      for (let at = 1; at <= requests; at++) {
        const server = await prepared();
        let left = Infinity;
        const faulty = new Faulty<KubernetesApi>(() => (--left === 0 ? fault : undefined), server);
        const state = stateOf(faulty.api);
        await state.load();
        left = at;
        await state.save(changeOf(after, changed));
        await faulty.arrive();
        const found = await stateOf(server).load();
        expect(digestsOf(found?.objects)).toEqual(digestsOf(after.objects));
        expect(found?.connections).toEqual(after.connections);
      }
    },
  );

  it('gives up when nothing is answered for long, and the next save stores what this one could not', async () => {
    const server = await prepared();
    let isDown = false;
    const { api } = new Faulty<KubernetesApi>(() => (isDown ? 'request lost' : undefined), server);
    const state = stateOf(api);
    await state.load();
    isDown = true;
    await expect(state.save(changeOf(after, changed))).rejects.toThrow('request lost');
    isDown = false;
    await state.save(changeOf(after, changed));
    expect(digestsOf((await stateOf(server).load())?.objects)).toEqual(digestsOf(after.objects));
  });

  it.each([
    ['nothing', (name: string) => name !== 'list'],
    ['only what is read', (name: string) => name === 'patch'],
  ])(
    'a write that arrives after what it wrote was taken back changes nothing (%s is answered)',
    async (_is, isMeant) => {
      const server = new MemoryKubernetes();
      const [old, now] = [entry('a'), entry('a')];
      let isLate = false;
      const faulty = new Faulty<KubernetesApi>(
        (_request, name) => (isLate && isMeant(name) ? 'delayed' : undefined),
        server,
      );
      const state = stateOf(faulty.api);
      await state.save(changeOf(inventoryOf([old]), none));
      isLate = true;
      await expect(state.save(changeOf(inventoryOf([now]), keysOf([now])))).rejects.toThrow(TargetError);
      isLate = false;
      await state.save(changeOf(inventoryOf([old]), keysOf([old])));
      await faulty.arrive();
      expect((await stateOf(server).load())?.objects).toEqual([old]);
    },
  );

  it('holds its promise through any sequence of changes, lost and late requests, and restarts', async () => {
    await assertOldOrNew((fault) => {
      const server = new MemoryKubernetes();
      const faulty = new Faulty<KubernetesApi>(fault, server);
      return {
        open: () => stateOf(faulty.api),
        calm: () => stateOf(server),
        arrive: () => faulty.arrive(),
      };
    });
  });
});
