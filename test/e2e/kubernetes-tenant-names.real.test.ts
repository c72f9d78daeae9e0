import { describe, expect, it } from 'vitest';
import { ownerId } from '../../src/kinds/marked/marker.ts';
import { requireServers } from '../servers/binaries.ts';
import { until } from './cluster.ts';
import { untilGone } from './kubernetes-objects.ts';
import { A, B, FORCE, integration, mine, NONE, READ, theirs, useTenancy, WRITE } from './tenants.ts';

/** Who may use a connection under any name gets nothing by it that is another one’s: whatever he declares, whenever he does, and however he names it. */
describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a hostile tenant', () => {
  const rig = useTenancy();

  it.each([
    ['identical', [READ]],
    ['another one, by force', [WRITE, FORCE]],
    ['another one', [WRITE, 'deletionPolicy: Delete']],
  ])('declares a policy that is another one’s: %s', async (_how, spec) => {
    expect(await rig.it.outcome('Conflict', mine('AclPolicy', 'shared', ...spec))).toContain('AclPolicy team-b/shared');
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('declares a policy while the victim’s resource is suspended', async () => {
    await rig.it.cluster.kubectl(
      'patch',
      'aclpolicy',
      'shared',
      '-n',
      B,
      '--type=merge',
      '-p',
      '{"spec":{"suspend":true}}',
    );
    await rig.it.cluster.untilReason('Suspended', 'aclpolicy', 'shared', B);
    await rig.it.outcome('Conflict', mine('AclPolicy', 'shared', WRITE, FORCE));
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
    await rig.it.cluster.kubectl(
      'patch',
      'aclpolicy',
      'shared',
      '-n',
      B,
      '--type=merge',
      '-p',
      '{"spec":{"suspend":false}}',
    );
    await rig.it.cluster.untilReason('InSync', 'aclpolicy', 'shared', B);
  });

  it('declares a policy of which the victim’s resource is on its way out, and not yet gone', async () => {
    await rig.it.victim.apply(theirs('AclPolicy', 'leaving', READ));
    await rig.it.cluster.waitReady('aclpolicy', 'leaving', B);
    await rig.it.victim.kubectl('patch', 'aclpolicy', 'leaving', '--type=merge', '-p', '{"spec":{"suspend":true}}');
    await rig.it.cluster.untilReason('Suspended', 'aclpolicy', 'leaving', B);
    await rig.it.victim.kubectl('delete', 'aclpolicy', 'leaving', '--wait=false');
    await rig.it.outcome('Conflict', mine('AclPolicy', 'leaving', WRITE, FORCE));
    expect(await rig.it.cluster.liveNomad.rulesOf('leaving')).toContain('read');
    await rig.it.clearAttempts();
    await rig.it.victim.kubectl('patch', 'aclpolicy', 'leaving', '--type=merge', '-p', '{"spec":{"suspend":false}}');
    await untilGone(rig.it.cluster, 'aclpolicy', 'leaving', B);
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('declares a policy for which the victim’s resource waits itself', async () => {
    await rig.it.cluster.liveNomad.putPolicy('wanted', 'namespace "default" { policy = "deny" }');
    await rig.it.victim.apply(theirs('AclPolicy', 'wanted', READ));
    await rig.it.cluster.untilReason('Conflict', 'aclpolicy', 'wanted', B);
    const declared = Date.now();
    // Which one was declared first is known to the second; of two in one second the first by name has it.
    await until('another second has come', () => Promise.resolve(Date.now() - declared > 1_000 ? true : undefined));
    expect(await rig.it.outcome('Conflict', mine('AclPolicy', 'wanted', WRITE, FORCE))).toContain('team-b');
    expect(await rig.it.cluster.liveNomad.rulesOf('wanted')).toContain('deny');
    await rig.it.clearAttempts();
    await rig.it.victim.kubectl('delete', 'aclpolicy', 'wanted', '--timeout=60s');
    expect(await rig.it.cluster.liveNomad.rulesOf('wanted'), 'it was nobody’s').toContain('deny');
    await rig.it.cluster.liveNomad.request('DELETE', '/v1/acl/policy/wanted');
  });

  it('declares a mount while the victim’s integration is not valid', async () => {
    const late = integration('late', 'default', 'default');
    await rig.it.victim.apply(theirs('VaultJwtIntegration', 'late', ...late));
    await rig.it.cluster.waitReady('vaultjwtintegration', 'late', B);
    const then = await rig.it.everything();
    // What passes admission, and only the operator finds to be wrong.
    await rig.it.victim.apply(theirs('VaultJwtIntegration', 'late', 'path: late', 'defaultRole: none'));
    await rig.it.cluster.untilReason('Invalid', 'vaultjwtintegration', 'late', B);
    const seized = mine('VaultJwtIntegration', 'seized', ...late, 'jwksUrl: http://127.0.0.1:1', FORCE);
    expect(await rig.it.outcome('Conflict', seized)).toContain('VaultJwtIntegration team-b/late');
    expect(await rig.it.everything()).toEqual(then);
    await rig.it.clearAttempts();
    await rig.it.victim.kubectl('delete', 'vaultjwtintegration', 'late', '--timeout=60s');
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('reaches it by another connection to the same server, of which nothing is said', async () => {
    const policy = mine('AclPolicy', 'around', 'name: team-b-deploy', WRITE, FORCE);
    expect(await rig.it.outcome('Conflict', policy)).toContain('AclPolicy team-b/deploy');
    const mount = mine('VaultJwtIntegration', 'around', ...integration('team-b', 'default', 'default'), FORCE);
    expect(await rig.it.outcome('Conflict', mount)).toContain('VaultJwtIntegration team-b/jobs');
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('declares a policy while no operator runs', async () => {
    await rig.it.operator.stop();
    await rig.it.attacker.apply(mine('AclPolicy', 'shared', WRITE, FORCE));
    rig.it.operator = await rig.it.cluster.operator();
    await rig.it.saidOf('Conflict', mine('AclPolicy', 'shared'));
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('names the token of another one, of the bootstrap, or imitates a marker', async () => {
    const { accessorId } = rig.it.cluster.nomad;
    const id = ownerId('default', { kind: 'AclToken', namespace: B, name: 'ci' });
    const force = FORCE;
    const sink = 'writeSecretTo: { kubernetesSecret: { name: theirs } }';
    await rig.it.outcome(
      'Conflict',
      mine('AclToken', 'named', `accessorId: ${rig.it.victimsToken}`, 'policies: [shared]', force, sink),
    );
    await rig.it.outcome(
      'NotGranted',
      mine('AclToken', 'root', `accessorId: ${accessorId}`, 'policies: [shared]', force, sink),
    );
    await rig.it.outcome(
      'Invalid',
      mine(
        'AclToken',
        'marked',
        `accessorId: ${rig.it.byHand.client}`,
        `name: x [na:${id}.7]`,
        'policies: [shared]',
        force,
        sink,
      ),
    );
    await rig.it.outcome('Invalid', mine('AclToken', 'imitated', `name: x [na:${id}.8]`, 'policies: [shared]', NONE));
    expect(await rig.it.attacker.try(['get', 'secret', 'theirs'])).toMatchObject({ code: 1 });
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });

  it('names a Secret for its token that something else stands in', async () => {
    const marks = {
      labels: { 'app.kubernetes.io/managed-by': 'nomad-access' },
      annotations: { 'nomad-access.io/acl-token': 'forged' },
      ownerReferences: [
        { apiVersion: 'nomad-access.io/v1alpha1', kind: 'AclToken', name: 'forged', uid: rig.it.victimsToken },
      ],
    };
    const foreign = (name: string, more = {}): string =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name, ...more },
        stringData: { accessor_id: rig.it.victimsToken, secret_id: 'x' },
      });
    const into = (name: string): string[] => [
      'policies: [shared]',
      `writeSecretTo: { kubernetesSecret: { name: ${name} } }`,
    ];
    await rig.it.attacker.apply(
      foreign('plain'),
      foreign('forged', marks),
      mine('AclToken', 'first', ...into('taken')),
    );
    await rig.it.cluster.waitReady('acltoken', 'first', A);
    const content = (): Promise<string> => rig.it.attacker.kubectl('get', 'secrets', '-o', 'jsonpath={.items[*].data}');
    const stood = await content();
    for (const name of ['plain', 'forged', 'taken'])
      expect(await rig.it.outcome('Conflict', mine('AclToken', `into-${name}`, ...into(name), FORCE))).toContain(
        `team-a/${name}`,
      );
    expect(await content()).toBe(stood);
    await rig.it.clearAttempts();
    expect((await rig.it.attacker.kubectl('get', 'secrets', '-o', 'name')).split('\n').sort()).toEqual([
      '',
      'secret/forged',
      'secret/plain',
    ]);
    expect(await rig.it.everything()).toEqual(rig.it.before);
  });
});
