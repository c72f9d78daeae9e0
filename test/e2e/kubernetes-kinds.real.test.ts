import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, policy, resource, until, useCluster } from './cluster.ts';
import { conditionOf, deleteSoon, untilGone, untilShown } from './kubernetes-objects.ts';

const SELECTOR = '"ops" in list.groups';

/** Those that depend on others come first: the order of their creation must not matter. */
const EVERYTHING: readonly (readonly [kind: string, name: string, document: string])[] = [
  ['vaultnomadrole', 'reader', resource('VaultNomadRole', 'reader', 'engine: nomad\npolicies: [read]')],
  ['acltoken', 'ci', resource('AclToken', 'ci', 'roles: [viewers]\nwriteSecretTo: { kubernetesSecret: { name: ci } }')],
  [
    'aclbindingrule',
    'ops',
    resource('AclBindingRule', 'ops', `authMethod: sso\nselector: '${SELECTOR}'\nbindType: role\nbindName: viewers`),
  ],
  [
    'aclauthmethod',
    'sso',
    resource(
      'AclAuthMethod',
      'sso',
      'type: JWT\ntokenLocality: local\nmaxTokenTtl: 1h\nconfig: { jwksUrl: "http://127.0.0.1:9/", listClaimMappings: { groups: groups } }',
    ),
  ],
  ['aclrole', 'viewers', resource('AclRole', 'viewers', 'description: Look\npolicies: [read]')],
  [
    'vaultnomadsecretsengine',
    'nomad',
    resource('VaultNomadSecretsEngine', 'nomad', 'lease: { ttl: 1h, maxTtl: 8h }\nrotation: { interval: 720h }'),
  ],
  ['aclpolicy', 'read', policy('read')],
];

