import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

const policy = (name: string): string =>
  manifest('AclPolicy', name, `rules: 'namespace "default" { policy = "read" }'`);
const UNREACHABLE = 'http://127.0.0.9:1';

/** Credentials go to the address that came with them, and to those that whoever holds them allowed. */
describe.skipIf(!requireServers('nomad', 'vault'))('an address', () => {
  const servers = useRealServers();
  let thief: Server;
  let thiefs: string;
  let seen: string[];

  beforeEach(async () => {
    seen = [];
    thief = createServer((request, response) => {
      seen.push(JSON.stringify([request.method, request.url, request.headers]));
      response.end('[]');
    });
    await new Promise<void>((done) => thief.listen(0, '127.0.0.1', done));
    thiefs = `http://127.0.0.1:${String((thief.address() as AddressInfo).port)}`;
  });
  afterEach(() => {
    thief.close();
    thief.closeAllConnections();
  });

  const auths: [string, string][] = [
    ['the token of the environment', 'auth: { tokenEnv: NOMAD_TOKEN }'],
    ['another variable of the environment', 'auth: { tokenEnv: OTHER_TOKEN }'],
    ['the content of a file', 'auth: { tokenFile: token }'],
  ];
  const commands = [['plan'], ['apply', '-y'], ['destroy', '-y'], ['status']];

  it.each(auths)('of a Nomad that only a manifest names does not get %s, nor any request', async (_what, auth) => {
    const { workspace, nomad } = servers;
    writeFileSync(join(workspace.manifests, 'token'), nomad.token);
    workspace.write('a.yaml', policy('one'), manifest('NomadCluster', 'default', `address: ${thiefs}\n${auth}`));
    for (const [command = '', ...flags] of commands.filter(([c]) => c !== 'destroy')) {
      const run = workspace.start([command, '-f', 'manifests', ...flags], { OTHER_TOKEN: nomad.token });
      const { code, stderr } = await run.outcome;
      expect([command, code]).toEqual([command, 1]);
      expect(stderr).toContain(`--allow-address ${thiefs}`);
    }
    expect(seen).toEqual([]);
  });

  it.each([
    ['the token of the environment', 'auth: { tokenEnv: VAULT_TOKEN }'],
    ['the content of a file', 'auth: { tokenFile: token }'],
  ])('of a Vault that only a manifest names does not get %s, nor any request', async (_what, auth) => {
    const { workspace, vault } = servers;
    writeFileSync(join(workspace.manifests, 'token'), vault.token);
    workspace.write(
      'a.yaml',
      manifest('VaultJwtIntegration', 'workloads'),
      manifest('VaultServer', 'default', `address: ${thiefs}\n${auth}`),
    );
    for (const [command = '', ...flags] of commands.filter(([c]) => c !== 'destroy')) {
      const { code, stderr } = await workspace.run(command, '-f', 'manifests', ...flags);
      expect([command, code]).toEqual([command, 1]);
      expect(stderr).toContain(`--allow-address ${thiefs}`);
    }
    expect(seen).toEqual([]);
  });

  it('that an edited inventory names gets no credential either', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('a.yaml', policy('one'));
    await workspace.apply();
    const state = workspace.read('.nomad-access.state.json');
    for (const [command = '', ...flags] of commands) {
      workspace.write('.nomad-access.state.json', state.replaceAll(servers.nomad.address, thiefs));
      const { code, stdout } = await workspace.run(command, '-f', 'manifests', ...flags);
      if (command === 'status') expect(stdout).toContain('AddressChanged');
      else expect([command, code]).toEqual([command, 1]);
    }
    expect(seen).toEqual([]);
    expect(await liveNomad.policyNames()).toEqual(['one']);
  });

  it('that was allowed gets the credential: the manifest is applied there', async () => {
    const { workspace, nomad, vault, liveNomad, liveVault } = servers;
    workspace.retarget({
      nomad: { address: UNREACHABLE, token: nomad.token },
      vault: { address: UNREACHABLE, token: vault.token },
    });
    workspace.write(
      'a.yaml',
      policy('one'),
      manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${nomad.address}/.well-known/jwks.json`),
      manifest('NomadCluster', 'default', `address: ${nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }`),
      manifest('VaultServer', 'default', `address: ${vault.address}\nauth: { tokenEnv: VAULT_TOKEN }`),
    );
    const half = await workspace.run('apply', '-f', 'manifests', '-y', '--allow-address', nomad.address);
    expect([half.code, await liveNomad.policyNames()]).toEqual([1, []]);
    expect(half.stderr).toContain(`--allow-address ${vault.address}`);
    const allowed = ['--allow-address', nomad.address, '--allow-address', vault.address];
    const whole = await workspace.apply(...allowed);
    expect(whole.code, JSON.stringify(whole.steps)).toBe(0);
    expect(await liveNomad.policyNames()).toEqual(['one']);
    expect(await liveVault.mounts()).toContain('jwt-nomad/');
    expect((await workspace.destroy(...allowed)).code).toBe(0);
  });

  it('through which nothing could be made is not remembered: the right one is taken without a question', async () => {
    const { workspace, nomad, vault, liveVault } = servers;
    workspace.retarget({ nomad, vault: { address: UNREACHABLE, token: vault.token } });
    workspace.write('p.yaml', policy('one'));
    workspace.write('i.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const first = await workspace.apply();
    expect(first.code).toBe(1);
    expect(first.steps.find((s) => s.kind === 'AclPolicy')?.result?.status).toBe('done');
    expect(workspace.read('.nomad-access.state.json')).not.toContain(UNREACHABLE);

    workspace.retarget({ nomad, vault });
    const second = await workspace.apply();
    expect(second.code, JSON.stringify(second.steps)).toBe(0);
    expect(second.summary['refuse']).toBe(0);
    expect(await liveVault.mounts()).toContain('jwt-nomad/');
  });

  it('through which everything was deleted is forgotten: another one is taken without a question', async () => {
    const { workspace, nomad, vault, liveNomad } = servers;
    workspace.write('p.yaml', policy('one'));
    await workspace.apply();
    await workspace.destroy();
    workspace.retarget({
      nomad: { address: nomad.address.replace('127.0.0.1', 'localhost'), token: nomad.token },
      vault,
    });
    expect((await workspace.apply()).code).toBe(0);
    expect(await liveNomad.policyNames()).toEqual(['one']);
  });
});
