import { join, resolve as resolvePath } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { Cluster, HOME, policy, resource, until } from './cluster.ts';
import { conditionOf, FINALIZER } from './kubernetes-objects.ts';
import type { RunningOperator } from './running.ts';

const INSTALL = resolvePath(import.meta.dirname, '../../manifests/install');
/** The status of what nobody has looked at yet. */
const UNSEEN = { observedGeneration: -1 };

const token = (name: string, namespace: string): string =>
  resource('AclToken', name, 'policies: [in-apps]\nwriteSecretTo: { kubernetesSecret: { name: secret } }', namespace);

/** The variant that `manifests/install/namespaced` installs: Roles in the namespaces that are served, and no right elsewhere. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('with --namespace', () => {
  let cluster: Cluster;

  /** An operator for some namespaces. @param owner of its inventory. */
  function serving(owner: string, ...namespaces: string[]): Promise<RunningOperator> {
    return cluster.operator(['--owner', owner, ...namespaces.flatMap((name) => ['--namespace', name])]);
  }

  beforeAll(async () => {
    cluster = await Cluster.start();
    for (const name of ['apps', 'more', 'other']) await cluster.kubectl('create', 'namespace', name);
    await cluster.kubectl('delete', '-k', join(INSTALL, 'cluster'));
    await cluster.kubectl('apply', '-k', join(INSTALL, 'namespaced'));
    // "For each further one a copy of apps.yaml."
    const apps = await cluster.kubectl('kustomize', join(INSTALL, 'namespaced'));
    const roles = apps.split('\n---\n').filter((text) => /^ {2}namespace: apps$/m.test(text));
    expect(roles).toHaveLength(2);
    for (const name of ['more', 'other'])
      await cluster.apply(...roles.map((text) => text.replace(/^ {2}namespace: apps$/m, `  namespace: ${name}`)));
    await cluster.connect();
  });
  afterEach(() => cluster.killOperators());
  afterAll(() => cluster.stop());

  it('all of a life goes on in the namespace, under the Roles of that variant, and nothing elsewhere', async () => {
    await cluster.apply(
      policy('in-apps', 'read', 'apps'),
      token('token', 'apps'),
      resource('VaultJwtIntegration', 'workloads', '{}', 'apps'),
      policy('in-more', 'read', 'more'),
      policy('in-default', 'read', 'default'),
    );
    const operator = await serving('default', 'apps');
    for (const each of ['aclpolicy/in-apps', 'acltoken/token', 'vaultjwtintegration/workloads']) {
      const [kind = '', name = ''] = each.split('/');
      await cluster.waitReady(kind, name, 'apps');
    }
    expect(await cluster.liveNomad.policyNames()).toEqual(['in-apps']);
    expect(Object.keys((await cluster.get('secret', 'secret', 'apps'))?.data ?? {})).toContain('secret_id');
    for (const namespace of ['more', 'default']) {
      const ignored = await cluster.get('aclpolicy', `in-${namespace}`, namespace);
      expect([ignored?.metadata.finalizers, ignored?.status]).toEqual([undefined, UNSEEN]);
    }

    await cluster.liveNomad.putPolicy('in-apps', 'namespace "default" { policy = "write" }');
    await until(
      'the drift is told of',
      async () => (await cluster.get('aclpolicy', 'in-apps', 'apps'))?.status?.lastDrift,
    );
    await cluster.kubectl('delete', 'secret', 'secret', '-n', 'apps');
    await until('the Secret is there again', () => cluster.get('secret', 'secret', 'apps'));
    await cluster.kubectl('delete', 'acltoken', 'token', '-n', 'apps', '--timeout=60s');
    expect(await cluster.liveNomad.marked()).toEqual([]);
    expect(await cluster.kubectl('get', 'events.events.k8s.io', '-n', 'apps', '-o', 'name')).not.toBe('');
    expect(operator.log()).not.toContain('forbidden');
    expect((await operator.get('/readyz')).status).toBe(200);
    await operator.stop();
  });

  it('nothing is written to the status of connections', async () => {
    for (const kind of ['nomadcluster', 'vaultserver'])
      expect((await cluster.get(kind, 'default'))?.status).toEqual(UNSEEN);
  });

  it('several namespaces are served; what was made of one that is served no more stays as it is, and its own', async () => {
    const both = await serving('default', 'apps', 'more');
    await cluster.waitReady('aclpolicy', 'in-more', 'more');
    await cluster.apply(...Array.from({ length: 6 }, (_, i) => policy(`more-${String(i)}`, 'read', 'more')));
    for (let i = 0; i < 6; i++) await cluster.waitReady('aclpolicy', `more-${String(i)}`, 'more');
    await both.stop();
    const live = await cluster.liveNomad.everything();
    const inventory = await inventoryOf('default');
    expect(inventory.filter((text) => text.includes('"namespace":"more"'))).toHaveLength(7);

    const one = await serving('default', 'apps');
    // What is served no more is asked to go, meanwhile; and somebody else declares the same name.
    await cluster.kubectl('delete', 'aclpolicy', 'more-0', '-n', 'more', '--wait=false');
    const rival = 'name: more-1\nadoptionPolicy: Always\nrules: ""';
    await cluster.apply(resource('AclPolicy', 'rival', rival, 'apps'), policy('last', 'read', 'apps'));
    await cluster.waitReady('aclpolicy', 'last', 'apps');
    const refused = await cluster.untilReason('Conflict', 'aclpolicy', 'rival', 'apps');
    expect(conditionOf(refused)?.message).toContain('AclPolicy more/more-1');
    await cluster.kubectl('delete', 'aclpolicy/rival', 'aclpolicy/last', '-n', 'apps', '--timeout=60s');
    await one.stop();
    expect(await cluster.liveNomad.everything()).toEqual(live);
    expect(await inventoryOf('default')).toEqual(inventory);
    expect((await cluster.get('aclpolicy', 'more-0', 'more'))?.metadata.finalizers).toEqual([FINALIZER]);

    const again = await serving('default', 'apps', 'more');
    await until('what was asked for meanwhile is done', async () =>
      (await cluster.get('aclpolicy', 'more-0', 'more')) === undefined ? true : undefined,
    );
    expect(await cluster.liveNomad.policyNames()).not.toContain('more-0');
    await again.stop();
  });

  it('two operators with owners of their own serve a namespace each on one Nomad, and leave each other alone', async () => {
    await cluster.apply(token('theirs', 'apps'), policy('in-other', 'read', 'other'), token('theirs', 'other'));
    const [first, second] = await Promise.all([serving('default', 'apps'), serving('second', 'other')]);
    await cluster.waitReady('acltoken', 'theirs', 'apps');
    await cluster.waitReady('acltoken', 'theirs', 'other');
    expect(await cluster.liveNomad.marked()).toHaveLength(2);
    // The name of what the first one has made.
    await cluster.apply(resource('AclPolicy', 'in-apps', 'rules: ""', 'other'));
    await cluster.untilReason('Conflict', 'aclpolicy', 'in-apps', 'other');
    await cluster.kubectl('delete', 'aclpolicy/in-apps', 'acltoken/theirs', '-n', 'other', '--timeout=60s');
    expect(await cluster.liveNomad.rulesOf('in-apps')).toContain('policy = "read"');
    expect(await cluster.liveNomad.marked()).toHaveLength(1);
    await cluster.liveNomad.putPolicy('in-other', 'namespace "default" { policy = "write" }');
    await until(
      'the second one puts it back',
      async () => (await cluster.get('aclpolicy', 'in-other', 'other'))?.status?.lastDrift,
    );
    expect(conditionOf(await cluster.get('aclpolicy', 'in-apps', 'apps'))?.reason).toBe('InSync');
    await Promise.all([first.stop(), second.stop()]);
    for (const { log } of [first, second]) expect(log()).not.toContain('forbidden');
  });

  it('a namespace that the operator may not read is named, and the others wait for it', async () => {
    await cluster.kubectl('create', 'namespace', 'unread');
    await cluster.apply(policy('waits', 'read', 'apps'));
    const operator = await serving('default', 'apps', 'unread');
    await until('the log says so', () =>
      Promise.resolve(
        /cannot list resource.*in the namespace .{0,2}unread.*give the operator that right/.exec(operator.log()) ??
          undefined,
      ),
    );
    expect((await operator.get('/readyz')).status).toBe(503);
    expect(await cluster.liveNomad.rulesOf('waits')).toBeUndefined();
    await operator.stop();
  });

  /** What the inventory of an owner holds, entry by entry. */
  async function inventoryOf(owner: string): Promise<string[]> {
    const text = await cluster.kubectl(
      'get',
      'configmaps',
      '-n',
      HOME,
      '-l',
      `nomad-access.io/owner=${owner}`,
      '-o',
      'json',
    );
    const { items } = JSON.parse(text) as { items: { metadata: { name: string }; data?: Record<string, string> }[] };
    return items
      .filter(({ metadata }) => /-inventory-\d+$/.test(metadata.name))
      .flatMap(({ data }) => Object.values(data ?? {}))
      .sort();
  }
});
