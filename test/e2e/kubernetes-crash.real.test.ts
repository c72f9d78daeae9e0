import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { policy, resource, useCluster, type Cluster } from './cluster.ts';
import { KubernetesCrashRig, type Life } from './kubernetes-crash-rig.ts';
import { ask } from './kubernetes-objects.ts';

const COLLECTION = '/apis/nomad-access.io/v1alpha1/namespaces/default';
const SECRET = '/api/v1/namespaces/default/secrets/ci';
const INVENTORY = 'PATCH /api/v1/namespaces/nomad-access/configmaps/nomad-access-default-inventory-1';
/** Each test starts some dozens of operators. */
const PATIENCE = { timeout: 300_000 };

/**
 * The lease of who was killed is taken away, as if its time had passed. The writes of the Lease and of Events are no
 * boundaries of their own.
 */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a SIGKILL', () => {
  const servers = useCluster();
  let rig: KubernetesCrashRig;
  beforeEach(async () => {
    rig = new KubernetesCrashRig(servers.cluster);
    await rig.start();
  });
  afterEach(() => rig.stop());

  it('at any write in the life of a policy and a token leaves nothing doubled or half-done', PATIENCE, async () => {
    await foreign(servers.cluster);
    const writes = await rig.killEverywhere(policyAndToken(servers.cluster));
    for (const write of [
      `PATCH ${COLLECTION}/aclpolicies/one`,
      `PATCH ${COLLECTION}/acltokens/ci`,
      INVENTORY,
      'PUT /v1/acl/policy/one',
      'POST /v1/acl/token',
      'POST /api/v1/namespaces/default/secrets',
      `PATCH ${COLLECTION}/aclpolicies/one/status`,
      `PATCH ${COLLECTION}/acltokens/ci/status`,
      `DELETE ${SECRET}`,
      'DELETE /v1/acl/policy/one',
    ])
      expect(writes).toContain(write);
  });

  it(
    'at any write before what is made is deleted, with no operator there, leaves nothing behind',
    PATIENCE,
    async () => {
      await foreign(servers.cluster);
      await rig.killAndDeleteEverywhere(policyAndToken(servers.cluster));
    },
  );
});

function policyAndToken(cluster: Cluster): Life {
  const { liveNomad } = cluster;
  const sink = 'writeSecretTo: { kubernetesSecret: { name: ci } }';
  return {
    documents: [policy('one'), resource('AclToken', 'ci', `policies: [one]\n${sink}`)],
    paths: [`${COLLECTION}/aclpolicies/one`, `${COLLECTION}/acltokens/ci`],
    outside: async () => [await liveNomad.everything(), (await ask(cluster, 'GET', SECRET)).status],
    whole: async (because) => {
      expect(await liveNomad.policyNames(), because).toEqual(['foreign', 'one']);
      const [made, ...doubles] = await liveNomad.marked();
      expect([made?.Policies, doubles], because).toEqual([['one'], []]);
      const { SecretID } = await liveNomad.token(made?.AccessorID ?? '');
      const { data } = (await ask(cluster, 'GET', SECRET)).body as { data?: Record<string, string> };
      expect(Buffer.from(data?.['secret_id'] ?? '', 'base64').toString(), because).toBe(SecretID);
    },
  };
}

/** What is nobody's business here. */
async function foreign({ liveNomad }: Cluster): Promise<void> {
  await liveNomad.putPolicy('foreign', 'namespace "default" { policy = "read" }');
  const body = { Name: 'foreign', Type: 'client', Policies: ['foreign'] };
  expect((await liveNomad.request('PUT', '/v1/acl/token', body)).status).toBe(200);
}
