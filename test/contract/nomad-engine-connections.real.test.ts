import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { requireServers } from '../servers/binaries.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from '../e2e/live.ts';

const TOKENS = 20;
const ESTABLISHED = '01';

describe.skipIf(!requireServers('nomad', 'vault'))('Vault’s secrets engine for Nomad', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
  });
  afterAll(async () => {
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  it('leaves a connection to Nomad open for each token that it makes', async () => {
    const live = new LiveVault(vault);
    await live.request('POST', 'sys/mounts/nomad', { type: 'nomad' });
    await live.request('POST', 'nomad/config/access', { address: nomad.address, token: nomad.token });
    await live.request('POST', 'nomad/role/any', { type: 'management' });
    const before = connectionsTo(nomad.address);
    for (let made = 0; made < TOKENS; made++) expect((await live.request('GET', 'nomad/creds/any')).status).toBe(200);
    expect(connectionsTo(nomad.address) - before).toBeGreaterThanOrEqual(TOKENS - 1);
  });
});

/** From this machine to a port of its own, as the kernel lists them: local address, remote address, state. */
function connectionsTo(address: string): number {
  const port = Number(new URL(address).port).toString(16).toUpperCase().padStart(4, '0');
  const lines = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, state]) => remote?.endsWith(`:${port}`) === true && state === ESTABLISHED).length;
}
