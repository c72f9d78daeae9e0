import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { policy, resource, until, useCluster, type Cluster, type Shown } from './cluster.ts';
import { Leaks } from './leaks.ts';

interface Sink {
  readonly name: string;
  readonly keys?: Readonly<Record<string, string>>;
}

function token(sink: Sink, more = ''): string {
  return resource(
    'AclToken',
    'ci',
    `policies: [readonly]\nwriteSecretTo: ${JSON.stringify({ kubernetesSecret: sink })}${more}`,
  );
}

const decoded = (shown: Shown | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries(shown?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
  );

/** Waits until the Secret lets its reader in at Nomad. @returns the Secret. */
function usable(
  cluster: Cluster,
  name: string,
  [accessorKey, secretKey] = ['accessor_id', 'secret_id'],
): Promise<Shown> {
  return until(`Secret ${name} can be used`, async () => {
    const shown = await cluster.get('secret', name);
    const { [accessorKey]: accessorId = '', [secretKey]: secretId = '' } = decoded(shown);
    const { SecretID } = accessorId === '' ? {} : await cluster.liveNomad.token(accessorId);
    return secretId !== '' && SecretID === secretId ? shown : undefined;
  });
}

/** What an application that reads its token from a Secret sees of all that may happen. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('the Secret of a token', () => {
  const rig = useCluster();

  it('can be used, is put back when it is touched, moves, and goes with its token; and nobody else sees the secret', async () => {
    const { cluster } = rig;
    const leaks = new Leaks();
    await cluster.connect();
    await cluster.apply(policy('readonly'), token({ name: 'login' }));
    const operator = await cluster.operator();
    await cluster.waitReady('acltoken', 'ci');
    const made = await usable(cluster, 'login');
    await leaks.collect(cluster.liveNomad);
    const { live } = (await cluster.get('acltoken', 'ci'))?.status ?? {};
    expect(live).toMatchObject({ secretName: 'login', accessorId: decoded(made)['accessor_id'] });

    const edits = ['{"data":{"secret_id":"eA=="}}', '{"data":{"accessor_id":null}}'];
    for (const edit of edits) {
      await cluster.kubectl('patch', 'secret', 'login', '--type=merge', '-p', edit);
      expect((await usable(cluster, 'login')).metadata.uid).toBe(made.metadata.uid);
    }
    await cluster.kubectl('label', 'secret', 'login', 'app.kubernetes.io/managed-by-', 'team=a');
    await until('it has its label again', async () => {
      const labels = await cluster.kubectl('get', 'secret', 'login', '-o', 'jsonpath={.metadata.labels}');
      return labels.includes('nomad-access') && labels.includes('team') ? labels : undefined;
    });
    await cluster.kubectl('delete', 'secret', 'login');
    expect(decoded(await usable(cluster, 'login'))).toEqual(decoded(made));

    const keys = { accessorId: 'id', secretId: 'token' };
    await cluster.apply(token({ name: 'login', keys }));
    expect(Object.keys(decoded(await usable(cluster, 'login', ['id', 'token'])))).toEqual(['id', 'token']);
    await cluster.apply(token({ name: 'moved' }));
    await usable(cluster, 'moved');
    await until('the former one is gone', async () => ((await cluster.get('secret', 'login')) ? undefined : true));

    await cluster.kubectl('delete', 'acltoken', 'ci', '--timeout=60s');
    expect(await cluster.get('secret', 'moved')).toBeUndefined();
    expect(await cluster.liveNomad.marked()).toEqual([]);
    const told = await cluster.kubectl('get', 'events.events.k8s.io,configmaps,acltokens', '-A', '-o', 'yaml');
    expect(leaks.secrets.size).toBeGreaterThan(1);
    expect(leaks.in(told + operator.log() + operator.output())).toEqual([]);
  });

  it('that somebody else has is left alone, says so, and is not deleted with the AclToken', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.kubectl('create', 'secret', 'generic', 'theirs', '--from-literal=password=x');
    const before = await cluster.get('secret', 'theirs');
    await cluster.apply(policy('readonly'), token({ name: 'theirs' }, '\nadoptionPolicy: Always'));
    await cluster.operator();
    const shown = await cluster.untilReason('Conflict', 'acltoken', 'ci');
    expect(JSON.stringify(shown.status)).toContain('name another Secret');
    await cluster.kubectl('delete', 'acltoken', 'ci', '--timeout=60s');
    expect(await cluster.get('secret', 'theirs')).toEqual(before);
    await cluster.kubectl('delete', 'secret', 'theirs');
  });

  it('outlives an AclToken whose objects are orphaned', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'), token({ name: 'stays' }, '\ndeletionPolicy: Orphan'));
    await cluster.operator();
    await cluster.waitReady('acltoken', 'ci');
    await cluster.kubectl('delete', 'acltoken', 'ci', '--timeout=60s');
    await usable(cluster, 'stays');
    const owners = await cluster.kubectl('get', 'secret', 'stays', '-o', 'jsonpath={.metadata.ownerReferences}');
    expect(owners).toBe('');
  });
});
