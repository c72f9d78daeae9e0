import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kinds } from '../../src/kinds/index.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { isRole, objectsIn, one, refOf, rulesOf, type Deployment, type Manifest } from './objects.ts';

const INSTALL = resolve(import.meta.dirname, '../../manifests/install');
const OPERATOR = 'system:serviceaccount:nomad-access:nomad-access';

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('kubectl apply -k manifests/install', () => {
  let kubernetes: KubernetesServer;
  const built = async (folder = INSTALL): Promise<Manifest[]> => {
    const { code, stdout, stderr } = await kubernetes.kubectl('kustomize', folder);
    expect(code, stderr).toBe(0);
    return objectsIn(stdout);
  };

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    const applied = await kubernetes.kubectl('apply', '-k', INSTALL);
    expect(applied.code, applied.stderr).toBe(0);
    // Until then the status of a CRD changes.
    const established = ['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all'];
    expect((await kubernetes.kubectl(...established)).code).toBe(0);
  });
  afterAll(() => kubernetes.stop());

  /** Whether an account may do something; a refusal is an answer, not an error. */
  async function mayI(verb: string, resource: string, as: string, ...more: string[]): Promise<boolean> {
    const [name = '', subresource] = resource.split('/');
    const sub = subresource === undefined ? [] : [`--subresource=${subresource}`];
    const { stdout } = await kubernetes.kubectl('auth', 'can-i', verb, name, ...sub, `--as=${as}`, ...more);
    return stdout.trim() === 'yes';
  }

  it('has made everything, and would change nothing at a second go', async () => {
    const difference = await kubernetes.kubectl('diff', '-k', INSTALL);
    expect([difference.code, difference.stdout, difference.stderr]).toEqual([0, '', '']);
  });

  it('has the CRD of every kind', async () => {
    const crds = (await built()).filter((o) => o.kind === 'CustomResourceDefinition');
    expect(crds.map((o) => o.metadata.name).sort()).toEqual(kinds.map((k) => `${k.plural}.nomad-access.io`).sort());
  });

  it('grants nothing by a wildcard, and no verb or resource twice', async () => {
    for (const folder of [INSTALL, `${INSTALL}/namespaced`]) {
      for (const role of (await built(folder)).filter(isRole)) {
        const rules = rulesOf(role);
        expect(rules.length, refOf(role)).toBeGreaterThan(0);
        const lists = rules.flatMap((r) => [r.apiGroups, r.resources, r.verbs]);
        expect(lists.flat().filter((word) => word.includes('*'))).toEqual([]);
        for (const list of lists) expect(new Set(list).size).toBe(list.length);
        const resources = rules.flatMap((r) => r.resources.map((name) => `${r.apiGroups.join()}/${name}`));
        expect(new Set(resources).size, `${refOf(role)}: one verb list for each resource`).toBe(resources.length);
      }
    }
  });

  it.each([
    ['list', 'aclpolicies.nomad-access.io', true],
    ['patch', 'acltokens.nomad-access.io', true],
    ['patch', 'vaultjwtintegrations.nomad-access.io/status', true],
    ['watch', 'nomadclusters.nomad-access.io', true],
    ['patch', 'vaultservers.nomad-access.io/status', true],
    ['create', 'events.events.k8s.io', true],
    ['delete', 'secrets', true],
    ['create', 'aclpolicies.nomad-access.io', false],
    ['delete', 'acltokens.nomad-access.io', false],
    ['patch', 'nomadclusters.nomad-access.io', false],
    ['get', 'configmaps', false],
    ['create', 'pods', false],
    ['create', 'serviceaccounts/token', false],
    ['get', 'nodes', false],
    ['escalate', 'clusterroles.rbac.authorization.k8s.io', false],
  ])('the operator, in any namespace: %s %s: %s', async (verb, resource, expected) => {
    expect(await mayI(verb, resource, OPERATOR, '-n', 'default')).toBe(expected);
  });

  it.each([
    ['create', 'leases.coordination.k8s.io', true],
    ['update', 'leases.coordination.k8s.io', true],
    ['list', 'configmaps', true],
    ['patch', 'configmaps', true],
    ['delete', 'leases.coordination.k8s.io', false],
    ['watch', 'configmaps', false],
  ])('the operator, in its own namespace: %s %s: %s', async (verb, resource, expected) => {
    expect(await mayI(verb, resource, OPERATOR, '-n', 'nomad-access')).toBe(expected);
  });

  it('grants the same in one namespace as in all of them, but nothing of connections', async () => {
    const ofAll = rulesOf(one(await built(), 'ClusterRole', 'nomad-access-operator'));
    const ofOne = rulesOf(one(await built(`${INSTALL}/namespaced`), 'Role', 'nomad-access-operator'));
    const isOfConnections = (resource: string): boolean => /^(nomadclusters|vaultservers)/.test(resource);
    expect(ofOne).toEqual(ofAll.filter((rule) => !rule.resources.some(isOfConnections)));
    expect(ofAll.length - ofOne.length).toBe(2);
  });

  it('people see and edit resources by their usual roles, but neither status, finalizers nor connections', async () => {
    const roles = (await built()).filter((o) => o.kind === 'ClusterRole');
    const aggregatedTo = (name: string): string[] =>
      Object.keys(one(roles, 'ClusterRole', name).metadata.labels ?? {}).filter((label) => label.includes('aggregate'));
    expect(aggregatedTo('nomad-access-view')).toEqual(['rbac.authorization.k8s.io/aggregate-to-view']);
    expect(aggregatedTo('nomad-access-edit').sort()).toEqual([
      'rbac.authorization.k8s.io/aggregate-to-admin',
      'rbac.authorization.k8s.io/aggregate-to-edit',
    ]);
    // No controller of aggregation here: the roles are bound directly.
    for (const [role, user] of [
      ['nomad-access-view', 'viewer'],
      ['nomad-access-edit', 'editor'],
    ] as const)
      await kubernetes.kubectl('create', 'rolebinding', user, `--clusterrole=${role}`, `--user=${user}`);
    const namespaced = kinds.filter((k) => k.scope === 'Namespaced').map((k) => `${k.plural}.nomad-access.io`);
    for (const resource of namespaced) {
      for (const verb of ['get', 'list', 'watch']) expect(await mayI(verb, resource, 'viewer')).toBe(true);
      expect(await mayI('create', resource, 'viewer')).toBe(false);
      for (const verb of ['create', 'update', 'patch', 'delete'])
        expect(await mayI(verb, resource, 'editor')).toBe(true);
      for (const sub of ['status', 'finalizers'])
        expect(await mayI('patch', `${resource}/${sub}`, 'editor')).toBe(false);
    }
    for (const resource of ['nomadclusters.nomad-access.io', 'vaultservers.nomad-access.io'])
      for (const user of ['viewer', 'editor'])
        for (const verb of ['get', 'patch']) expect(await mayI(verb, resource, user)).toBe(false);
  });

  it('its pod is admitted where the Pod Security Standard `restricted` is enforced', async () => {
    const { template } = one<Deployment>(await built(), 'Deployment', 'nomad-access').spec;
    const pod = (spec: object): Promise<{ code: number; stderr: string }> => {
      const object = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'try', namespace: 'nomad-access' }, spec };
      return kubernetes.kubectl('apply', '--dry-run=server', '-f', '-', { input: JSON.stringify(object) });
    };
    const admitted = await pod(template.spec);
    expect([admitted.code, admitted.stderr]).toEqual([0, '']);
    const [container] = template.spec.containers;
    const careless = await pod({ ...template.spec, containers: [{ ...container, securityContext: {} }] });
    expect(careless.stderr).toContain('violates PodSecurity "restricted:latest"');
  });

  it('its pod cannot write to its root, and only it has a token of the ServiceAccount', async () => {
    const objects = await built();
    const { spec } = one<Deployment>(objects, 'Deployment', 'nomad-access').spec.template;
    expect(spec.containers).toHaveLength(1);
    expect(spec.containers[0]?.securityContext).toMatchObject({ readOnlyRootFilesystem: true });
    expect(spec.automountServiceAccountToken).toBe(true);
    expect(objects.find((o) => o.kind === 'ServiceAccount')).toMatchObject({ automountServiceAccountToken: false });
  });

  it('the service, the budget, the network policy and the spread all mean the pods of the deployment', async () => {
    const objects = await built();
    const { template, selector } = one<Deployment>(objects, 'Deployment', 'nomad-access').spec;
    expect(template.metadata.labels).toMatchObject(selector.matchLabels);
    const selectors = JSON.stringify([
      one<{ spec: { selector: unknown } }>(objects, 'Service', 'nomad-access').spec.selector,
      one<Deployment>(objects, 'PodDisruptionBudget', 'nomad-access').spec.selector.matchLabels,
      one<{ spec: { podSelector: Deployment['spec']['selector'] } }>(objects, 'NetworkPolicy', 'nomad-access').spec
        .podSelector.matchLabels,
      template.spec.topologySpreadConstraints[0]?.labelSelector.matchLabels,
    ]);
    expect(selectors).toBe(JSON.stringify(Array.from({ length: 4 }, () => selector.matchLabels)));
  });

  it('the namespaced variant reaches its namespaces and no other', async () => {
    // The one for all namespaces would grant what is denied here.
    await kubernetes.kubectl('delete', '-k', `${INSTALL}/cluster`);
    await kubernetes.kubectl('create', 'namespace', 'apps');
    const applied = await kubernetes.kubectl('apply', '-k', `${INSTALL}/namespaced`);
    expect(applied.code, applied.stderr).toBe(0);
    for (const [namespace, expected] of [
      ['apps', true],
      ['default', false],
    ] as const) {
      for (const [verb, resource] of [
        ['list', 'aclpolicies.nomad-access.io'],
        ['patch', 'acltokens.nomad-access.io/status'],
        ['create', 'secrets'],
        ['create', 'events.events.k8s.io'],
      ] as const)
        expect(await mayI(verb, resource, OPERATOR, '-n', namespace), `${verb} ${resource} in ${namespace}`).toBe(
          expected,
        );
      expect(await mayI('list', 'secrets', OPERATOR, '-n', 'nomad-access')).toBe(true);
      expect(await mayI('create', 'secrets', OPERATOR, '-n', 'nomad-access')).toBe(false);
    }
    expect(await mayI('watch', 'nomadclusters.nomad-access.io', OPERATOR)).toBe(true);
    expect(await mayI('patch', 'nomadclusters.nomad-access.io/status', OPERATOR)).toBe(false);
    const { template } = one<Deployment>(await built(`${INSTALL}/namespaced`), 'Deployment', 'nomad-access').spec;
    expect(template.spec.containers[0]?.args.slice(-2)).toEqual(['--namespace', 'apps']);
  });
});
