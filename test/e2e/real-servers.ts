import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { Workspace } from './workspace.ts';

/** A Nomad and a Vault that every test finds as they were when they were started, and an empty folder of manifests. */
export interface RealServers {
  readonly nomad: NomadServer;
  readonly vault: VaultServer;
  readonly liveNomad: LiveNomad;
  readonly liveVault: LiveVault;
  readonly workspace: Workspace;
}

/** Registers what starts, cleans and stops them in the surrounding `describe`; filled in before the first test. */
export function useRealServers(): RealServers {
  const servers = {} as { -readonly [field in keyof RealServers]: RealServers[field] };
  let clean: unknown;
  const everything = async (): Promise<unknown> => [
    await servers.liveNomad.everything(),
    await servers.liveVault.everything(),
  ];
  beforeAll(async () => {
    const [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    Object.assign(servers, { nomad, vault, liveNomad: new LiveNomad(nomad), liveVault: new LiveVault(vault) });
    clean = await everything();
  });
  afterAll(() => Promise.all([servers.nomad.stop(), servers.vault.stop()]));
  beforeEach(() => {
    servers.workspace = new Workspace(servers);
  });
  afterEach(async () => {
    servers.workspace.dispose();
    await servers.liveNomad.clear();
    await servers.liveVault.clear();
    expect(await everything()).toEqual(clean);
  });
  return servers;
}