interface Named {
  readonly ID: string;
  readonly Name: string;
  readonly ModifyIndex: number;
}

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'every kind of Nomad’s ACL system and of Vault’s Nomad engine, declared in Kubernetes under the shipped rights',
  () => {
    const rig = useCluster();

    beforeEach(() => connect('grants: { managementTokens: true }'));
    afterEach(async () => {
      const { liveNomad, liveVault } = rig.cluster;
      await rig.cluster.killOperators();
      await liveVault.request('PUT', 'sys/leases/revoke-force/nomad/creds');
      await liveVault.request('DELETE', 'sys/mounts/nomad');
      for (const { ID } of await list('binding-rules')) await liveNomad.request('DELETE', `/v1/acl/binding-rule/${ID}`);
      for (const { Name } of await list('auth-methods'))
        await liveNomad.request('DELETE', `/v1/acl/auth-method/${Name}`);
      for (const { ID } of await list('roles')) await liveNomad.request('DELETE', `/v1/acl/role/${ID}`);
    });

    /** Connections with more than everybody may. */
    async function connect(grants: string): Promise<void> {
      const { cluster } = rig;
      await cluster.connect();
      await cluster.apply(connection('NomadCluster', 'default', cluster.nomad.address, 'nomad', grants));
    }
    const list = async (of: string): Promise<Named[]> =>
      (await rig.cluster.liveNomad.request<Named[]>('GET', `/v1/acl/${of}`)).body;
    const first = async (of: string, one: string): Promise<Record<string, unknown>> => {
      const [found] = await list(of);
      const id = one === 'auth-method' ? found?.Name : found?.ID;
      return (await rig.cluster.liveNomad.request<Record<string, unknown>>('GET', `/v1/acl/${one}/${id ?? ''}`)).body;
    };
    const declare = (): Promise<string> => rig.cluster.apply(...EVERYTHING.map(([, , document]) => document));
    const allReady = async (): Promise<void> => {
      for (const [kind, name] of EVERYTHING) await rig.cluster.waitReady(kind, name);
    };
    const creds = async (): Promise<number> =>
      (await rig.cluster.liveVault.request('GET', 'nomad/creds/reader')).status;
    /** What is on the servers, with the indexes that any write moves. */
    const standing = async (): Promise<unknown> => [
      await Promise.all(['policies', 'roles', 'auth-methods', 'binding-rules', 'tokens'].map(list)),
      await rig.cluster.liveVault.data('sys/mounts/nomad'),
    ];

    it('becomes Ready whatever is created first, and says where it is', async () => {
      const { cluster } = rig;
      await cluster.operator();
      await declare();
      await allReady();
      expect(await first('binding-rules', 'binding-rule')).toMatchObject({ BindType: 'role', BindName: 'viewers' });
      expect(await first('roles', 'role')).toMatchObject({ Name: 'viewers', Policies: [{ Name: 'read' }] });
      expect(await creds()).toBe(200);
      const [engine, role, rule] = await Promise.all([
        cluster.get('vaultnomadsecretsengine', 'nomad'),
        cluster.get('aclrole', 'viewers'),
        cluster.get('aclbindingrule', 'ops'),
      ]);
      const [token] = (await cluster.liveNomad.marked()).filter(({ Type }) => Type === 'management');
      expect(engine?.status?.live).toMatchObject({ path: 'nomad', managementAccessorId: token?.AccessorID });
      expect(role?.status?.live).toEqual({ name: 'viewers', id: (await list('roles'))[0]?.ID });
      expect(rule?.status?.live).toEqual({ id: (await list('binding-rules'))[0]?.ID });
    });

    it('is put back where somebody changes it', async () => {
      const { cluster } = rig;
      const { liveNomad, liveVault } = cluster;
      await cluster.operator();
      await declare();
      await allReady();
      const role = await first('roles', 'role');
      const rule = await first('binding-rules', 'binding-rule');
      for (const [path, body] of [
        [`role/${String(role['ID'])}`, { ...role, Description: 'theirs' }],
        [`binding-rule/${String(rule['ID'])}`, { ...rule, Selector: '', BindName: 'admins' }],
        ['auth-method/sso', { ...(await first('auth-methods', 'auth-method')), MaxTokenTTL: '2h' }],
      ] as const)
        expect((await liveNomad.request('PUT', `/v1/acl/${path}`, body)).status).toBe(200);
      await liveVault.request('PUT', 'nomad/role/reader', { policies: ['other'] });
      await liveVault.request('PUT', 'nomad/config/lease', { ttl: 60 });
      await until('it is put back', async () => {
        const now = [
          await first('roles', 'role'),
          await first('binding-rules', 'binding-rule'),
          await first('auth-methods', 'auth-method'),
          await liveVault.data('nomad/role/reader'),
          await liveVault.data('nomad/config/lease'),
        ];
        const wanted = [
          { ID: role['ID'], Description: 'Look' },
          { ID: rule['ID'], Selector: SELECTOR, BindName: 'viewers' },
          { MaxTokenTTL: '1h0m0s' },
          { policies: ['read'] },
          { ttl: 3600, max_ttl: 28_800 },
        ];
        const differs = wanted.some((fields, i) =>
          Object.entries(fields).some(([field, value]) => JSON.stringify(now[i]?.[field]) !== JSON.stringify(value)),
        );
        return differs ? undefined : true;
      });
    });

    it('is left as it is by an operator that starts over it', async () => {
      const { cluster } = rig;
      await cluster.operator();
      await declare();
      await allReady();
      const before = await standing();
      await cluster.killOperators();
      await cluster.kubectl('delete', 'lease', '--all', '-n', 'nomad-access');
      const operator = await cluster.operator();
      await until('it is ready', async () => ((await operator.get('/readyz')).status === 200 ? true : undefined));
      await cluster.kubectl('annotate', 'aclrole', 'viewers', 'nomad-access.io/reconcile-requested-at=now');
      await untilShown(
        cluster,
        'aclrole',
        'viewers',
        'answers',
        ({ status }) => status?.lastReconcileRequest === 'now',
      );
      await allReady();
      expect(await standing()).toEqual(before);
    });

    it('is gone when all of it is deleted at once, leases included', async () => {
      const { cluster } = rig;
      const { liveNomad, liveVault } = cluster;
      await cluster.operator();
      await declare();
      await allReady();
      expect(await creds()).toBe(200);
      for (const [kind, name] of [...EVERYTHING].reverse()) await deleteSoon(cluster, kind, name);
      for (const [kind, name] of EVERYTHING) await untilGone(cluster, kind, name);
      expect((await liveNomad.tokens()).map((token) => token.Name)).toEqual(['Bootstrap Token']);
      for (const of of ['policies', 'roles', 'auth-methods', 'binding-rules'])
        expect([of, await list(of)]).toEqual([of, []]);
      expect(await liveVault.data('sys/mounts')).not.toHaveProperty('nomad/');
      expect(await liveVault.list('sys/leases/lookup/nomad/creds')).toEqual([]);
      expect(await cluster.kubectl('get', 'secret', 'ci', '--ignore-not-found')).toBe('');
    });

    it('an engine that is deleted waits for a role that is still declared, says so, and goes with it', async () => {
      const { cluster } = rig;
      await cluster.operator();
      await declare();
      await allReady();
      await deleteSoon(cluster, 'vaultnomadsecretsengine', 'nomad');
      const shown = await untilShown(
        cluster,
        'vaultnomadsecretsengine',
        'nomad',
        'says what it waits for',
        (now) => conditionOf(now)?.message.includes('reader') ?? false,
      );
      expect(conditionOf(shown)?.status).not.toBe('True');
      expect(await creds(), 'until then it works').toBe(200);
      await deleteSoon(cluster, 'vaultnomadrole', 'reader');
      await untilGone(cluster, 'vaultnomadrole', 'reader');
      await untilGone(cluster, 'vaultnomadsecretsengine', 'nomad');
      expect(await cluster.liveVault.data('sys/mounts')).not.toHaveProperty('nomad/');
    });

    it('an engine whose lease Nomad has lost the token of says what to do, and goes once that is done', async () => {
      const { cluster } = rig;
      await cluster.operator();
      await declare();
      await allReady();
      const { body } = await cluster.liveVault.request<{ data: { accessor_id: string } }>('GET', 'nomad/creds/reader');
      await cluster.liveNomad.request('DELETE', `/v1/acl/token/${body.data.accessor_id}`);
      await deleteSoon(cluster, 'vaultnomadrole', 'reader');
      await deleteSoon(cluster, 'vaultnomadsecretsengine', 'nomad');
      await untilShown(
        cluster,
        'vaultnomadsecretsengine',
        'nomad',
        'says what to do',
        (now) => conditionOf(now)?.message.includes('vault lease revoke -force -prefix nomad/creds') ?? false,
      );
      expect((await cluster.vault.run('lease', 'revoke', '-force', '-prefix', 'nomad/creds')).code).toBe(0);
      await untilGone(cluster, 'vaultnomadsecretsengine', 'nomad');
      expect(await cluster.liveVault.data('sys/mounts')).not.toHaveProperty('nomad/');
      const management = (await cluster.liveNomad.tokens()).filter(({ Type }) => Type === 'management');
      expect(management.map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
    });

    it('is not granted management without a word of the administrator’s', async () => {
      const { cluster } = rig;
      await connect('grants: {}');
      await cluster.apply(
        ...EVERYTHING.filter(([kind]) => kind === 'vaultnomadsecretsengine' || kind === 'aclauthmethod').map(
          ([, , document]) => document,
        ),
        resource('AclBindingRule', 'admins', 'authMethod: sso\nbindType: management'),
      );
      await cluster.operator();
      await cluster.waitReady('aclauthmethod', 'sso');
      await cluster.untilReason('NotGranted', 'aclbindingrule', 'admins');
      await cluster.untilReason('NotGranted', 'vaultnomadsecretsengine', 'nomad');
      expect(await list('binding-rules')).toEqual([]);
      expect(await cluster.liveNomad.marked()).toEqual([]);
    });
  },
);
