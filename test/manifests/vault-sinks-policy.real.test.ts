import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { SINKS, succeeded, TokenReaders, type Where } from '../e2e/token-readers.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { PolicyFile } from './vault-policy-file.ts';

const policy = new PolicyFile('token-sinks.hcl');
const READ = manifest('AclPolicy', 'read', `rules: 'node { policy = "read" }'`);

describe.skipIf(!requireServers('nomad', 'vault'))('the Vault policy for the secrets of tokens', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let readers: TokenReaders;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    readers = new TokenReaders({ nomad, vault });
    succeeded(await vault.run('secrets', 'enable', '-path=kv', '-version=1', 'kv'));
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop()]));
  beforeEach(async () => {
    const token = succeeded(await vault.run('token', 'create', '-policy=token-sinks', '-field=token')).trim();
    workspace = new Workspace({ nomad, vault: { address: vault.address, token } });
  });
  afterEach(async () => {
    workspace.dispose();
    for (const where of ['KV version 1', 'KV version 2'] as const)
      if (!(await readers.isEmpty(where))) await readers.purge(where);
    await new LiveNomad(nomad).clear();
  });

  const setPolicy = (text: string): Promise<unknown> =>
    new LiveVault(vault).request('PUT', 'sys/policies/acl/token-sinks', { policy: text });

  /** All that a secret can go through. @returns the first thing that did not work; undefined where all did. */
  async function life(where: Where): Promise<string | undefined> {
    const sink = JSON.stringify(SINKS[where]);
    workspace.write('all.yaml', READ, manifest('AclToken', 'ci', `policies: [read]\nwriteSecretTo: ${sink}`));
    if ((await workspace.apply()).code !== 0) return 'it is not made';
    const made = await readers.read(where);
    if (made === undefined) return 'nobody finds it';
    for (const harm of [
      () => readers.put(where, { accessor_id: 'other' }),
      () => readers.remove(where),
      () => readers.purge(where),
    ]) {
      await harm();
      if ((await workspace.apply()).code !== 0) return 'it is not put back';
      expect(await readers.read(where)).toEqual(made);
    }
    if ((await workspace.plan('--detailed-exitcode')).code !== 0) return 'it is not as declared afterwards';
    if ((await workspace.destroy()).code !== 0) return 'it is not removed';
    return (await readers.isEmpty(where)) ? undefined : 'something is left';
  }

  it.each(['KV version 1', 'KV version 2'] as const)('lets them be made, put back and removed in %s', async (where) => {
    await setPolicy(policy.text);
    expect(await life(where)).toBeUndefined();
  });

  it.each(policy.grants)('grants nothing in vain: without $capability on $path something fails', async (grant) => {
    await setPolicy(policy.without(grant));
    const where = grant.path.startsWith('kv/') ? 'KV version 1' : 'KV version 2';
    expect(await life(where), 'everything works without it').not.toBeUndefined();
  });
});
