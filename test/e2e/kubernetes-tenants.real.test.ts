import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, HOME, until } from './cluster.ts';
import { ASK, conditionOf, FINALIZER } from './kubernetes-objects.ts';
import { A, B, FORCE, integration, mine, NONE, READ, theirs, useTenancy, WRITE } from './tenants.ts';

/** Whoever edits one namespace reaches nothing beyond what is granted to it, and keeps nobody else from his work. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a hostile tenant', () => {
  const rig = useTenancy();

  it('gets by no reference and no name beyond what is granted', async () => {
    const attempts: [manifest: string, says: RegExp][] = [
      [mine('AclPolicy', 'their-connection', 'nomadRef: nomad-b', 'name: team-a-x', READ), /namespace team-a/],
      [mine('AclPolicy', 'platforms', 'nomadRef: platform', READ), /namespace team-a/],
      [mine('VaultJwtIntegration', 'their-vault', ...integration('team-a', 'vault-b', 'nomad-b')), /namespace team-a/],
      [
        mine('VaultJwtIntegration', 'their-nomad', 'vaultRef: vault-a', 'nomadRef: nomad-b', 'path: team-a'),
        /NomadCluster nomad-b does not grant it: namespace team-a/,
      ],
      [
        mine('AclPolicy', 'their-policy', 'nomadRef: nomad-a', 'name: team-b-deploy', FORCE, WRITE),
        /"team-b-deploy" matches none/,
      ],
      [
        mine('AclToken', 'their-policies', 'nomadRef: nomad-a', 'name: team-a-x', 'policies: [team-b-deploy]', NONE),
        /"team-b-deploy" matches none/,
      ],
      [
        mine('AclToken', 'their-roles', 'nomadRef: nomad-a', 'name: team-a-x', 'roles: [team-b-admin]', NONE),
        /"team-b-admin" matches none/,
      ],
      [
        mine(
          'AclPolicy',
          'their-jobs',
          'nomadRef: nomad-a',
          'name: team-a-x',
          'jobAcl: { namespace: team-b-jobs }',
          READ,
        ),
        /"team-b-jobs" matches none/,
      ],
      [
        mine(
          'AclPolicy',
          'their-job',
          'nomadRef: nomad-a',
          'name: team-a-x',
          'jobAcl: { namespace: team-a-jobs, jobId: team-b-pay }',
          READ,
        ),
        /"team-b-pay" matches none/,
      ],
      [
        mine(
          'AclToken',
          'their-token',
          'nomadRef: nomad-a',
          `accessorId: ${rig.it.victimsToken}`,
          FORCE,
          'policies: [team-a-x]',
          NONE,
        ),
        /matches none of grants.names/,
      ],
      [
        mine(
          'VaultJwtIntegration',
          'their-mount',
          ...integration('team-a-m', 'vault-a', 'nomad-a').filter((l) => !l.startsWith('path')),
          'path: team-b',
          FORCE,
        ),
        /"team-b" matches none/,
      ],
      [
        mine(
          'VaultJwtIntegration',
          'their-vault-role',
          ...integration('team-a', 'vault-a', 'nomad-a').filter((l) => !l.startsWith('roles')),
          'roles: [{ name: team-a-x, tokenPolicies: team-b-jobs }]',
          FORCE,
        ),
        /"team-b-jobs" matches none/,
      ],
      [mine('AclToken', 'management', 'type: management', NONE), /management tokens need grants.managementTokens/],
      [
        mine('AclToken', 'global', 'global: true', 'policies: [shared]', NONE),
        /global tokens need grants.globalTokens/,
      ],
      [
        mine(
          'AclToken',
          'managers',
          `accessorId: ${rig.it.byHand.management}`,
          FORCE,
          'policies: [shared]',
          'writeSecretTo: { kubernetesSecret: { name: managers } }',
        ),
        /management tokens need grants.managementTokens/,
      ],
      [
        mine(
          'AclToken',
          'bootstrap',
          `accessorId: ${rig.it.cluster.nomad.accessorId}`,
          'type: management',
          'global: true',
          NONE,
        ),
        /management tokens need grants.managementTokens/,
      ],
      [mine('AclPolicy', 'anonymous', READ), /anonymousPolicy/],
    ];
    await rig.it.attacker.apply(...attempts.map(([manifest]) => manifest));
    for (const [manifest, says] of attempts) expect(await rig.it.saidOf('NotGranted', manifest)).toMatch(says);
    expect(await rig.it.attacker.try(['get', 'secret', 'managers'])).toMatchObject({ code: 1 });
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('gets nothing past admission: no other namespace for a sink, no path that leads elsewhere', async () => {
    const refused: [manifest: string, says: RegExp][] = [
      [mine('AclToken', 'x', 'policies: [shared]', 'writeSecretTo: { kubernetesSecret: { name: team-b/ci } }'), /name/],
      [
        mine(
          'AclToken',
          'x',
          'policies: [shared]',
          'writeSecretTo: { kubernetesSecret: { name: ci, namespace: team-b } }',
        ),
        /unknown field.*namespace/,
      ],
      [
        mine('AclToken', 'x', 'policies: [shared]', 'writeSecretTo: { file: { path: /etc/passwd } }'),
        /directory source/,
      ],
      [mine('VaultJwtIntegration', 'x', 'vaultRef: vault-a', 'path: team-a/../team-b'), /spec.path/],
      [
        mine('VaultJwtIntegration', 'x', 'vaultRef: vault-a', 'path: team-a', 'policies: [{ name: .., rules: x }]'),
        /name/,
      ],
      [
        mine('VaultJwtIntegration', 'x', 'vaultRef: vault-a', 'path: team-a', 'policies: [{ name: root, rules: x }]'),
        /built-in/,
      ],
      [theirs('AclPolicy', 'shared', WRITE), /forbidden.*cannot get resource "aclpolicies".*team-b/],
      [connection('NomadCluster', 'default', 'http://127.0.0.1:1', 'nomad'), /forbidden/],
    ];
    for (const [manifest, says] of refused) expect(await rig.it.attacker.refusal(manifest)).toMatch(says);
  });

  it.each([
    ['patch', 'aclpolicies.nomad-access.io/status', A],
    ['update', 'aclpolicies.nomad-access.io/finalizers', A],
    ['create', 'aclpolicies.nomad-access.io', B],
    ['delete', 'acltokens.nomad-access.io', B],
    ['get', 'secrets', B],
    ['get', 'secrets', HOME],
    ['patch', 'configmaps', HOME],
    ['update', 'leases.coordination.k8s.io', HOME],
    ['get', 'nomadclusters.nomad-access.io', A],
    ['patch', 'vaultservers.nomad-access.io', A],
  ])('may not %s %s in %s', async (verb, type, namespace) => {
    const [name = '', sub] = type.split('/');
    const subresource = sub === undefined ? [] : [`--subresource=${sub}`];
    const { stdout } = await rig.it.attacker.try(['auth', 'can-i', verb, name, ...subresource, '-n', namespace]);
    expect(stdout.trim()).toBe('no');
  });

  it('annotates, and takes away and adds finalizers and owners', async () => {
    await rig.it.attacker.apply(mine('AclPolicy', 'own', READ));
    await rig.it.cluster.waitReady('aclpolicy', 'own', A);
    await rig.it.outcome('Conflict', mine('AclPolicy', 'shared', WRITE));
    const huge = 'x'.repeat(200_000);
    for (const name of ['own', 'shared']) {
      const annotations = { [ASK.reconcile]: huge, [ASK.release]: 'true', [ASK.acceptAddress]: 'http://127.0.0.1:1' };
      const ownerReferences = [
        {
          apiVersion: 'nomad-access.io/v1alpha1',
          kind: 'AclPolicy',
          name: 'shared',
          uid: (await rig.it.cluster.get('aclpolicy', 'shared', B))?.metadata.uid,
        },
      ];
      const file = join(rig.it.cluster.folder, 'patch.json');
      const metadata = { annotations, ownerReferences, finalizers: ['team-a.example/own'] };
      writeFileSync(file, JSON.stringify({ metadata }));
      await rig.it.attacker.kubectl('patch', 'aclpolicy', name, '--type=merge', '--patch-file', file);
    }
    const shown = await until('the finalizer is there again, and the request answered', async () => {
      const own = await rig.it.attempt('aclpolicy', 'own');
      const isAnswered = own?.status?.lastReconcileRequest === huge.slice(0, 1024);
      return isAnswered && own.metadata.finalizers?.includes(FINALIZER) ? own : undefined;
    });
    expect(shown.metadata.finalizers).toContain('team-a.example/own');
    expect(conditionOf(shown)).toMatchObject({ status: 'True', reason: 'InSync' });
    await rig.it.attacker.kubectl(
      'patch',
      'aclpolicy',
      'own',
      '--type=merge',
      '-p',
      '{"metadata":{"finalizers":null}}',
    );
    await rig.it.attacker.kubectl('delete', 'aclpolicy', 'own', '--wait=false');
    await until('what it stood for is gone', async () =>
      (await rig.it.cluster.liveNomad.rulesOf('own')) === undefined ? true : undefined,
    );
    for (const name of ['own', 'shared'])
      await rig.it.attacker.try([
        'patch',
        'aclpolicy',
        name,
        '--type=merge',
        '-p',
        `{"metadata":{"finalizers":["${FINALIZER}"]}}`,
      ]);
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('writes a status, with a role that is not shipped: nothing follows from it but the true one', async () => {
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'status', namespace: A },
      rules: [{ apiGroups: ['nomad-access.io'], resources: ['aclpolicies/status'], verbs: ['get', 'patch'] }],
    };
    await rig.it.cluster.apply(JSON.stringify(role));
    await rig.it.cluster.kubectl(
      'create',
      'rolebinding',
      'status',
      '-n',
      A,
      '--role=status',
      `--serviceaccount=${A}:tenant`,
    );
    await rig.it.attacker.apply(mine('AclPolicy', 'own', READ));
    await rig.it.cluster.waitReady('aclpolicy', 'own', A);
    await rig.it.outcome('Conflict', mine('AclPolicy', 'shared', WRITE, FORCE));
    const truth = (await rig.it.attempt('aclpolicy', 'shared'))?.status;
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'InSync',
      message: '',
      observedGeneration: 1,
      lastTransitionTime: '2020-01-01T00:00:00Z',
    };
    const forged = JSON.stringify({ status: { conditions: [ready], live: { name: 'shared' } } });
    for (const name of ['own', 'shared'])
      await rig.it.attacker.kubectl('patch', 'aclpolicy', name, '--subresource=status', '--type=merge', '-p', forged);
    const again = await until('the truth stands there again', async () => {
      const shown = await rig.it.attempt('aclpolicy', 'shared');
      return conditionOf(shown)?.reason === 'Conflict' ? shown : undefined;
    });
    expect(again.status?.conditions?.map((c) => c.message)).toEqual(truth?.conditions?.map((c) => c.message));
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('declares hundreds at once: what the other one changes meanwhile is done as soon as ever', async () => {
    const many = Array.from({ length: 500 }, (_, i) => mine('AclPolicy', `flood-${String(i)}`, READ));
    const large = mine('AclPolicy', 'flood-large', `rules: '# ${'x'.repeat(400_000)}'`);
    const creating = rig.it.attacker.try(['create', '-f', '-'], [...many, large].join('\n---\n'));
    await until('the flood is on', async () =>
      (await rig.it.cluster.liveNomad.policyNames()).length > 50 ? true : undefined,
    );
    const delays: number[] = [];
    for (const access of ['write', 'read', 'write', 'read']) {
      await rig.it.victim.apply(theirs('AclPolicy', 'shared', access === 'read' ? READ : WRITE));
      const since = performance.now();
      await until('it is so on Nomad', async () =>
        (await rig.it.cluster.liveNomad.rulesOf('shared'))?.includes(access) ? true : undefined,
      );
      delays.push(performance.now() - since);
    }
    expect((await creating).code).toBe(0);
    expect(Math.max(...delays)).toBeLessThan(5_000);
    await rig.it.cluster.untilReason('InSync', 'aclpolicy', 'flood-499', A);
    await rig.it.attacker.kubectl('delete', 'aclpolicies', '--all', '--wait=false');
    await until(
      'they are gone',
      async () => ((await rig.it.cluster.liveNomad.policyNames()).length < 50 ? true : undefined),
      60_000,
    );
    await rig.it.victim.apply(theirs('AclPolicy', 'shared', READ));
    await rig.it.clearAttempts();
  }, 180_000);

  it('is told by the connection that nothing is granted in particular', async () => {
    const shown = await rig.it.cluster.get('nomadcluster', 'default');
    expect(conditionOf(shown)).toMatchObject({ status: 'True' });
    expect(conditionOf(shown)?.message).toContain('no grants are declared');
    expect(conditionOf(await rig.it.cluster.get('nomadcluster', 'nomad-a'))?.message).not.toContain('no grants');
  });
});
