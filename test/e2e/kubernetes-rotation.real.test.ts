import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { policy, resource, until, useCluster } from './cluster.ts';

/** What a pod sees that reads its token from a Secret again and again. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'the Secret of a token that rotates',
  () => {
    const rig = useCluster();

    it('always has a token that Nomad takes; its status says when the next one comes and when the former one goes', async () => {
      const { cluster } = rig;
      await cluster.connect();
      const spec = [
        'policies: [readonly]',
        'rotation:',
        '  interval: 6s',
        '  overlap: 4s',
        'writeSecretTo:',
        '  kubernetesSecret:',
        '    name: login',
      ];
      await cluster.apply(policy('readonly'), resource('AclToken', 'ci', spec.join('\n')));
      await cluster.operator();
      await cluster.waitReady('acltoken', 'ci');
      const first = await cluster.get('secret', 'login');
      const seen = new Set<string>();
      let previous: unknown;
      await until(
        'three tokens were there',
        async () => {
          const began = performance.now();
          const { data = {}, metadata } = (await cluster.get('secret', 'login')) ?? { metadata: { uid: '' } };
          const secretId = Buffer.from(data['secret_id'] ?? '', 'base64').toString();
          const isAccepted = await cluster.liveNomad.accepts(secretId);
          if (performance.now() - began < 4000) expect([isAccepted, metadata.uid]).toEqual([true, first?.metadata.uid]);
          seen.add(secretId);
          previous ??= (await cluster.get('acltoken', 'ci'))?.status?.live?.['previous'];
          return seen.size >= 3 && previous !== undefined ? true : undefined;
        },
        90_000,
      );
      expect(previous).toMatchObject({ accessorId: expect.any(String) as string, until: expect.any(String) as string });
      const [former = ''] = seen;
      await until('the former one is dead', async () => ((await cluster.liveNomad.accepts(former)) ? undefined : true));
      const { status } = (await cluster.get('acltoken', 'ci')) ?? {};
      expect(status?.live?.['rotatesAt']).toMatch(/^\d{4}-/);
      expect(status?.conditions?.map(({ type, status }) => `${type}=${status}`)).toContain('Ready=True');
      await cluster.kubectl('delete', 'acltoken', 'ci', '--timeout=20s');
      expect(await cluster.liveNomad.marked()).toEqual([]);
      expect(await cluster.get('secret', 'login')).toBeUndefined();
    });
  },
);
