import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import type { KubernetesObject } from '../../src/contract/kubernetes.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { openThrough, writeKubeconfig } from './access.ts';
import { startTcpProxy } from './tcp-proxy.ts';
import { failureOf } from '../http/failure.ts';

interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

const MAPS = '/api/v1/namespaces/default/configmaps';

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('the Kubernetes client', () => {
  const folder = temporaryDirectory('client');
  const open: { close(): Promise<void> }[] = [];
  let server: KubernetesServer;
  let client: KubernetesClient;

  beforeAll(async () => {
    server = await startKubernetes();
    client = await openKubernetes({ kubeconfig: server.kubeconfig });
    open.push(client);
  });
  afterAll(async () => {
    await Promise.all(open.map((o) => o.close()));
    await server.stop();
    folder.remove();
  });

  const map = (name: string, data: Record<string, string> = {}): ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name },
    data,
  });
  const make = (name: string, data?: Record<string, string>): Promise<ConfigMap> =>
    client.create(MAPS, map(name, data));

  it('reads what it has made, without the fields of the server that nobody reads', async () => {
    const made = await make('made', { a: '1' });
    const read = await client.get<ConfigMap>(`${MAPS}/made`);
    expect(read).toEqual(made);
    expect(read).toMatchObject({
      kind: 'ConfigMap',
      metadata: { name: 'made', namespace: 'default' },
      data: { a: '1' },
    });
    expect(read?.metadata).not.toHaveProperty('managedFields');
  });
  it('finds nothing where there is nothing, of a kind that nobody knows, too', async () => {
    expect(await client.get(`${MAPS}/none`)).toBeUndefined();
    expect(await client.get('/apis/nobody.example/v1/things/none')).toBeUndefined();
    expect(await client.patch(`${MAPS}/none`, 'merge', { data: { a: '1' } })).toBeUndefined();
    await client.delete(`${MAPS}/none`);
  });

  describe('refuses in the words of the server', () => {
    it('what exists already', async () => {
      await make('twice');
      const error = await failureOf(make('twice'), TargetError);
      expect(error).toMatchObject({ class: 'transient', status: 409, ambiguous: false });
      expect(error.message).toBe(`POST ${server.address}${MAPS}: configmaps "twice" already exists`);
    });
    it('a namespace that is not there', async () => {
      const error = await failureOf(client.create('/api/v1/namespaces/nowhere/configmaps', map('a')), TargetError);
      expect(error).toMatchObject({ class: 'dependency', status: 404 });
      expect(error.message).toContain('namespaces "nowhere" not found');
    });
    it('a list of a kind that is not there', async () => {
      const error = await failureOf(client.list({ path: '/apis/nomad-access.io/v1alpha1/aclpolicies' }), TargetError);
      expect(error).toMatchObject({ class: 'dependency', status: 404 });
    });
    it('a name that is none', async () => {
      const error = await failureOf(make('No Name'), TargetError);
      expect(error).toMatchObject({ class: 'terminal', status: 422 });
      expect(error.message).toContain('metadata.name');
    });
    it('a credential that it does not know', async () => {
      const kubeconfig = writeKubeconfig(folder.path, server, server.address, { token: 'wrong' });
      const stranger = await openKubernetes({ kubeconfig });
      open.push(stranger);
      expect(await failureOf(stranger.get(`${MAPS}/made`), TargetError)).toMatchObject({
        class: 'denied',
        status: 401,
      });
    });
    it('a Secret, but never with what is in it', async () => {
      const body = { metadata: { name: 'bad' }, data: { password: 'not base64, hunter2!' } };
      const wrongType = { metadata: { name: 'bad' }, stringData: { password: { hunter2: 'hunter2' } } };
      for (const secret of [body, wrongType]) {
        const error = await failureOf(client.create('/api/v1/namespaces/default/secrets', secret), TargetError);
        expect(error).toMatchObject({ class: 'terminal', status: 400 });
        expect(error.message).not.toContain('hunter2');
      }
    });
  });

  describe('check and set', () => {
    it('replaces what is as it was, and nothing else', async () => {
      const first = await make('cas', { a: '1' });
      const second = await client.replace<ConfigMap>(`${MAPS}/cas`, { ...first, data: { a: '2' } });
      expect(second.data).toEqual({ a: '2' });
      expect(await failureOf(client.replace(`${MAPS}/cas`, { ...first, data: { a: '3' } }), TargetError)).toMatchObject(
        {
          class: 'transient',
          status: 409,
        },
      );
      expect((await client.get<ConfigMap>(`${MAPS}/cas`))?.data).toEqual({ a: '2' });
    });
    it('patches what is as it was, and nothing else', async () => {
      const { metadata } = await make('patched', { a: '1' });
      const patch = { metadata: { resourceVersion: metadata.resourceVersion }, data: { b: '2' } };
      expect((await client.patch<ConfigMap>(`${MAPS}/patched`, 'merge', patch))?.data).toEqual({ a: '1', b: '2' });
      const again = { ...patch, data: { b: '3' } };
      expect(await failureOf(client.patch(`${MAPS}/patched`, 'merge', again), TargetError)).toMatchObject({
        status: 409,
      });
    });
    it('deletes the object that was meant, and not another one of its name', async () => {
      const { metadata } = await make('deleted');
      const other = '00000000-0000-0000-0000-000000000000';
      expect(await failureOf(client.delete(`${MAPS}/deleted`, { uid: other }), TargetError)).toMatchObject({
        status: 409,
      });
      expect(await failureOf(client.delete(`${MAPS}/deleted`, { resourceVersion: '1' }), TargetError)).toMatchObject({
        status: 409,
      });
      expect(await client.get(`${MAPS}/deleted`)).toBeDefined();
      await client.delete(`${MAPS}/deleted`, { uid: metadata.uid ?? '' });
      expect(await client.get(`${MAPS}/deleted`)).toBeUndefined();
    });
  });

  it('takes a JSON patch', async () => {
    await make('json', { a: '1' });
    const patch = [{ op: 'replace', path: '/data/a', value: '2' }];
    expect((await client.patch<ConfigMap>(`${MAPS}/json`, 'json', patch))?.data).toEqual({ a: '2' });
  });

  it('by server-side apply takes over what another one set, and leaves the rest', async () => {
    const yaml = JSON.stringify(map('applied', { ours: 'theirs', theirs: '1' }));
    await server.kubectl('apply', '--server-side', '-f', '-', { input: yaml });
    const applied = await client.patch<ConfigMap>(`${MAPS}/applied`, 'apply', map('applied', { ours: '1' }));
    expect(applied?.data).toEqual({ ours: '1', theirs: '1' });
    // What is no longer declared goes, as it is ours.
    await client.patch<ConfigMap>(`${MAPS}/applied`, 'apply', map('applied'));
    expect((await client.get<ConfigMap>(`${MAPS}/applied`))?.data).toEqual({ theirs: '1' });
  });

  it('lists all by pages, each object with its kind, and only those that are selected', async () => {
    const replies: string[] = [];
    const counted = await openKubernetes({
      kubeconfig: server.kubeconfig,
      onReply: (method, status) => replies.push(`${method} ${String(status)}`),
    });
    open.push(counted);
    await client.create('/api/v1/namespaces', { metadata: { name: 'many' } });
    const path = '/api/v1/namespaces/many/configmaps';
    const names = Array.from({ length: 1_001 }, (_, i) => `map-${String(i).padStart(4, '0')}`);
    const labelled = (name: string): unknown => ({ metadata: { name, labels: { last: name.slice(-1) } } });
    await Promise.all(names.map((name) => client.create(path, labelled(name))));
    const listed = await counted.list<ConfigMap>({ path });
    expect(listed.map(({ metadata }) => metadata.name)).toEqual(names);
    expect(new Set(listed.map(({ kind, apiVersion }) => `${String(apiVersion)} ${String(kind)}`))).toEqual(
      new Set(['v1 ConfigMap']),
    );
    expect(listed.filter(({ metadata }) => 'managedFields' in metadata)).toEqual([]);
    expect(replies).toEqual(['GET 200', 'GET 200', 'GET 200']);
    const selected = await counted.list<ConfigMap>({
      path,
      labelSelector: 'last=7',
      fieldSelector: 'metadata.name!=map-0007',
    });
    expect(selected.map(({ metadata }) => metadata.name)).toEqual(names.filter((n) => n.endsWith('7')).slice(1));
  });

  it('keeps its connections: many requests at once need no more than allowed, and the next ones no more', async () => {
    const proxy = await startTcpProxy(server.address);
    const through = await openThrough(folder.path, server, proxy, { maxConnections: 4 });
    open.push(proxy, through);
    const many = (): Promise<unknown> => Promise.all(Array.from({ length: 100 }, () => through.get(`${MAPS}/made`)));
    await many();
    const first = proxy.accepted();
    await many();
    expect([first, proxy.accepted()]).toEqual([4, 4]);
  });

  describe('where the reply is lost', () => {
    it('says of a create that it may have been carried out, and does not repeat it', async () => {
      const proxy = await startTcpProxy(server.address);
      const through = await openThrough(folder.path, server, proxy, { maxConnections: 1 });
      open.push(proxy, through);
      await through.get(`${MAPS}/made`);
      proxy.go('lose replies');
      const error = await failureOf(through.create(MAPS, map('lost')), TargetError);
      expect(error).toMatchObject({ class: 'transient', ambiguous: true, status: undefined });
      expect(await client.get(`${MAPS}/lost`)).toBeDefined();
      expect(proxy.accepted()).toBe(1);
    });
    it('repeats a patch', async () => {
      const proxy = await startTcpProxy(server.address);
      const through = await openThrough(folder.path, server, proxy, { maxConnections: 1 });
      open.push(proxy, through);
      await through.get(`${MAPS}/made`);
      proxy.cut();
      await through.patch(`${MAPS}/made`, 'merge', { data: { b: '2' } });
      expect((await client.get<ConfigMap>(`${MAPS}/made`))?.data).toEqual({ a: '1', b: '2' });
    });
  });

  it('reads a rotated token from its file as soon as the old one is refused', async () => {
    const tokenFile = join(folder.path, 'token');
    writeFileSync(tokenFile, 'ended\n');
    const kubeconfig = writeKubeconfig(folder.path, server, server.address, { tokenFile });
    const rotating = await openKubernetes({ kubeconfig });
    open.push(rotating);
    expect(await failureOf(rotating.get(`${MAPS}/made`), TargetError)).toMatchObject({ class: 'denied', status: 401 });
    writeFileSync(tokenFile, `${server.adminToken}\n`);
    const read = await Promise.all(Array.from({ length: 20 }, () => rotating.get<ConfigMap>(`${MAPS}/made`)));
    expect(new Set(read.map((made) => made?.metadata.name))).toEqual(new Set(['made']));
  });

  describe('whoever may not write any more', () => {
    it('sends no write, and reads on', async () => {
      let mayWrite = true;
      const gated = client.gated(() => {
        if (!mayWrite) throw new Error('the lease has ended');
      });
      await gated.create(MAPS, map('gated', { a: '1' }));
      mayWrite = false;
      const writes = [
        gated.create(MAPS, map('gated-2')),
        gated.replace(`${MAPS}/gated`, map('gated')),
        gated.patch(`${MAPS}/gated`, 'merge', { data: { a: '2' } }),
        gated.patch(`${MAPS}/gated`, 'apply', map('gated')),
        gated.delete(`${MAPS}/gated`),
      ];
      for (const write of writes)
        expect((await failureOf(write, TargetError)).message).toContain('the lease has ended');
      expect((await gated.get<ConfigMap>(`${MAPS}/gated`))?.data).toEqual({ a: '1' });
      expect(await client.get(`${MAPS}/gated-2`)).toBeUndefined();
    });
    it('does not send what waited for a connection meanwhile', async () => {
      let mayWrite = true;
      const narrow = await openKubernetes({ kubeconfig: server.kubeconfig, maxConnections: 1 });
      open.push(narrow);
      const gated = narrow.gated(() => {
        if (!mayWrite) throw new Error('the lease has ended');
      });
      const write = gated.create(MAPS, map('waited'));
      // The connection is not there yet.
      await Promise.resolve();
      mayWrite = false;
      expect(await failureOf(write, TargetError)).toMatchObject({ ambiguous: false });
      expect(await client.get(`${MAPS}/waited`)).toBeUndefined();
    });
  });
});
