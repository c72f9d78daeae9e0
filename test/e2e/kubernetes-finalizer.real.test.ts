import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { policy, until, useCluster, type Cluster } from './cluster.ts';
import {
  ask,
  conditionOf,
  deleteSoon,
  eventsOf,
  FINALIZER,
  patch,
  policyWith,
  untilGone,
  untilShown,
} from './kubernetes-objects.ts';

const STRIPPED = { metadata: { finalizers: null } };

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('the finalizer', () => {
  const rig = useCluster();

  it('comes back where somebody takes it off a resource that is still wanted', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    const made = await createIndex(cluster, 'readonly');
    await patch(cluster, 'aclpolicy', 'readonly', STRIPPED);
    await untilShown(
      cluster,
      'aclpolicy',
      'readonly',
      'has it',
      ({ metadata }) => metadata.finalizers?.[0] === FINALIZER,
    );
    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=60s');
    expect(made).toBeGreaterThan(0);
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
  });

  it('that somebody took off, and the resource with it, while no operator ran: what was made goes at the next start', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'), policy('kept'));
    const { stop } = await cluster.operator();
    for (const name of ['readonly', 'kept']) await cluster.waitReady('aclpolicy', name);
    await stop();
    await vanish(cluster, ['readonly']);
    await cluster.operator();
    await until('it is gone from Nomad', async () =>
      (await cluster.liveNomad.policyNames()).includes('readonly') ? undefined : true,
    );
    expect(await cluster.liveNomad.policyNames()).toEqual(['kept']);
  });

  it('that somebody took off most resources at once: nothing is deleted before a person allows it', async () => {
    const { cluster } = rig;
    await cluster.connect();
    const names = ['one', 'two', 'three', 'four', 'five', 'six'];
    await cluster.apply(...names.map((name) => policy(name)), policy('kept'));
    const first = await cluster.operator();
    for (const name of [...names, 'kept']) await cluster.waitReady('aclpolicy', name);
    await first.stop();
    await vanish(cluster, names);
    const careful = await cluster.operator();
    await careful.until('nomad_access_deletions_held', 6);
    expect(careful.log()).toContain('--allow-mass-delete');
    // Whoever asks for a deletion properly still gets it.
    await cluster.kubectl('delete', 'aclpolicy', 'kept', '--timeout=60s');
    expect(await cluster.liveNomad.policyNames()).toEqual([...names].sort());
    // One that is declared again is not lost, though the others are still held back.
    await cluster.apply(policy('one'));
    await cluster.waitReady('aclpolicy', 'one');
    expect(await cluster.liveNomad.policyNames()).toEqual([...names].sort());
    await careful.stop();
    await cluster.operator(['--allow-mass-delete']);
    await until('only what is declared is left', async () =>
      (await cluster.liveNomad.policyNames()).join() === 'one' ? true : undefined,
    );
  });

  it('goes without a deletion on Nomad where the policy says Orphan, though it says so only just before', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('kept'), policyWith('destroyed', ['deletionPolicy: Orphan']));
    await cluster.operator();
    for (const name of ['kept', 'destroyed']) await cluster.waitReady('aclpolicy', name);
    const made = await createIndex(cluster, 'kept');
    await patch(cluster, 'aclpolicy', 'kept', { spec: { deletionPolicy: 'Orphan' } });
    await deleteSoon(cluster, 'aclpolicy', 'kept');
    await patch(cluster, 'aclpolicy', 'destroyed', { spec: { deletionPolicy: 'Delete' } });
    await deleteSoon(cluster, 'aclpolicy', 'destroyed');
    for (const name of ['kept', 'destroyed']) await untilGone(cluster, 'aclpolicy', name);
    expect(await cluster.liveNomad.policyNames()).toEqual(['kept']);
    expect(await createIndex(cluster, 'kept')).toBe(made);
  });

  it('stays while the resource is suspended, and says so; it goes when that ends', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { suspend: true } });
    await deleteSoon(cluster, 'aclpolicy', 'readonly');
    const waiting = await untilShown(
      cluster,
      'aclpolicy',
      'readonly',
      'says that it is suspended',
      (shown) => shown.metadata.deletionTimestamp !== undefined && conditionOf(shown)?.reason === 'Suspended',
    );
    expect(conditionOf(waiting)?.message).toContain('spec.suspend');
    expect(conditionOf(waiting)?.status).not.toBe('True');
    expect(await cluster.liveNomad.policyNames()).toEqual(['readonly']);
    await patch(cluster, 'aclpolicy', 'readonly', { spec: { suspend: false } });
    await untilGone(cluster, 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
  });

  it('holds up nobody where the resource was suspended from the beginning: nothing of it was made', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.liveNomad.putPolicy('readonly', 'namespace "default" { policy = "write" }');
    await cluster.apply(policyWith('readonly', ['suspend: true']));
    await cluster.operator();
    await cluster.untilReason('Suspended', 'aclpolicy', 'readonly');
    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=60s');
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('write');
  });

  it('of a resource that is made anew as soon as it is gone stands on the new one, which is as declared', async () => {
    const { cluster } = rig;
    await cluster.connect();
    const operator = await cluster.operator();
    const path = '/apis/nomad-access.io/v1alpha1/namespaces/default/aclpolicies';
    for (let life = 1; life <= 20; life++) {
      const rules = `# life ${String(life)}\nnamespace "default" { policy = "read" }`;
      const body = {
        apiVersion: 'nomad-access.io/v1alpha1',
        kind: 'AclPolicy',
        metadata: { name: 'readonly' },
        spec: { rules },
      };
      await until('the one before is gone', async () => {
        const { status } = await ask(cluster, 'POST', path, body, 'application/json');
        return status === 201 ? true : undefined;
      });
      // Some are deleted before anything is made of them, some while it is being made, some after.
      if (life % 3 === 0 || life === 20) await cluster.waitReady('aclpolicy', 'readonly');
      if (life % 3 === 1) await until('it has its finalizer', () => finalized(cluster));
      if (life < 20) await ask(cluster, 'DELETE', `${path}/readonly`);
    }
    expect(await cluster.liveNomad.rulesOf('readonly')).toContain('# life 20\n');
    expect(await finalized(cluster)).toBe(true);
    expect(operator.log()).not.toContain('unexpected');
  });

  it.each(['identical', 'different'])(
    'goes where another resource takes over with %s rules: Nomad never misses the policy',
    async (rules) => {
      const { cluster } = rig;
      await cluster.connect();
      const names = ['first', 'second'];
      await cluster.apply(policyWith('first', ['name: shared']));
      await cluster.operator();
      await cluster.waitReady('aclpolicy', 'first');
      await cluster.apply(policyWith('second', ['name: shared'], rules === 'identical' ? 'read' : 'write'));
      await cluster.untilReason('Conflict', 'aclpolicy', 'second');
      const made = await createIndex(cluster, 'shared');
      await cluster.kubectl('delete', 'aclpolicy', 'first', '--timeout=60s');
      await cluster.untilReason('InSync', 'aclpolicy', 'second');
      // Whatever is made anew has a new one.
      expect(await createIndex(cluster, 'shared')).toBe(made);
      expect(await cluster.liveNomad.rulesOf('shared')).toContain(rules === 'identical' ? 'read' : 'write');
      expect((await eventsOf(cluster, names[0] ?? '')).map(({ reason }) => reason)).not.toContain('Deleted');
      await cluster.kubectl('delete', 'aclpolicy', 'second', '--timeout=60s');
      expect(await cluster.liveNomad.policyNames()).toEqual([]);
    },
  );
});

async function finalized(cluster: Cluster): Promise<true | undefined> {
  const { metadata } = (await cluster.get('aclpolicy', 'readonly')) ?? {};
  return metadata?.finalizers?.includes(FINALIZER) === true ? true : undefined;
}

/** As `kubectl delete` does it where no finalizer is left. */
async function vanish(cluster: Cluster, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await patch(cluster, 'aclpolicy', name, STRIPPED);
    await cluster.kubectl('delete', 'aclpolicy', name, '--timeout=60s');
  }
}

/** Nomad's index at which a policy was made. */
async function createIndex(cluster: Cluster, name: string): Promise<number> {
  const { status, body } = await cluster.liveNomad.request<{ CreateIndex: number }>('GET', `/v1/acl/policy/${name}`);
  expect(status).toBe(200);
  return body.CreateIndex;
}
