import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import type { StateBackend } from '../../src/contract/state.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { kubernetesState } from '../../src/state/kubernetes.ts';
import { leaseTimes } from '../../src/state/lease.ts';
import { writeKubeconfig } from '../kubernetes/access.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { changeOf, digestsOf, entry, Faulty, hurried, inventoryOf, keysOf } from './variables.ts';

/** A lease so short that a test need not wait for long, and so long that it outlives what stops the machine for a moment. */
const SECONDS = 8;
const times = leaseTimes(SECONDS);
/** For the requests and the timers of a machine that does other things. */
const SLACK_MS = 1_500;
const LATE_MS = 10_000;

/** All that the state may do, and so all that it needs. */
const ROLE = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'Role',
  metadata: { name: 'state', namespace: 'default' },
  rules: [
    { apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'get', 'create', 'patch'] },
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'create', 'update'] },
  ],
};
const BINDING = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'RoleBinding',
  metadata: { name: 'state', namespace: 'default' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'state' },
  subjects: [{ kind: 'ServiceAccount', name: 'state', namespace: 'default' }],
};

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('the state in a real Kubernetes', () => {
  const folder = temporaryDirectory('kubernetes-state');
  let server: KubernetesServer;
  let api: KubernetesClient;
  let kubeconfig: string;

  beforeAll(async () => {
    server = await startKubernetes();
    const kubectl = async (...args: Parameters<KubernetesServer['kubectl']>): Promise<string> => {
      const { code, stdout, stderr } = await server.kubectl(...args);
      expect(code, stderr).toBe(0);
      return stdout.trim();
    };
    await kubectl('create', 'serviceaccount', 'state');
    for (const object of [ROLE, BINDING]) await kubectl('apply', '-f', '-', { input: JSON.stringify(object) });
    const token = await kubectl('create', 'token', 'state');
    kubeconfig = writeKubeconfig(folder.path, server, server.address, { token });
    api = await openKubernetes({ kubeconfig });
  });
  afterAll(async () => {
    await api.close();
    await server.stop();
    folder.remove();
  });

  const stateOf = (owner: string, holder = 'a', over: KubernetesApi = api): StateBackend =>
    kubernetesState({ api: over, namespace: 'default', owner, holder, times });

  it('10,000 objects are saved and loaded in seconds; 25 new ones, and one change, are one request each', async () => {
    const usual = (i: number) => ({
      ...entry(`bench-${String(i)} [na:0123456789abcdef.1]`, 32),
      id: crypto.randomUUID(),
    });
    const objects = Array.from({ length: 10_000 }, (_, i) => usual(i));
    const counted = new Faulty<KubernetesApi>(() => undefined, api);
    const state = stateOf('large', 'a', counted.api);
    const measured = async (work: () => Promise<unknown>): Promise<{ ms: number; requests: number }> => {
      const [began, before] = [performance.now(), counted.requests];
      await work();
      return { ms: Math.round(performance.now() - began), requests: counted.requests - before };
    };
    const first = await measured(() => state.save(changeOf(inventoryOf(objects), new Set())));
    const loaded = await measured(async () => {
      expect(digestsOf((await stateOf('large', 'b', counted.api).load())?.objects)).toEqual(digestsOf(objects));
    });
    const fresh = Array.from({ length: 25 }, (_, i) => usual(10_000 + i));
    const all = [...objects, ...fresh];
    const added = await measured(() => state.save(changeOf(inventoryOf(all), keysOf(fresh))));
    const changed = all.map((o, i) => (i === 0 ? { ...o, id: 'changed' } : o));
    const one = await measured(() => state.save(changeOf(inventoryOf(changed), keysOf(changed.slice(0, 1)))));
    console.log('10,000 objects on a real kube-apiserver', { first, loaded, added, one });
    expect(digestsOf((await stateOf('large', 'b').load())?.objects)).toEqual(digestsOf(changed));
    expect([loaded.requests, added.requests, one.requests]).toEqual([1, 1, 1]);
    expect(first.requests).toBeLessThan(100);
    expect(first.ms).toBeLessThan(20_000);
    expect(loaded.ms).toBeLessThan(10_000);
    expect(added.ms).toBeLessThan(10_000);
  });

  it('a save survives the loss of any one request or reply', async () => {
    const before = Array.from({ length: 20 }, (_, i) => entry(`t-${String(i)}`, 4500));
    const after = [...before.slice(5), ...Array.from({ length: 20 }, (_, i) => entry(`u-${String(i)}`, 4500))];
    for (const fault of ['request lost', 'reply lost'] as const) {
      for (let at = 1, isMet = true; isMet; at++) {
        const owner = `${fault.replace(' ', '-')}-${String(at)}`;
        let left = Infinity;
        isMet = false;
        const cut = new Faulty<KubernetesApi>(() => {
          left--;
          isMet ||= left === 0;
          return left === 0 ? fault : undefined;
        }, api);
        const state = kubernetesState({ api: cut.api, namespace: 'default', owner, holder: 'a', clock: hurried });
        await state.save(changeOf(inventoryOf(before), new Set()));
        left = at;
        await state.save(changeOf(inventoryOf(after), keysOf([...before, ...after])));
        expect(digestsOf((await stateOf(owner).load())?.objects)).toEqual(digestsOf(after));
      }
    }
  });

  it('an owner of any spelling has names and labels that the server takes', async () => {
    for (const owner of ['Team A/ä', '', 'x'.repeat(300), 'a'.repeat(63)]) {
      const inventory = inventoryOf([entry('a')], { owner });
      await stateOf(owner).save(changeOf(inventory, new Set()));
      expect(await stateOf(owner).load()).toEqual(inventory);
      await (await stateOf(owner).lock()).release();
    }
  });

  it('the second operator on one inventory overwrites nothing', async () => {
    const [one, two] = [stateOf('shared', 'host a'), stateOf('shared', 'host b')];
    const objects = [entry('a')];
    await one.save(changeOf(inventoryOf(objects), new Set()));
    await two.load();
    const [theirs, late] = [[entry('a')], [entry('a')]];
    await one.save(changeOf(inventoryOf(theirs), keysOf(theirs)));
    await expect(two.save(changeOf(inventoryOf(late), keysOf(late)))).rejects.toThrow('was changed by host a');
    expect((await stateOf('shared').load())?.objects).toEqual(theirs);
  });

  it('a lock that is released is the next one’s within a poll', async () => {
    const lock = await stateOf('handover').lock();
    await expect(stateOf('handover', 'b').lock()).rejects.toThrow('is locked by a_');
    const next = stateOf('handover', 'b').lock(new AbortController().signal);
    const released = performance.now();
    await lock.release();
    expect((await next).isValid()).toBe(true);
    expect(performance.now() - released).toBeLessThan(times.pollMs + LATE_MS);
    await (await next).release();
    const { stdout } = await server.kubectl('get', 'lease', 'nomad-access-handover', '-o', 'jsonpath={.spec}');
    expect(JSON.parse(stdout)).toMatchObject({ holderIdentity: '', leaseTransitions: 1 });
  });

  interface Holder {
    readonly child: ChildProcess;
    /** What it has said so far. */
    readonly said: string[];
    /** Resolves with the next line. */
    next(): Promise<string>;
  }

  async function startHolder(owner: string): Promise<Holder> {
    const script = join(import.meta.dirname, 'lease-holder.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script, kubeconfig, owner, String(SECONDS)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const said: string[] = [];
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => said.push(line));
    const next = (): Promise<string> => new Promise((done) => lines.once('line', done));
    expect(await next()).toBe('valid');
    return { child, said, next };
  }

  it('is taken over from a process that was killed within the lease and a poll, and not before its end', async () => {
    const holder = await startHolder('killed');
    const next = stateOf('killed', 'waiting').lock(new AbortController().signal);
    // It is renewed several times while the other one waits.
    for (let i = 0; i < 50; i++) expect(await holder.next()).toBe('valid');
    const killed = performance.now();
    holder.child.kill('SIGKILL');
    const lock = await next;
    const tookMs = performance.now() - killed;
    expect(lock.isValid()).toBe(true);
    console.log(`lease of ${String(SECONDS)} s, taken over ${tookMs.toFixed(0)} ms after SIGKILL`);
    expect(tookMs).toBeGreaterThan(SECONDS * 1000 - times.renewMs - SLACK_MS);
    expect(tookMs).toBeLessThan(SECONDS * 1000 + times.pollMs + LATE_MS);
    await lock.release();
  });

  it('a process that was stopped says at once when it continues that it may not act, and then that it is lost', async () => {
    const holder = await startHolder('stopped');
    const next = stateOf('stopped', 'waiting').lock(new AbortController().signal);
    for (let i = 0; i < 10; i++) expect(await holder.next()).toBe('valid');
    holder.child.kill('SIGSTOP');
    const lock = await next;
    const before = holder.said.length;
    holder.child.kill('SIGCONT');
    while (!holder.said.includes('lost')) await holder.next();
    expect(holder.said.slice(before)).not.toContain('valid');
    expect(lock.isValid()).toBe(true);
    await lock.release();
  });
});
