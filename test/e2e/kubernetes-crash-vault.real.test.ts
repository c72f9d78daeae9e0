import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { resource, useCluster, type Cluster } from './cluster.ts';
import { KubernetesCrashRig, type Life } from './kubernetes-crash-rig.ts';

const COLLECTION = '/apis/nomad-access.io/v1alpha1/namespaces/default';
/** It starts some dozens of operators. */
const PATIENCE = { timeout: 300_000 };

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a SIGKILL', () => {
  const servers = useCluster();
  let rig: KubernetesCrashRig;
  beforeEach(async () => {
    rig = new KubernetesCrashRig(servers.cluster);
    await rig.start();
  });
  afterEach(() => rig.stop());

  it('at any write in the life of an integration leaves nothing half-done on Vault', PATIENCE, async () => {
    const { liveVault } = servers.cluster;
    await liveVault.request('POST', 'sys/auth/foreign', { type: 'jwt' });
    const writes = await rig.killEverywhere(integration(servers.cluster));
    for (const write of [
      `PATCH ${COLLECTION}/vaultjwtintegrations/workloads`,
      'PATCH /api/v1/namespaces/nomad-access/configmaps/nomad-access-default-inventory-1',
      `PATCH ${COLLECTION}/vaultjwtintegrations/workloads/status`,
      'DELETE /v1/sys/auth/jwt-nomad',
    ])
      expect(writes).toContain(write);
  });
});

function integration({ liveVault, nomad }: Cluster): Life {
  return {
    documents: [resource('VaultJwtIntegration', 'workloads', `jwksUrl: ${nomad.address}/.well-known/jwks.json`)],
    paths: [`${COLLECTION}/vaultjwtintegrations/workloads`],
    outside: () => liveVault.everything(),
    whole: async (because) => {
      expect(await liveVault.mounts(), because).toEqual(['foreign/', 'jwt-nomad/', 'token/']);
      expect(await liveVault.list('auth/jwt-nomad/role'), because).toEqual(['nomad-workloads']);
      const accessor = String((await liveVault.data('sys/auth/jwt-nomad'))?.['accessor']);
      const rules = (await liveVault.data('sys/policies/acl/nomad-workloads'))?.['policy'];
      expect(rules, because).toContain(accessor);
    },
  };
}
