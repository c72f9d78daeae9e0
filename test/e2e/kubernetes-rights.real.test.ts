import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { AnyKind } from '../../src/contract/kind.ts';
import { kinds } from '../../src/kinds/index.ts';
import { requireServers } from '../servers/binaries.ts';
import { Cluster, HOME, policy, resource, until } from './cluster.ts';
import { ASK } from './kubernetes-objects.ts';
import { giveBack, RIGHTS, takeAway, textOf, type Right } from './operator-rights.ts';
import type { RunningOperator } from './running.ts';

/** What a right is for. */
interface Purpose {
  /** An operator asks for it only when it begins to act: one is started without it. */
  readonly isOfStart?: true;
  /** Makes the operator need it. @param name that nothing has yet. */
  readonly need: (cluster: Cluster, name: string) => Promise<unknown>;
  /** Whether that was done for which it is needed. */
  readonly isDone: (cluster: Cluster, name: string, operator: RunningOperator) => Promise<boolean>;
}

/** One of each kind, declared from the beginning; of all that no test here looks into, the example, suspended. */
const LIVING = { aclpolicies: 'readonly', acltokens: 'dashboard', vaultjwtintegrations: 'workloads' } as const;
const OTHERS = kinds.filter(({ scope, plural }) => scope === 'Namespaced' && !(plural in LIVING));
const CONNECTIONS = { nomadclusters: 'default', vaultservers: 'default' } as const;
const KINDS: Readonly<Record<string, string>> = {
  ...LIVING,
  ...Object.fromEntries(OTHERS.map(({ plural }) => [plural, 'suspended'])),
  ...CONNECTIONS,
};

const token = (name: string): string =>
  resource('AclToken', name, `policies: [readonly]\nwriteSecretTo: { kubernetesSecret: { name: ${name} } }`);
function suspended({ example }: AnyKind): (name: string) => string {
  const shown = parse(example) as { readonly spec: object };
  return (name) =>
    JSON.stringify({ ...shown, metadata: { name, namespace: 'default' }, spec: { ...shown.spec, suspend: true } });
}
const MANIFESTS: Readonly<Record<string, (name: string) => string>> = {
  ...Object.fromEntries(OTHERS.map((kind) => [kind.plural, suspended(kind)])),
  aclpolicies: (name) => policy(name),
  acltokens: token,
  vaultjwtintegrations: (name) => resource('VaultJwtIntegration', name, 'suspend: true'),
};

const policyIsMade = (extra: Partial<Purpose> = {}): Purpose => ({
  need: (cluster, name) => cluster.apply(policy(name)),
  isDone: async (cluster, name) => (await cluster.liveNomad.rulesOf(name)) !== undefined,
  ...extra,
});
/** What is told by a watch alone is known late without it: the operator says that it is not ready. */
const isWatched: Purpose = {
  isOfStart: true,
  need: () => Promise.resolve(),
  isDone: async (_cluster, _name, operator) => (await operator.get('/readyz')).status === 200,
};
const isSecretMade: Purpose = {
  need: (cluster, name) => cluster.apply(token(name)),
  isDone: async (cluster, name) => (await cluster.get('secret', name)) !== undefined,
};

/** With nothing of that type there, an operator is started, and a policy is declared. */
function policyIsMadeWithout(type: string): Purpose {
  return policyIsMade({
    isOfStart: true,
    need: async (cluster, name) => {
      await cluster.kubectl('delete', type, '--all', '-n', HOME);
      await cluster.apply(policy(name));
    },
  });
}

/** A status that is taken away, as nobody but an administrator can, is written again. */
function statusIsWritten(kind: string, name: string): Purpose {
  const wiped = '{"status":{"conditions":[]}}';
  return {
    need: (cluster) => cluster.kubectl('patch', kind, name, '--subresource=status', '--type=merge', '-p', wiped),
    isDone: async (cluster) => ((await cluster.get(kind, name))?.status?.conditions ?? []).length > 0,
  };
}

function finalizerStands(kind: string, manifest: (name: string) => string): Purpose {
  return {
    need: (cluster, name) => cluster.apply(manifest(name)),
    isDone: async (cluster, name) => (await cluster.get(kind, name))?.metadata.finalizers !== undefined,
  };
}

const WRONG = Buffer.from('wrong').toString('base64');

