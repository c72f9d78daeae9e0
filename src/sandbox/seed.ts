import type { NomadSandbox } from './nomad/server.ts';
import type { VaultSandbox } from './vault/server.ts';

/** What a cluster that is lived in looks like: things that somebody else made, and a secret to read. */
export async function seed(nomad: NomadSandbox, vault: VaultSandbox, vaultToken: string): Promise<void> {
  nomad.acl.putPolicy('ops-legacy', {
    Description: 'made by hand, years ago',
    Rules: 'node {\n  policy = "write"\n}\n',
  });
  nomad.acl.putToken({ Name: 'ops', Type: 'client', Policies: ['ops-legacy'] });
  const write = (path: string, body: unknown): Promise<unknown> =>
    vault.handle({
      method: 'PUT',
      path: `/v1/${path}`,
      query: new URLSearchParams(),
      headers: { 'x-vault-token': vaultToken },
      body,
    });
  await write('sys/auth/userpass', { type: 'userpass' });
  await write('secret/data/default/mongo/config', { data: { password: 'only-mongo-reads-this' } });
}
