import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { resource, until, useCluster } from './cluster.ts';

const [FIRST, SECOND] = ['a client secret of thirty-two bytes', 'another client secret, as long as that one'];

interface Method {
  readonly ModifyIndex: number;
  readonly Config: Readonly<Record<string, unknown>>;
}

function method(name: string, secretName: string, more = ''): string {
  return resource(
    'AclAuthMethod',
    name,
    `type: OIDC
tokenLocality: local
maxTokenTtl: 1h
config:
  oidcDiscoveryUrl: http://127.0.0.1:9/sso
  oidcClientId: nomad
  oidcClientSecret: { secretRef: { name: ${secretName}, key: secret } }
  claimMappings: { sub: user, email: mail }${more}`,
  );
}

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'an auth method whose client secret is in a Secret, under the shipped rights',
  () => {
    const rig = useCluster();

    afterEach(async () => {
      const { cluster } = rig;
      await cluster.killOperators();
      await cluster.kubectl('delete', 'secret', '-n', 'default', '--all');
      const { body } = await cluster.liveNomad.request<{ Name: string }[]>('GET', '/v1/acl/auth-methods');
      for (const { Name } of body) await cluster.liveNomad.request('DELETE', `/v1/acl/auth-method/${Name}`);
    });

    const live = async (name: string): Promise<Method | undefined> => {
      const { status, body } = await rig.cluster.liveNomad.request<Method>('GET', `/v1/acl/auth-method/${name}`);
      return status === 200 ? body : undefined;
    };
    const put = (text: string, name = 'sso'): Promise<unknown> =>
      rig.cluster.apply(`apiVersion: v1\nkind: Secret\nmetadata:\n  name: ${name}\nstringData:\n  secret: ${text}`);

    it('waits for it, is made, gets a changed one once, goes; and the secret is nowhere else', async () => {
      const { cluster } = rig;
      await cluster.connect();
      await cluster.apply(method('sso', 'sso'));
      const operator = await cluster.operator();
      const waiting = await cluster.untilReason('NotFound', 'aclauthmethod', 'sso');
      expect(JSON.stringify(waiting.status)).toContain('there is no Secret default/sso');
      expect(await live('sso')).toBeUndefined();

      await put(FIRST);
      await cluster.waitReady('aclauthmethod', 'sso');
      const made = await live('sso');
      expect(made?.Config['OIDCClientSecret']).toBe('redacted');

      await put(SECOND);
      const changed = await until('it is written', async () => {
        const now = await live('sso');
        return now?.ModifyIndex === made?.ModifyIndex ? undefined : now;
      });
      await cluster.waitReady('aclauthmethod', 'sso');

      // A further pass over it, and a change of another key of the Secret, write nothing.
      await cluster.kubectl('patch', 'secret', 'sso', '--type=merge', '-p', '{"stringData":{"other":"x"}}');
      await cluster.kubectl('annotate', 'aclauthmethod', 'sso', 'nomad-access.io/reconcile-requested-at=now');
      await until('it has answered', async () => {
        const { status } = (await cluster.get('aclauthmethod', 'sso')) ?? {};
        return status?.lastReconcileRequest === 'now' ? true : undefined;
      });
      expect((await live('sso'))?.ModifyIndex).toBe(changed.ModifyIndex);

      await cluster.kubectl('delete', 'aclauthmethod', 'sso', '--timeout=60s');
      expect(await live('sso')).toBeUndefined();
      const told = await cluster.kubectl('get', 'events.events.k8s.io,configmaps', '-A', '-o', 'yaml');
      const said = told + operator.log() + operator.output() + (await operator.get('/metrics')).text;
      for (const secret of [FIRST, SECOND]) {
        expect(said).not.toContain(secret);
        expect(said).not.toContain(Buffer.from(secret).toString('base64'));
      }
    });

    it('keeps its status and the inventory free of it, and of anything that tells equal secrets', async () => {
      const { cluster } = rig;
      await cluster.connect();
      await put(FIRST);
      await cluster.apply(method('one', 'sso'), method('two', 'sso'));
      await cluster.operator();
      await cluster.waitReady('aclauthmethod', 'one');
      await cluster.waitReady('aclauthmethod', 'two');
      const digests = await until('both are recorded', async () => {
        const text = await cluster.kubectl('get', 'configmaps', '-A', '-o', 'json');
        const found = [...text.matchAll(/digest\\*":\\*"([^"\\]+)/g)].map(([, digest]) => digest);
        return found.length >= 2 ? found : undefined;
      });
      expect(new Set(digests).size).toBe(digests.length);
      const shown = await cluster.kubectl('get', 'aclauthmethods,configmaps', '-A', '-o', 'yaml');
      expect(shown).not.toContain(FIRST);
    });

    it('of two that want to be the default, the first one is it, and the other one when that goes', async () => {
      const { cluster } = rig;
      await cluster.connect();
      await put(FIRST);
      await cluster.apply(method('one', 'sso', '\ndefault: true'));
      await cluster.operator();
      await cluster.waitReady('aclauthmethod', 'one');
      await cluster.apply(method('two', 'sso', '\ndefault: true'));
      const refused = await cluster.untilReason('Conflict', 'aclauthmethod', 'two');
      expect(JSON.stringify(refused.status)).toContain('AclAuthMethod default/one');
      await cluster.kubectl('delete', 'aclauthmethod', 'one', '--timeout=60s');
      await cluster.waitReady('aclauthmethod', 'two');
      expect(await live('two')).toMatchObject({ Default: true });
    });

    it('that is told to be the default no more gives that to the one that is to be it', async () => {
      const { cluster } = rig;
      await cluster.connect();
      await put(FIRST);
      await cluster.apply(method('one', 'sso', '\ndefault: true'), method('two', 'sso'));
      await cluster.operator();
      await cluster.waitReady('aclauthmethod', 'one');
      await cluster.apply(method('two', 'sso', '\ndefault: true'), method('one', 'sso'));
      await until('it is handed over', async () => {
        const [one, two] = [await live('one'), await live('two')];
        return (two as { Default?: boolean } | undefined)?.Default === true && one !== undefined ? true : undefined;
      });
      await cluster.waitReady('aclauthmethod', 'two');
      await cluster.waitReady('aclauthmethod', 'one');
    });
  },
);
