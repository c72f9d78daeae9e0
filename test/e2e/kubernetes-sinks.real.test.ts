import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { until } from './cluster.ts';
import { Leaks } from './leaks.ts';
import { FORCE, mine, theirs, useTenancy } from './tenants.ts';
import { SINKS, TokenReaders, type Items, type Where } from './token-readers.ts';

const NEEDED = ['etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'] as const;
const PLACES: [Where, object][] = [
  ['KV version 2', { vaultPath: 'secret/ci/nomad' }],
  ['a Nomad Variable', { nomadVariable: 'default/ci/nomad' }],
];
const to = (sink: object): string => `writeSecretTo: ${JSON.stringify(sink)}`;

describe.skipIf(!requireServers(...NEEDED))('the secret of a token that Kubernetes declares', () => {
  const rig = useTenancy();

  it.each(PLACES)('is in %s when it is Ready, is no other tenant’s to take, and goes with it', async (where, shown) => {
    const { cluster, attacker, victim, operator } = rig.it;
    const readers = new TokenReaders(cluster);
    const leaks = new Leaks();
    await victim.apply(theirs('AclToken', 'login', 'policies: [shared]', to(SINKS[where])));
    await cluster.waitReady('acltoken', 'login', 'team-b');
    const held: Items = (await readers.read(where)) ?? {};
    const { live } = (await cluster.get('acltoken', 'login', 'team-b'))?.status ?? {};
    expect(live).toMatchObject({ ...shown, accessorId: held['accessor_id'] });
    expect((await cluster.liveNomad.token(held['accessor_id'] ?? ''))['SecretID']).toBe(held['secret_id']);

    const said = await rig.it.outcome(
      'Conflict',
      mine('AclToken', 'grab', 'policies: [shared]', FORCE, to(SINKS[where])),
    );
    expect(said).toContain('ci/nomad');
    expect((await cluster.liveNomad.marked()).filter(({ Name }) => Name.startsWith('grab '))).toEqual([]);
    expect(await readers.read(where)).toEqual(held);
    await rig.it.clearAttempts();
    expect(await readers.read(where)).toEqual(held);

    await readers.put(where, { ...held, secret_id: 'scribble' });
    await until('it is put back', async () =>
      (await readers.read(where))?.['secret_id'] === held['secret_id'] ? true : undefined,
    );
    await leaks.collect(cluster.liveNomad);
    await victim.kubectl('delete', 'acltoken', 'login', '--timeout=60s');
    expect(await readers.isEmpty(where)).toBe(true);
    const told = await cluster.kubectl('get', 'events.events.k8s.io,configmaps,acltokens', '-A', '-o', 'yaml');
    expect(leaks.secrets.has(held['secret_id'] ?? '')).toBe(true);
    expect(leaks.in(told + operator.log() + operator.output())).toEqual([]);
    expect(await attacker.try(['get', 'acltoken', 'grab'])).toMatchObject({ code: 1 });
  });

  it('goes nowhere that is not granted', async () => {
    const token = (name: string, sink: object): string =>
      mine('AclToken', name, 'nomadRef: nomad-a', 'name: team-a-x', 'policies: [team-a-x]', to(sink));
    const attempts: [manifest: string, says: RegExp][] = [
      [
        token('their-secret', { vaultKv: { vaultRef: 'vault-a', path: 'team-b/ci' } }),
        /VaultServer vault-a does not grant it: "secret\/team-b\/ci" matches none/,
      ],
      [
        token('their-mount', { vaultKv: { vaultRef: 'vault-a', mount: 'team-b', path: 'team-a' } }),
        /"team-b\/team-a" matches none/,
      ],
      [token('their-vault', { vaultKv: { vaultRef: 'vault-b', path: 'team-b/ci' } }), /namespace team-a/],
      [token('their-job', { nomadVariable: { path: 'nomad/jobs/pay' } }), /"default\/nomad\/jobs\/pay" matches none/],
      [
        token('their-namespace', { nomadVariable: { namespace: 'team-b', path: 'team-a-x' } }),
        /"team-b\/team-a-x" matches none/,
      ],
    ];
    await rig.it.attacker.apply(...attempts.map(([manifest]) => manifest));
    for (const [manifest, says] of attempts) expect(await rig.it.saidOf('NotGranted', manifest)).toMatch(says);
    await rig.it.clearAttempts();
    expect(await rig.it.everything()).toEqual(rig.it.before);
    expect(await rig.it.cluster.liveVault.list('secret/metadata')).toEqual([]);
    const { body } = await rig.it.cluster.liveNomad.request('GET', '/v1/vars?namespace=*');
    expect(body).toEqual([]);
  });
});
