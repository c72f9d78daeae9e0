import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { connection, HOME, policy, secret, until, useCluster, type Shown } from './cluster.ts';
import { LiveNomad } from './live.ts';

const SECRET = 'nomad-management';

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'a Nomad that nobody has bootstrapped, declared in Kubernetes',
  () => {
    const rig = useCluster();
    let nomad: NomadServer;

    beforeEach(async () => {
      nomad = await startNomad({ client: false, bootstrap: false });
    });
    afterEach(() => nomad.stop());

    const declare = (...more: string[]): Promise<string> =>
      rig.cluster.apply(connection('NomadCluster', 'default', nomad.address, SECRET, ...more), policy('readonly'));
    const getSecret = (): Promise<Shown | undefined> => rig.cluster.get('secret', SECRET, HOME);
    const tokenIn = (shown: Shown | undefined): string =>
      Buffer.from(shown?.data?.['token'] ?? '', 'base64').toString('utf8');
    const policyIn = (token: string): Promise<string[]> =>
      new LiveNomad({ address: nomad.address, token }).policyNames();
    const untilSaid = (what: RegExp): Promise<Shown> =>
      until(`the NomadCluster says ${String(what)}`, async () => {
        const shown = await rig.cluster.get('nomadcluster', 'default');
        const ready = shown?.status?.conditions?.find((c) => c.type === 'Ready');
        return ready?.status === 'False' && what.test(ready.message) ? shown : undefined;
      });

    it('is bootstrapped by one of two operators, with the rights that are installed; its Secret is all that tells the token', async () => {
      const { cluster } = rig;
      await declare('bootstrap: {}');
      const operators = await Promise.all([cluster.operator(), cluster.operator()]);
      await cluster.waitReady('aclpolicy', 'readonly');
      await cluster.waitReady('nomadcluster', 'default');
      const made = await getSecret();
      const token = tokenIn(made);
      expect(await policyIn(token)).toEqual(['readonly']);
      const live = new LiveNomad({ address: nomad.address, token });
      expect((await live.tokens()).map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
      const shown = await cluster.kubectl('get', 'nomadclusters,aclpolicies,configmaps,events', '-A', '-o', 'yaml');
      for (const text of [shown, ...operators.map((operator) => operator.log())]) expect(text).not.toContain(token);

      // Made anew: with the same token, in the same Secret.
      const { ports } = nomad;
      await nomad.stop();
      nomad = await startNomad({ client: false, bootstrap: false, ports });
      await until('the policy is there again', () => live.rulesOf('readonly'));
      expect((await getSecret())?.metadata).toEqual(made?.metadata);
    });

    it('bootstrapped by somebody else: no Secret is made, and the one that an administrator makes is used', async () => {
      const { cluster } = rig;
      const theirs = randomUUID();
      await new LiveNomad({ address: nomad.address, token: '' }).request('PUT', '/v1/acl/bootstrap', {
        BootstrapSecret: theirs,
      });
      await declare('bootstrap: {}');
      await cluster.operator();
      await untilSaid(/bootstrapped already, and there is nothing in key "token" of Secret .*nomad-management/);
      expect(await getSecret()).toBeUndefined();
      await cluster.apply(secret(HOME, SECRET, theirs));
      await cluster.waitReady('aclpolicy', 'readonly');
      expect(tokenIn(await getSecret())).toBe(theirs);
    });

    it('what is in the place stays: a Secret without the key is named, and Nomad not bootstrapped', async () => {
      const { cluster } = rig;
      await cluster.apply(`apiVersion: v1\nkind: Secret\nmetadata: { name: ${SECRET}, namespace: ${HOME} }`);
      const before = await getSecret();
      await declare('bootstrap: {}');
      await cluster.operator();
      await untilSaid(/key "token" of Secret .* is empty.*delete the Secret/);
      expect(await getSecret()).toEqual(before);
      const reply = await new LiveNomad({ address: nomad.address, token: '' }).request('PUT', '/v1/acl/bootstrap', {
        BootstrapSecret: 'none',
      });
      expect(reply).toEqual({ status: 400, body: 'invalid acl token' });
      await cluster.kubectl('delete', 'secret', SECRET, '-n', HOME);
      await cluster.waitReady('aclpolicy', 'readonly');
    });

    it('a file in the pod is no place: it would end with the pod', async () => {
      const { cluster } = rig;
      const spec = `address: ${nomad.address}, auth: { tokenFile: /tmp/token-of-nobody }, bootstrap: {}`;
      await cluster.apply(
        `apiVersion: nomad-access.io/v1alpha1\nkind: NomadCluster\nmetadata: { name: default }\nspec: { ${spec} }`,
      );
      await cluster.operator(['--allow-address', nomad.address]);
      await untilSaid(/tokenFile would end with the pod.*tokenSecretRef/);
    });
  },
);
