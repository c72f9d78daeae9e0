import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Collection, KubernetesApi, KubernetesObject } from '../../src/contract/kubernetes.ts';
import { openKubernetes, type KubernetesClient, type KubernetesClientOptions } from '../../src/kubernetes/client.ts';
import { seedOf } from '../e2e/random.ts';
import { Random } from '../faults/random.ts';
import { requireServers } from '../servers/binaries.ts';
import { askServer } from '../servers/http.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { openThrough, writeKubeconfig } from './access.ts';
import { Mirror } from './mirror.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const FAST = { watchSeconds: 2, quietMs: 60_000, backoffMs: { min: 20, max: 400 } };
/** Watches that nobody ends but the tests. */
const LONG = { watchSeconds: 300, quietMs: 400_000, backoffMs: { min: 20, max: 400 } };

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('a collection that is followed', () => {
  const folder = temporaryDirectory('follow');
  const open: { close(): Promise<void> }[] = [];
  const followed: { readonly abort: AbortController; readonly ended: Promise<void> }[] = [];
  let server: KubernetesServer;
  let admin: KubernetesClient;
  let namespaces = 0;

  beforeAll(async () => {
    server = await startKubernetes();
    admin = await openKubernetes({ kubeconfig: server.kubeconfig });
  });
  afterEach(async () => {
    for (const { abort } of followed) abort.abort();
    await Promise.all(followed.splice(0).map(({ ended }) => ended));
    await Promise.all(open.splice(0).map((o) => o.close()));
  });
  afterAll(async () => {
    await admin.close();
    await server.stop();
    folder.remove();
  });

  function follow(api: KubernetesApi, collection: Collection): Mirror {
    const abort = new AbortController();
    const mirror = new Mirror();
    followed.push({ abort, ended: api.follow(collection, mirror, abort.signal) });
    return mirror;
  }
  /** A namespace of its own for a test. @returns the path of its config maps. */
  async function namespace(): Promise<string> {
    const name = `test-${String(++namespaces)}`;
    await admin.create('/api/v1/namespaces', { metadata: { name } });
    return `/api/v1/namespaces/${name}/configmaps`;
  }
  interface Through {
    readonly path: string;
    readonly proxy: TcpProxy;
    readonly mirror: Mirror;
    /** Requests that are no watches, `METHOD STATUS`. */
    readonly replies: string[];
  }
  async function followThrough(options: KubernetesClientOptions): Promise<Through> {
    const path = await namespace();
    const proxy = await startTcpProxy(server.address);
    const replies: string[] = [];
    const onReply = (method: string, status: number): unknown => replies.push(`${method} ${String(status)}`);
    const retry = { retries: 0, minTimeout: 1, maxTimeout: 1 };
    const client = await openThrough(folder.path, server, proxy, { retry, onReply, ...options });
    open.push(client, proxy);
    const mirror = follow(client, { path });
    await expect.poll(() => mirror.replacements).toBe(1);
    return { path, proxy, mirror, replies };
  }
  const make = (path: string, name: string, data: Record<string, string> = {}): Promise<KubernetesObject> =>
    admin.create(path, { metadata: { name }, data });
  /** That what is followed is what is listed, in the end. */
  async function expectEqual(mirror: Mirror, path: string): Promise<void> {
    const listed = async (): Promise<string[]> =>
      (await admin.list({ path })).map(({ metadata }) => `${metadata.name}@${String(metadata.resourceVersion)}`);
    const wanted = (await listed()).sort();
    await expect.poll(() => mirror.versions(), { timeout: 20_000 }).toEqual(wanted);
  }
  /** Forgets all old versions, as etcd does every five minutes. */
  async function compact(): Promise<void> {
    const version = (
      await admin.create<KubernetesObject>('/api/v1/namespaces', {
        metadata: { name: `compaction-${String(++namespaces)}` },
      })
    ).metadata.resourceVersion;
    const reply = await askServer(`${server.etcdAddress}/v3/kv/compaction`, {
      method: 'POST',
      body: { revision: version, physical: true },
    });
    expect(reply.status).toBe(200);
  }

  it('tells what there is, and then each change, in order', async () => {
    const path = await namespace();
    await make(path, 'first', { a: '1' });
    const mirror = follow(admin, { path });
    await expect.poll(() => mirror.told).toEqual(['replaced first']);
    await make(path, 'second');
    await admin.patch(`${path}/first`, 'merge', { data: { a: '2' } });
    await admin.delete(`${path}/second`);
    const all = ['replaced first', 'changed second', 'changed first', 'removed second'];
    await expect.poll(() => mirror.told).toEqual(all);
    expect(mirror.get('first')).toMatchObject({ kind: 'ConfigMap', data: { a: '2' } });
    expect(mirror.get('first')?.metadata).not.toHaveProperty('managedFields');
    expect(mirror.troubles).toEqual([]);
  });

  it('tells of an object that is no longer selected as of one that is gone', async () => {
    const path = await namespace();
    await admin.create(path, { metadata: { name: 'labelled', labels: { ours: 'yes' } } });
    await make(path, 'other');
    const mirror = follow(admin, { path, labelSelector: 'ours=yes' });
    await expect.poll(() => mirror.told).toEqual(['replaced labelled']);
    await admin.patch(`${path}/labelled`, 'merge', { metadata: { labels: { ours: null } } });
    await expect.poll(() => mirror.told).toEqual(['replaced labelled', 'removed labelled']);
  });

  it('goes on where it was when the server ends the watch, without listing again', async () => {
    const { path, proxy, mirror, replies } = await followThrough({ followTimes: FAST });
    await expect.poll(() => proxy.accepted()).toBeGreaterThanOrEqual(4);
    await make(path, 'later');
    await expect.poll(() => mirror.told).toEqual(['replaced ', 'changed later']);
    expect(replies).toEqual(['GET 200']);
    expect(mirror.troubles).toEqual([]);
  });

  it('goes on where it was after a reset, and tells what happened meanwhile', async () => {
    const { path, proxy, mirror, replies } = await followThrough({ followTimes: LONG });
    await expect.poll(() => proxy.accepted()).toBe(2);
    proxy.cut();
    await make(path, 'meanwhile');
    await expect.poll(() => mirror.told).toEqual(['replaced ', 'changed meanwhile']);
    expect([replies, proxy.accepted()]).toEqual([['GET 200'], 3]);
  });

  it('goes on after the other side closed its half of the connection', async () => {
    const { path, proxy, mirror } = await followThrough({ followTimes: LONG });
    await expect.poll(() => proxy.accepted()).toBe(2);
    proxy.halfClose();
    await make(path, 'meanwhile');
    await expect.poll(() => mirror.told).toEqual(['replaced ', 'changed meanwhile']);
  });

  it('notices that a connection is dead though it stands, and says so while it can not go on', async () => {
    const { path, proxy, mirror } = await followThrough({ followTimes: { ...LONG, quietMs: 3_000 } });
    await expect.poll(() => proxy.accepted()).toBe(2);
    proxy.go('stall');
    await make(path, 'unseen');
    await expect.poll(() => mirror.troubles).toEqual([expect.stringContaining('it says nothing')]);
    proxy.go('pass');
    await expect.poll(() => mirror.told).toEqual(['replaced ', 'changed unseen']);
    await expect.poll(() => mirror.troubles.at(-1)).toBeUndefined();
  });

  it('lists again when the server has forgotten where it was', async () => {
    const { path, proxy, mirror, replies } = await followThrough({ followTimes: LONG });
    await make(path, 'kept');
    await make(path, 'deleted');
    await expect.poll(() => mirror.told).toHaveLength(3);
    proxy.go('stall');
    proxy.cut();
    await admin.delete(`${path}/deleted`);
    await make(path, 'new');
    await server.stopApiServer();
    await server.startApiServer();
    await compact();
    proxy.go('pass');
    proxy.cut();
    await expect.poll(() => mirror.told.at(-1), { timeout: 20_000 }).toBe('replaced kept new');
    await expectEqual(mirror, path);
    expect(replies.filter((reply) => reply === 'GET 200')).toHaveLength(2);
  });

  it('outlives a restart of the API server with a bounded number of requests', async () => {
    const { path, proxy, mirror, replies } = await followThrough({ followTimes: LONG });
    await make(path, 'before');
    // It would wait for those who watch before it ends.
    process.kill(server.pid, 'SIGKILL');
    await server.stopApiServer();
    await sleep(2_000);
    const down = proxy.accepted() + replies.length;
    await server.startApiServer();
    await make(path, 'after');
    await expectEqual(mirror, path);
    // Between 0.2 and 0.4 s apart when it has failed for a while.
    expect(down).toBeLessThan(30);
  });

  it('misses nothing of a random series of changes while connections are cut, stalled and half closed', async () => {
    const { path, proxy, mirror } = await followThrough({ followTimes: { ...FAST, quietMs: 500 } });
    const faults = [
      () => {
        proxy.cut();
      },
      () => {
        proxy.halfClose();
      },
      () => {
        proxy.go('stall');
      },
      () => {
        proxy.go('lose replies');
      },
      () => {
        proxy.go('pass');
      },
    ];
    const random = new Random(seedOf('kubernetes-follow'));
    const names = Array.from({ length: 20 }, (_, i) => `map-${String(i)}`);
    for (let step = 0; step < 400; step++) {
      const name = random.pick(names);
      if (random.chance(0.3)) await admin.delete(`${path}/${name}`);
      else
        await admin.patch(`${path}/${name}`, 'apply', {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name },
          data: { step: String(step) },
        });
      if (random.chance(0.1)) random.pick(faults)();
      if (random.chance(0.1)) await sleep(random.below(200));
      if (step === 200) await compact();
    }
    proxy.go('pass');
    await expectEqual(mirror, path);
    expect(mirror.disorder).toEqual([]);
  });

  it('says what is missing where it is not allowed, and follows as soon as it is', async () => {
    const path = await namespace();
    const [, , , , ns = ''] = path.split('/');
    await admin.create(`/api/v1/namespaces/${ns}/serviceaccounts`, { metadata: { name: 'operator' } });
    const { status } = await admin.create<{ status: { token: string } }>(
      `/api/v1/namespaces/${ns}/serviceaccounts/operator/token`,
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    );
    const kubeconfig = writeKubeconfig(folder.path, server, server.address, { token: status.token });
    const operator = await openKubernetes({ kubeconfig, followTimes: LONG });
    open.push(operator);
    const mirror = follow(operator, { path });
    await expect
      .poll(() => mirror.troubles)
      .toEqual([expect.stringMatching(/cannot list resource "configmaps".*give the operator that right/)]);
    const roles = `/apis/rbac.authorization.k8s.io/v1/namespaces/${ns}`;
    const subject = { kind: 'ServiceAccount', name: 'operator', namespace: ns };
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' };
    const rules = (verbs: string[]): unknown => [{ apiGroups: [''], resources: ['configmaps'], verbs }];
    await admin.create(`${roles}/roles`, { metadata: { name: 'reader' }, rules: rules(['list']) });
    await admin.create(`${roles}/rolebindings`, { metadata: { name: 'reader' }, subjects: [subject], roleRef });
    await expect.poll(() => mirror.troubles.at(-1)).toContain('cannot watch resource');
    // That the list works is no sign that the watch will.
    expect(mirror.troubles).not.toContain(undefined);
    await admin.patch(`${roles}/roles/reader`, 'merge', { rules: rules(['list', 'watch']) });
    await expect.poll(() => mirror.troubles.at(-1)).toBeUndefined();
  });

  it('says that the CRDs are missing, and follows as soon as they are there', async () => {
    const collection = { path: '/apis/nomad-access.io/v1alpha1/aclpolicies' };
    const client = await openKubernetes({ kubeconfig: server.kubeconfig, followTimes: LONG });
    open.push(client);
    const mirror = follow(client, collection);
    await expect.poll(() => mirror.troubles).toEqual([expect.stringContaining('apply the CRDs')]);
    await server.kubectl('apply', '-f', 'crds');
    await expect.poll(() => mirror.troubles.at(-1)).toBeUndefined();
    await admin.create('/apis/nomad-access.io/v1alpha1/namespaces/default/aclpolicies', {
      apiVersion: 'nomad-access.io/v1alpha1',
      kind: 'AclPolicy',
      metadata: { name: 'first' },
      spec: { rules: 'namespace "default" { policy = "read" }' },
    });
    await expect.poll(() => mirror.told.at(-1)).toBe('changed first');
  });

  it('says so when its handler fails, and tells it what comes next', async () => {
    const path = await namespace();
    const mirror = follow(admin, { path });
    await expect.poll(() => mirror.told).toEqual(['replaced ']);
    mirror.failNext = true;
    await make(path, 'one');
    await expect.poll(() => mirror.troubles).toEqual([expect.stringContaining('a mistake of the handler')]);
    await make(path, 'two');
    await expect.poll(() => mirror.told).toEqual(['replaced ', 'changed two']);
  });

  it('is followed no longer as soon as nobody wants to, in the middle of a wait, too', async () => {
    const client = await openKubernetes({
      kubeconfig: server.kubeconfig,
      followTimes: { backoffMs: { min: 60_000, max: 60_000 } },
    });
    open.push(client);
    const abort = new AbortController();
    const mirror = new Mirror();
    const ended = client.follow({ path: '/apis/nobody.example/v1/things' }, mirror, abort.signal);
    await expect.poll(() => mirror.troubles).toHaveLength(1);
    abort.abort();
    await ended;
  });
});
