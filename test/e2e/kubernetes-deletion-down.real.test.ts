import { afterEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { connection, HOME, policy, resource, secret, until, useCluster } from './cluster.ts';
import { startGateway } from './gateway.ts';
import {
  annotate,
  ASK,
  deleteSoon,
  eventsOf,
  isWithoutCredential,
  token,
  untilGone,
  untilShown,
  waitsFor,
} from './kubernetes-objects.ts';
import { LiveNomad } from './live.ts';

const BOTH = [
  ['aclpolicy', 'readonly'],
  ['acltoken', 'ci'],
] as const;

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))('a deletion', () => {
  const rig = useCluster();
  const undo: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  it('while Nomad is stopped waits for it and says so; once it is back, nobody needs to do anything', async () => {
    const { cluster } = rig;
    const data = temporaryDirectory('nomad-data');
    let nomad: NomadServer = await startNomad({ client: false, dataDir: data.path });
    undo.push(data.remove, () => nomad.stop());
    const live = new LiveNomad(nomad);
    await cluster.apply(
      secret(HOME, 'nomad', nomad.token),
      connection('NomadCluster', 'default', nomad.address, 'nomad'),
      policy('readonly'),
      token('ci', ['readonly']),
    );
    await cluster.operator();
    for (const [kind, name] of BOTH) await cluster.waitReady(kind, name);
    await nomad.stop();
    for (const [kind, name] of BOTH) {
      await deleteSoon(cluster, kind, name);
      const said = await untilShown(
        cluster,
        kind,
        name,
        'waits for Nomad',
        (shown) => waitsFor(shown, nomad.address),
        'default',
        30_000,
      );
      expect(said.metadata.finalizers).toEqual(['nomad-access.io/finalizer']);
    }
    const { ports, dataDir } = nomad;
    nomad = await startNomad({ client: false, ports, dataDir });
    for (const [kind, name] of BOTH) await untilGone(cluster, kind, name);
    expect(await live.policyNames()).toEqual([]);
    expect(await live.marked()).toEqual([]);
  });

  it('while Nomad hangs waits for it and says so', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    process.kill(cluster.nomad.pid, 'SIGSTOP');
    const resume = (): void => void process.kill(cluster.nomad.pid, 'SIGCONT');
    undo.push(resume);
    await deleteSoon(cluster, 'aclpolicy', 'readonly');
    const { address } = cluster.nomad;
    await untilShown(cluster, 'aclpolicy', 'readonly', 'waits for Nomad', (shown) => waitsFor(shown, address));
    resume();
    await untilGone(cluster, 'aclpolicy', 'readonly');
    expect(await cluster.liveNomad.policyNames()).toEqual([]);
  });

  it('while Vault is sealed waits for it and says so; once it is unsealed, nobody needs to do anything', async () => {
    const { cluster } = rig;
    const gateway = await startGateway(cluster.vault.address);
    undo.push(() => gateway.close());
    await cluster.connect({ vault: gateway.address });
    await cluster.apply(
      resource('VaultJwtIntegration', 'workloads', `jwksUrl: ${cluster.nomad.address}/.well-known/jwks.json`),
    );
    await cluster.operator();
    await cluster.waitReady('vaultjwtintegration', 'workloads');
    // What a sealed Vault answers.
    gateway.decide(() => 503);
    await deleteSoon(cluster, 'vaultjwtintegration', 'workloads');
    await untilShown(cluster, 'vaultjwtintegration', 'workloads', 'waits for Vault', (shown) =>
      waitsFor(shown, gateway.address),
    );
    gateway.decide(() => 'pass');
    await untilGone(cluster, 'vaultjwtintegration', 'workloads');
    expect(await cluster.liveVault.mounts()).toEqual(['token/']);
  });

  it('of what was never made because Nomad is down needs no Nomad', async () => {
    const { cluster } = rig;
    const gone = await startGateway(cluster.nomad.address);
    await gone.close();
    await cluster.connect({ nomad: gone.address });
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await untilShown(cluster, 'aclpolicy', 'readonly', 'waits for Nomad', (shown) => waitsFor(shown, gone.address));
    await cluster.kubectl('delete', 'aclpolicy', 'readonly', '--timeout=60s');
  });

  it('of what a lost Nomad holds goes through when it is released, and says what may remain', async () => {
    const { cluster } = rig;
    const gateway = await startGateway(cluster.nomad.address);
    undo.push(() => gateway.close());
    await cluster.connect({ nomad: gateway.address });
    await cluster.apply(policy('readonly'), token('ci', ['readonly']));
    await cluster.operator();
    for (const [kind, name] of BOTH) await cluster.waitReady(kind, name);
    const [marked] = await cluster.liveNomad.marked();
    await gateway.close();
    for (const [kind, name] of BOTH) {
      await deleteSoon(cluster, kind, name);
      await untilShown(cluster, kind, name, 'waits for Nomad', (shown) => waitsFor(shown, gateway.address));
      await annotate(cluster, kind, name, ASK.release, 'true');
      await untilGone(cluster, kind, name);
    }
    const told = await until('both were told of', async () => {
      const events = [...(await eventsOf(cluster, 'readonly')), ...(await eventsOf(cluster, 'ci'))];
      const released = events.filter(({ reason }) => reason === 'Released');
      return released.length >= 2 ? released : undefined;
    });
    expect(told.map(({ type }) => type)).toEqual(['Warning', 'Warning']);
    expect(told.map(({ note }) => note).join()).toContain('default/acl-policy/readonly');
    expect(told.map(({ note }) => note).join()).toContain(`default/acl-token/${marked?.Name ?? 'no token'}`);
  });

  it('without a credential, which nobody will bring back, goes through when it is released', async () => {
    const { cluster } = rig;
    await cluster.connect();
    await cluster.apply(policy('readonly'));
    await cluster.operator();
    await cluster.waitReady('aclpolicy', 'readonly');
    await deleteSoon(cluster, 'secret', 'nomad', HOME);
    await deleteSoon(cluster, 'nomadcluster', 'default');
    await deleteSoon(cluster, 'aclpolicy', 'readonly');
    await untilShown(cluster, 'aclpolicy', 'readonly', 'misses its credential', isWithoutCredential);
    await annotate(cluster, 'aclpolicy', 'readonly', ASK.release, 'true');
    await untilGone(cluster, 'aclpolicy', 'readonly');
    const [told] = await until('it was told of', async () => {
      const released = (await eventsOf(cluster, 'readonly')).filter(({ reason }) => reason === 'Released');
      return released.length > 0 ? released : undefined;
    });
    expect(told?.note).toContain('default/acl-policy/readonly');
    expect(await cluster.liveNomad.policyNames()).toEqual(['readonly']);
  });
});
