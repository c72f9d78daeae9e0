import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diagnose } from '../doctor/diagnosis.ts';
import { PolicyFile } from '../manifests/vault-policy-file.ts';
import { requireServers } from '../servers/binaries.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';
import { succeeded } from './token-readers.ts';
import { manifest, Workspace } from './workspace.ts';

const policy = new PolicyFile('token-sinks.hcl');

describe.skipIf(!requireServers('vault'))('doctor on the rights that secrets in KV engines need', () => {
  let vault: VaultServer;
  let workspace: Workspace;

  beforeAll(async () => {
    vault = await startVault();
    succeeded(await vault.run('secrets', 'enable', '-path=kv', '-version=1', 'kv'));
    const token = succeeded(await vault.run('token', 'create', '-policy=token-sinks', '-field=token')).trim();
    workspace = new Workspace({ vault: { address: vault.address, token } });
    const sink = (name: string, mount: string, path: string): string =>
      manifest('AclToken', name, `policies: [read]\nwriteSecretTo: { vaultKv: { mount: ${mount}, path: ${path} } }`);
    workspace.write('tokens.yaml', sink('one', 'kv', 'ci/one'), sink('two', 'secret', 'ci/two'));
  });
  afterAll(async () => {
    workspace.dispose();
    await vault.stop();
  });

  async function rightsWith(text: string): Promise<{ objects: string[]; words: string }> {
    await new LiveVault(vault).request('PUT', 'sys/policies/acl/token-sinks', { policy: text });
    const { findings } = await diagnose(workspace, '-f', 'manifests');
    const wrong = findings.filter(({ check, severity }) => check === 'vault-rights' && severity !== 'ok');
    return {
      objects: wrong.map(({ object }) => object),
      words: wrong.map(({ message, advice }) => `${message} ${advice}`).join('\n'),
    };
  }

  it('finds nothing where the token has those of the shipped policy', async () => {
    expect(await rightsWith(policy.text)).toEqual({ objects: [], words: '' });
  });

  it.each(policy.grants)('names the path and the right where $capability on $path is missing', async (grant) => {
    const { objects, words } = await rightsWith(policy.without(grant));
    expect(objects).toEqual([grant.path.replace('*', grant.path.startsWith('kv/') ? 'one' : 'two')]);
    expect(words).toContain(`our token lacks ${grant.capability} there`);
    expect(words).toContain('manifests/vault/token-sinks.hcl');
  });

  it('says so where the token has no right at all below a mount, or nothing is mounted there', async () => {
    const { objects, words } = await rightsWith(
      'path "secret/*" { capabilities = ["create", "read", "update", "delete"] }',
    );
    expect(objects).toEqual(['kv']);
    expect(words).toContain('nothing is mounted around kv/ci/one, or the token');
  });
});
