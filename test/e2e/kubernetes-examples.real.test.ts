import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, until, useCluster, type Shown } from './cluster.ts';

const EXAMPLES = join(import.meta.dirname, '../../manifests/examples');

/** Those that put no secret into a file; the others are for a directory. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'manifests/examples on Kubernetes',
  () => {
    const rig = useCluster();

    beforeEach(async () => {
      const { cluster } = rig;
      await cluster.connect();
      const grants = 'grants: { managementTokens: true }';
      await cluster.apply(connection('NomadCluster', 'default', cluster.nomad.address, 'nomad', grants));
      await cluster.operator();
    });

    /** All that an example could leave. */
    async function everything(): Promise<unknown> {
      const { liveNomad, liveVault } = rig.cluster;
      const lists = ['policies', 'roles', 'auth-methods', 'binding-rules', 'tokens'].map(
        async (list) => (await liveNomad.request('GET', `/v1/acl/${list}`)).body,
      );
      return [await Promise.all(lists), await liveVault.everything(), await liveVault.data('sys/mounts')];
    }

    it.each(['human-login', 'secrets-engine', 'setup-vault', 'workload-identity'])(
      '%s becomes Ready, and leaves nothing when it is deleted',
      { timeout: 200_000 },
      async (example) => {
        const { cluster } = rig;
        const before = await everything();
        await cluster.kubectl('apply', '-f', join(EXAMPLES, example));
        const names = (
          await cluster.kubectl('get', '-f', join(EXAMPLES, example), '-o', 'name', '--ignore-not-found')
        ).split('\n');
        expect(names.length).toBeGreaterThan(1);
        await until(`${example} is Ready`, async () => {
          const { items } = JSON.parse(await cluster.kubectl('get', 'nomad-access', '-A', '-o', 'json')) as {
            items: Shown[];
          };
          const isReady = ({ status }: Shown): boolean =>
            status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
          return items.length >= names.length && items.every(isReady) ? true : undefined;
        });
        if (example === 'secrets-engine')
          for (const role of ['readonly', 'deploy', 'namespace-admin'])
            expect((await cluster.liveVault.request('GET', `nomad/creds/${role}`)).status).toBe(200);
        expect(await everything()).not.toEqual(before);
        await cluster.kubectl('delete', '-f', join(EXAMPLES, example), '--timeout=90s');
        expect(await everything()).toEqual(before);
      },
    );
  },
);
