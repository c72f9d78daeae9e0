import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, until, useCluster, type Shown } from './cluster.ts';
import { nomadSetupVault } from './nomad-setup-vault.ts';
import { Workspace } from './workspace.ts';

interface Named {
  readonly ID: string;
  readonly Name: string;
}

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'manifests that were imported, given to Kubernetes',
  () => {
    const rig = useCluster();

    const list = async (of: string): Promise<Named[]> =>
      (await rig.cluster.liveNomad.request<Named[]>('GET', `/v1/acl/${of}`)).body;
    /** With the indexes that any write moves. */
    const everything = (): Promise<Named[][]> =>
      Promise.all(['policies', 'roles', 'auth-methods', 'binding-rules', 'tokens'].map(list));

    afterEach(async () => {
      const { liveNomad } = rig.cluster;
      await rig.cluster.killOperators();
      for (const { ID } of await list('binding-rules')) await liveNomad.request('DELETE', `/v1/acl/binding-rule/${ID}`);
      for (const { Name } of await list('auth-methods'))
        await liveNomad.request('DELETE', `/v1/acl/auth-method/${Name}`);
      for (const { ID } of await list('roles')) await liveNomad.request('DELETE', `/v1/acl/role/${ID}`);
    });

    async function populate(): Promise<void> {
      const { liveNomad, nomad, vault } = rig.cluster;
      const put = async (path: string, body: object): Promise<void> => {
        const { status, body: reply } = await liveNomad.request('PUT', `/v1/acl/${path}`, body);
        expect(status, JSON.stringify(reply)).toBe(200);
      };
      await liveNomad.putPolicy('Readonly', 'namespace "default" {\n  policy = "read"\n}\n');
      await put('policy/for-a-job', {
        Name: 'for-a-job',
        Description: 'of the job "web": all',
        Rules: 'node { policy = "read" }',
        JobACL: { Namespace: 'default', JobID: 'web', Group: 'api' },
      });
      await put('role', { Name: 'On-Call', Policies: [{ Name: 'Readonly' }] });
      await put('token', { Name: 'ci: # main', Type: 'client', Policies: ['Readonly', 'gone'], Global: true });
      await put('token', { Name: 'night', Type: 'client', Roles: [{ Name: 'On-Call' }], ExpirationTTL: '3h' });
      await put('token', { Name: '', Type: 'management' });
      await put('auth-method/CI', {
        Name: 'CI',
        Type: 'JWT',
        TokenLocality: 'global',
        MaxTokenTTL: '1h30m',
        Config: { JWKSURL: 'http://127.0.0.1:9/', ListClaimMappings: { 'https://a/groups': 'groups' } },
      });
      await put('binding-rule', { AuthMethod: 'CI', BindType: 'role', BindName: 'team-${value.team}' });
      await put('binding-rule', { AuthMethod: 'CI', BindType: 'management', Selector: '"ops" in list.groups' });
      const setup = await nomadSetupVault(nomad, vault, `${nomad.address}/.well-known/jwks.json`);
      expect(setup.code, setup.stderr).toBe(0);
    }

    it('are admitted, become Ready, and nothing is written', async () => {
      const { cluster } = rig;
      await populate();
      const before = await everything();
      const workspace = new Workspace(cluster);
      try {
        const { code, stderr } = await workspace.run('import', '--out', 'found');
        expect(code, stderr).toBe(0);
        await cluster.connect();
        const grants = 'grants: { managementTokens: true, globalTokens: true }';
        await cluster.apply(connection('NomadCluster', 'default', cluster.nomad.address, 'nomad', grants));
        await cluster.kubectl('apply', '-R', '-f', join(workspace.folder, 'found'));
      } finally {
        workspace.dispose();
      }
      await cluster.operator();
      const shown = await until('all are Ready', async () => {
        const text = await cluster.kubectl('get', 'nomad-access', '-A', '-o', 'json');
        const { items } = JSON.parse(text) as { items: (Shown & { kind: string })[] };
        const isReady = ({ status }: Shown): boolean =>
          status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
        return items.every(isReady) ? items : undefined;
      });
      const count = (kind: string): number => shown.filter((item) => item.kind === kind).length;
      expect(
        ['AclPolicy', 'AclRole', 'AclToken', 'AclAuthMethod', 'AclBindingRule', 'VaultJwtIntegration'].map(count),
      ).toEqual([2, 1, 3, 1, 2, 1]);
      expect(await everything(), 'taking over writes nothing').toEqual(before);
    });
  },
);
