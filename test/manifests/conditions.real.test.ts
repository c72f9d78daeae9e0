import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kinds } from '../../src/kinds/index.ts';
import { type Status, statusOf } from '../../src/sources/kubernetes/conditions.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { healthScripts, opinionsOf, type Judged } from './opinions.ts';
import { STATES, type State } from './states.ts';

const ROOT = resolve(import.meta.dirname, '../..');

interface Policy extends Judged {
  readonly status?: Status;
}

// What the conditions are for: whoever waits for a resource must neither wait for ever for one that is stuck, nor take for
// ready what is not.
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'kstatus'))('the conditions of a resource', () => {
  let kubernetes: KubernetesServer;

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    await kubectl('', 'apply', '-f', `${ROOT}/crds`);
    await kubectl('', 'wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all');
  });
  afterAll(() => kubernetes.stop());

  async function kubectl(input: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await kubernetes.kubectl(...args, { input });
    expect(code, stderr).toBe(0);
    return stdout;
  }

  const get = async (name: string): Promise<Policy> =>
    JSON.parse(await kubectl('', 'get', 'aclpolicy', name, '-o', 'json')) as Policy;

  /** Brings a resource into that state, in the way that users and the operator would. */
  async function bring(name: string, state: State): Promise<Policy> {
    const head = { apiVersion: 'nomad-access.io/v1alpha1', kind: 'AclPolicy', metadata: { name } };
    const remove = (): Promise<string> => kubectl('', 'delete', 'aclpolicy', name, '--wait=false');
    const metadata = { name, finalizers: ['nomad-access.io/finalizer'] };
    const spec = { rules: '# one', ...state.spec };
    await kubectl(JSON.stringify({ ...head, metadata, spec }), 'create', '-f', '-');
    if (state.isDeleting === true) await remove();
    if (state.report !== undefined) {
      const { metadata: found, status: before } = await get(name);
      const isDeleting = found.deletionTimestamp !== undefined;
      const status = statusOf(state.report, { generation: found.generation, isDeleting, before, now: Date.now() });
      const apply = ['apply', '--server-side', '--field-manager=nomad-access', '--subresource=status', '-f', '-'];
      await kubectl(JSON.stringify({ ...head, status }), ...apply);
    }
    if (state.then === 'edited')
      await kubectl('', 'patch', 'aclpolicy', name, '--type=merge', '-p', '{"spec":{"rules":"# two"}}');
    if (state.then === 'deleted') await remove();
    return get(name);
  }

  const isReady = async (name: string): Promise<boolean> =>
    (await kubernetes.kubectl('wait', '--for=condition=Ready', '--timeout=0s', `aclpolicy/${name}`)).code === 0;

  it.each(STATES.map((state, index) => [state.name, `state-${String(index)}`, state] as const))(
    '%s: kstatus, Flux, Argo CD and kubectl wait read it rightly',
    async (_name, name, state) => {
      const policy = await bring(name, state);
      const [opinions] = await opinionsOf([policy]);
      const conditions = policy.status?.conditions ?? [];
      expect({
        conditions: conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`),
        kstatus: opinions?.kstatus.status,
        argo: opinions?.argo.status,
        isReady: await isReady(name),
      }).toEqual({
        conditions: state.conditions,
        kstatus: state.kstatus,
        argo: state.argo,
        isReady: state.isReady,
      });
    },
  );

  it('their message is what Argo CD shows', async () => {
    const conflict = STATES.find((state) => state.argo === 'Degraded');
    const policy = await bring('message', conflict ?? expect.fail('no state is Degraded'));
    const [opinions] = await opinionsOf([policy]);
    expect(opinions?.argo.message).toBe(conflict?.report?.message);
  });

  it('what no controller of ours has written is no error either', async () => {
    const bare = { apiVersion: 'nomad-access.io/v1alpha1', kind: 'AclPolicy', metadata: { name: 'a', generation: 1 } };
    const opinions = await opinionsOf([bare, { ...bare, status: {} }, { ...bare, status: { conditions: [] } }]);
    expect(opinions.map(({ argo }) => argo.status)).toEqual(['Progressing', 'Progressing', 'Progressing']);
  });

  it('Argo CD has a health check for each kind, and takes the patch as it is', async () => {
    expect([...healthScripts().keys()].sort()).toEqual(kinds.map((kind) => kind.kind).sort());
    const config = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'argocd-cm' }, data: { url: 'kept' } };
    await kubectl(JSON.stringify(config), 'create', '-f', '-');
    const patch = ['--patch-file', `${ROOT}/manifests/argocd/argocd-cm.yaml`, '-o', 'json'];
    const patched = JSON.parse(await kubectl('', 'patch', 'configmap', 'argocd-cm', ...patch)) as { data: unknown };
    const scripts = [...healthScripts()].map(([kind, script]) => [
      `resource.customizations.health.nomad-access.io_${kind}`,
      script,
    ]);
    expect(patched.data).toEqual({ url: 'kept', ...(Object.fromEntries(scripts) as object) });
  });
});
