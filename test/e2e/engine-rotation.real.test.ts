import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { useOperators } from './operators.ts';
import { manifest, Workspace } from './workspace.ts';

const ROTATIONS = 6;
const OVERLAP_MS = 3000;

interface Lease {
  readonly lease_id: string;
  readonly data: { readonly secret_id: string };
}

describe.skipIf(!requireServers('nomad', 'vault'))('the management token of a Nomad engine of Vault', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let workspace: Workspace;
  const operators = useOperators();

  beforeAll(async () => {
    // Vault opens a connection for each token that it makes or revokes, and keeps it; Nomad takes 100 from an address, ours among them.
    const config = 'limits { http_max_conns_per_client = 0 }';
    [nomad, vault] = await Promise.all([startNomad({ client: false, config }), startVault()]);
    liveNomad = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
    workspace = new Workspace({ nomad, vault });
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });
  afterEach(() => {
    for (const text of workspace.printed) expect(text).not.toContain(nomad.token);
  });

  const declare = (rotation: string): void => {
    workspace.write(
      'all.yaml',
      manifest(
        'VaultServer',
        'default',
        `address: ${vault.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: 1s`,
      ),
      manifest('AclPolicy', 'read', `rules: 'namespace "default" { policy = "read" }'`),
      manifest('VaultNomadSecretsEngine', 'nomad', `lease: { ttl: 1h }\nrotation: ${rotation}`),
      manifest('VaultNomadRole', 'reader', 'engine: nomad\npolicies: [read]'),
    );
  };
  /** Accessor IDs by the number of the token. */
  const ours = async (): Promise<Map<number, string>> =>
    new Map(
      (await liveNomad.marked()).map(({ Name, AccessorID }) => [Number(/\.(\d+)\]$/.exec(Name)?.[1]), AccessorID]),
    );

  it('rotates under load and through a crash: Vault always makes and revokes tokens, and the former ones are gone', async () => {
    declare(`{ interval: 5s, overlap: ${String(OVERLAP_MS / 1000)}s }`);
    expect((await workspace.apply()).code).toBe(0);
    const first = (await liveVault.request<Lease>('GET', 'nomad/creds/reader')).body;
    const failed: unknown[] = [];
    let made = 0;
    let isOver = false;
    const pipelines = Array.from({ length: 3 }, async () => {
      while (!isOver) {
        const { status, body } = await liveVault.request<Lease>('GET', 'nomad/creds/reader');
        if (status !== 200) failed.push([status, body]);
        else {
          made++;
          if (!(await liveNomad.accepts(body.data.secret_id))) failed.push('Nomad does not know what Vault has made');
          const revoked = await liveVault.request('PUT', 'sys/leases/revoke', { lease_id: body.lease_id, sync: true });
          if (revoked.status !== 204) failed.push([revoked.status, revoked.body]);
        }
        await sleep(20);
      }
    });
    let operator = await operators.start(workspace);
    let isCrashed = false;
    for (let newest = 1; newest <= ROTATIONS;) {
      const numbers = [...(await ours()).keys()];
      expect(numbers.length).toBeLessThanOrEqual(2);
      newest = Math.max(...numbers);
      if (newest > ROTATIONS / 2 && !isCrashed) {
        isCrashed = true;
        operator.kill('SIGKILL');
        await operator.ended;
        operator = await operators.start(workspace);
      }
      await sleep(50);
    }
    isOver = true;
    await Promise.all(pipelines);
    expect([failed, isCrashed]).toEqual([[], true]);
    expect(made).toBeGreaterThan(ROTATIONS);

    // Nothing rotates any more, and what is in its overlap goes.
    declare('{ interval: 1h, overlap: 1s }');
    await vi.waitFor(
      async () => {
        expect((await ours()).size).toBe(1);
      },
      { timeout: 60_000, interval: 50 },
    );
    expect(await liveNomad.accepts(first.data.secret_id), 'a lease outlives the token that it was made by').toBe(true);
    const revoked = await liveVault.request('PUT', 'sys/leases/revoke', { lease_id: first.lease_id, sync: true });
    expect([revoked.status, await liveNomad.accepts(first.data.secret_id)]).toEqual([204, false]);
    expect(await operator.stop()).toBe(0);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    const [secret] = await Promise.all([...(await ours()).values()].map((id) => liveNomad.token(id)));
    for (const text of [...workspace.printed, JSON.stringify(workspace.inventory()), operator.log()])
      expect(text).not.toContain(String(secret?.['SecretID']));
    expect((await workspace.destroy()).code).toBe(0);
    expect((await liveNomad.tokens()).map(({ Name }) => Name)).toEqual(['Bootstrap Token']);
  });
});