/** By `verb resource`. */
const PURPOSES: Readonly<Record<string, Purpose>> = {
  ...Object.fromEntries(
    Object.entries(KINDS).flatMap(([kind, name]): [string, Purpose][] => [
      [`list ${kind}`, policyIsMade({ isOfStart: true })],
      [`watch ${kind}`, isWatched],
      [`patch ${kind}/status`, statusIsWritten(kind, name)],
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(MANIFESTS).map(([kind, manifest]) => [`patch ${kind}`, finalizerStands(kind, manifest)]),
  ),
  'create events': {
    need: async (cluster, name) => {
      await cluster.kubectl('delete', 'events.events.k8s.io', '--all');
      await cluster.liveNomad.putPolicy('readonly', `namespace "${name}" { policy = "write" }`);
    },
    isDone: async (cluster) => (await cluster.kubectl('get', 'events.events.k8s.io', '-o', 'name')) !== '',
  },
  'list secrets': policyIsMade({ isOfStart: true }),
  'watch secrets': isWatched,
  'get secrets': isSecretMade,
  'create secrets': isSecretMade,
  'patch secrets': {
    need: (cluster) =>
      cluster.kubectl('patch', 'secret', 'dashboard', '--type=merge', '-p', `{"data":{"secret_id":"${WRONG}"}}`),
    isDone: async (cluster) => (await cluster.get('secret', 'dashboard'))?.data?.['secret_id'] !== WRONG,
  },
  'delete secrets': {
    need: async (cluster, name) => {
      await cluster.apply(token(name));
      await cluster.waitReady('acltoken', name);
      await cluster.kubectl('delete', 'acltoken', name, '--wait=false');
    },
    isDone: async (cluster, name) => (await cluster.get('secret', name)) === undefined,
  },
  'get leases': policyIsMade({ isOfStart: true }),
  'update leases': policyIsMade({ isOfStart: true }),
  'create leases': policyIsMadeWithout('lease'),
  'list configmaps': policyIsMade({ isOfStart: true }),
  'create configmaps': policyIsMadeWithout('configmap'),
  'patch configmaps': policyIsMade(),
  // Somebody labels the inventory: what it holds is looked at before it is written to again.
  'get configmaps': policyIsMade({
    need: async (cluster, name) => {
      await cluster.kubectl('label', 'configmap', '--all', '-n', HOME, '--overwrite', `labelled=${name}`);
      await cluster.apply(policy(name));
    },
  }),
};

/**
 * Each verb for each resource that the installed roles name is taken away by itself from an operator that then needs it.
 * Shown is that something is not done without it, that the log names the verb and the resource and says what to do, and that
 * the operator does it, without a restart, once the right is there again. The list is that of the manifests: what is granted
 * anew fails here until it is said what it is for. What the right is for is one use of it: there may be others.
 */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('the operator needs', () => {
  let cluster: Cluster;
  let operator: RunningOperator;
  let tests = 0;

  beforeAll(async () => {
    cluster = await Cluster.start();
    await cluster.connect();
    await cluster.apply(policy('readonly'), token('dashboard'), resource('VaultJwtIntegration', 'workloads', '{}'));
    await cluster.apply(...OTHERS.map((kind) => suspended(kind)('suspended')));
    operator = await cluster.operator();
    for (const [kind, name] of Object.entries({ ...LIVING, ...CONNECTIONS })) await cluster.waitReady(kind, name);
    for (const { plural } of OTHERS)
      await until(`the status of ${plural}`, async () => (await cluster.get(plural, 'suspended'))?.status?.conditions);
  });
  afterAll(() => cluster.stop());

  /** What was refused is tried again after half a minute, or when somebody asks for it. */
  async function askFor(name: string): Promise<void> {
    const request = `${ASK.reconcile}=${String(++tests)}`;
    for (const each of [`acltoken/${name}`, 'acltoken/dashboard'])
      await cluster.kubernetes.kubectl('annotate', each, '--overwrite', request);
  }

  async function needs(right: Right, { isOfStart, need, isDone }: Purpose): Promise<void> {
    const name = `needed-${String(++tests)}`;
    const done = async (): Promise<true | undefined> => (await isDone(cluster, name, operator)) || undefined;
    if (isOfStart) await operator.stop();
    const before = isOfStart ? 0 : operator.log().length;
    await takeAway(cluster, right);
    await need(cluster, name);
    if (isOfStart) operator = await cluster.operator();
    const told = await until(`it is told that ${textOf(right)} is missing`, () => {
      const lines = operator.log().slice(before).replaceAll('\\"', '"').split('\n');
      return Promise.resolve(lines.find((l) => l.includes(` cannot ${right.verb} resource "${right.resource}" in`)));
    });
    expect(told).toContain('give the operator that right (RBAC, see manifests/install)');
    expect(await done(), `done without the right to ${textOf(right)}`).toBeUndefined();
    await giveBack(cluster, right);
    if (right.resource === 'events') await need(cluster, `${name}-again`);
    else if (right.resource === 'secrets' && !isOfStart) await askFor(name);
    await until(`it is done with the right to ${textOf(right)}`, done);
  }

  it('nothing else: there is no right of which nobody says what it is for', () => {
    expect(RIGHTS.map(textOf).filter((right) => PURPOSES[right] === undefined)).toEqual([]);
    expect(Object.keys(PURPOSES).sort()).toEqual(RIGHTS.map(textOf).sort());
  });

  it('no more than all of them: a whole life and a takeover go without a refusal', async () => {
    await cluster.apply(policy('whole'), token('whole'));
    await cluster.waitReady('acltoken', 'whole');
    await cluster.liveNomad.putPolicy('whole', 'namespace "default" { policy = "write" }');
    await until('the drift is told of', async () => (await cluster.get('aclpolicy', 'whole'))?.status?.lastDrift);
    const successor = await cluster.operator();
    await operator.stop();
    await cluster.kubectl('delete', 'acltoken/whole', 'aclpolicy/whole', '--timeout=60s');
    for (const { log } of [operator, successor]) expect(log()).not.toContain('forbidden');
    operator = successor;
  });

  it.each(RIGHTS.map((right) => [textOf(right), right] as const))('the right to %s', async (text, right) => {
    const purpose = PURPOSES[text];
    if (purpose === undefined) throw new Error(`nobody says what it is for`);
    await needs(right, purpose);
  });
});
