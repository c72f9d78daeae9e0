import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { commandsFor, runOnVault } from '../manifests/vault-readme.ts';
import { requireServers } from '../servers/binaries.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { Issuer } from './issuer.ts';
import { LiveVault } from './live.ts';
import { readySeries, useOperators } from './operators.ts';
import { manifest, Workspace } from './workspace.ts';

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const POLICY = 'sys/policies/acl/nomad-workloads';

/** No Nomad is asked for anything: the keys come from an issuer of our own. */
describe.skipIf(!requireServers('vault'))('an operator that logs in at Vault', () => {
  const operators = useOperators();
  let vault: VaultServer;
  let live: LiveVault;
  let issuer: Issuer;
  let workspace: Workspace;
  let secretId: string;

  beforeAll(async () => {
    [vault, issuer] = await Promise.all([startVault(), Issuer.start()]);
    live = new LiveVault(vault);
  });
  afterAll(() => Promise.all([vault.stop(), issuer.stop()]));

  beforeEach(() => {
    runOnVault(vault, commandsFor(undefined));
    const approle = commandsFor('approle').replace('token_ttl=1h token_max_ttl=24h', 'token_ttl=6s token_max_ttl=12s');
    const [roleId = '', id = ''] = runOnVault(vault, approle).match(UUID) ?? [];
    secretId = id;
    workspace = new Workspace({ nomad: { address: 'http://127.0.0.1:1', token: 'unused' } });
    const auth = `auth: { approle: { roleId: "${roleId}", secretIdFile: ../secret-id } }\nsweepInterval: 500ms`;
    workspace.write('vault.yaml', manifest('VaultServer', 'default', `address: ${vault.address}\n${auth}`));
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${issuer.jwksUrl}`));
  });
  afterEach(async () => {
    workspace.dispose();
    await live.clear();
  });

  /** Accessors of the tokens that AppRole gave. */
  async function logins(): Promise<string[]> {
    const accessors = await live.list('auth/token/accessors');
    const found = await Promise.all(
      accessors.map(async (accessor) => {
        const { body } = await live.request<{ data?: { path: string } }>('POST', 'auth/token/lookup-accessor', {
          accessor,
        });
        return body.data?.path === 'auth/approle/login' ? [accessor] : [];
      }),
    );
    return found.flat();
  }

  /** Somebody changes a policy: it is put back. */
  async function expectPutBack(): Promise<void> {
    const { status } = await live.request('PUT', POLICY, { policy: '# changed' });
    expect(status).toBe(204);
    await vi.waitFor(
      async () => {
        expect((await live.data(POLICY))?.['policy']).not.toContain('# changed');
      },
      {
        timeout: 60_000,
        interval: 50,
      },
    );
  }

  it('keeps things as they are declared through renewals, new logins, revocations and a new SecretID, and leaves no token', async () => {
    workspace.write('../secret-id', secretId);
    const operator = await operators.start(workspace, '--allow-address', vault.address);
    await operator.until(readySeries('VaultJwtIntegration'), 1);
    const first = await logins();
    expect(first).toHaveLength(1);
    await vi.waitFor(
      async () => {
        expect(await logins()).not.toEqual(first);
      },
      { timeout: 60_000, interval: 100 },
    );
    await expectPutBack();
    for (const accessor of await logins()) await live.request('POST', 'auth/token/revoke-accessor', { accessor });
    await expectPutBack();
    const next = runOnVault(vault, 'vault write -force -field=secret_id auth/approle/role/nomad-access/secret-id');
    workspace.write('../secret-id', next);
    await live.request('POST', 'auth/approle/role/nomad-access/secret-id/destroy', { secret_id: secretId });
    for (const accessor of await logins()) await live.request('POST', 'auth/token/revoke-accessor', { accessor });
    await expectPutBack();
    expect(await operator.stop()).toBe(0);
    expect(await logins(), 'the token outlives the operator').toEqual([]);
    for (const secret of [secretId, next, 'hvs.']) expect(operator.log()).not.toContain(secret);
  });

  it('that cannot log in says why, does nothing, and begins by itself once it can', async () => {
    const operator = await operators.start(workspace, '--allow-address', vault.address);
    await vi.waitFor(
      () => {
        expect(operator.log()).toContain('there is no SecretID (spec.auth.approle.secretIdFile)');
      },
      {
        timeout: 60_000,
        interval: 50,
      },
    );
    expect(await live.mounts()).not.toContain('jwt-nomad/');
    workspace.write('../secret-id', secretId);
    await operator.until(readySeries('VaultJwtIntegration'), 1, 20_000);
    expect(await operator.stop()).toBe(0);
  });
});
