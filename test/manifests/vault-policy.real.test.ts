import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Issuer } from '../e2e/issuer.ts';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { PolicyFile } from './vault-policy-file.ts';
import { commandsFor, runOnVault } from './vault-readme.ts';

/** The command line ends a single field with no newline where it is not on a terminal. */
const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

const policy = new PolicyFile('nomad-access.hcl');

/** Paths of the half that is for integrations. */
const ofIntegrations = /^sys\/auth|jwt-nomad|nomad-workloads/;

/** Nomad issues the management token of the engine; the keys of the workloads come from an issuer of our own. */
describe.skipIf(!requireServers('nomad', 'vault'))('the Vault policy for the operator', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let live: LiveVault;
  let issuer: Issuer;
  let workspace: Workspace;
  let login: { roleId: string; secretId: string };

  beforeAll(async () => {
    [nomad, vault, issuer] = await Promise.all([startNomad({ client: false }), startVault(), Issuer.start()]);
    live = new LiveVault(vault);
    runOnVault(vault, commandsFor(undefined));
    const [roleId = '', secretId = ''] = runOnVault(vault, commandsFor('approle')).match(UUID) ?? [];
    login = { roleId, secretId };
  });
  afterAll(() => Promise.all([nomad.stop(), vault.stop(), issuer.stop()]));
  beforeEach(() => {
    workspace = new Workspace({ nomad });
    const auth = `auth: { approle: { roleId: ${login.roleId}, secretIdFile: ../secret-id } }`;
    workspace.write('vault.yaml', manifest('VaultServer', 'default', `address: ${vault.address}\n${auth}`));
    workspace.write('../secret-id', login.secretId);
  });
  afterEach(async () => {
    workspace.dispose();
    await live.request('DELETE', 'sys/auth/jwt-nomad');
    await live.request('PUT', 'sys/leases/revoke-force/nomad/creds');
    await live.request('DELETE', 'sys/mounts/nomad');
    await new LiveNomad(nomad).clear();
    for (const name of await live.list('sys/policies/acl'))
      if (name.startsWith('nomad-workloads')) await live.request('DELETE', `sys/policies/acl/${name}`);
  });

  const setPolicy = (text: string): Promise<unknown> =>
    live.request('PUT', 'sys/policies/acl/nomad-access', { policy: text });

  async function change(path: string, body: unknown): Promise<void> {
    const { status, body: answer } = await live.request('PUT', path, body);
    expect(status, JSON.stringify(answer)).toBe(204);
  }

  const all = (): string[] => ['--allow-address', vault.address];

  /** What did not work; undefined where all did. */
  function failed(what: string, { code, steps }: Awaited<ReturnType<Workspace['plan']>>): string | undefined {
    const wrong = steps.find(
      (s) => s.action === 'refuse' || (s.result && !['done', 'unchanged'].includes(s.result.status)),
    );
    return code === 0 && wrong === undefined ? undefined : `${what}: ${JSON.stringify(wrong)}`;
  }

  /** All that an integration can go through. @returns the first thing that did not work; undefined where all did. */
  async function integrationLife(): Promise<string | undefined> {
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${issuer.jwksUrl}`));
    const created = failed('create', await workspace.apply(...all()));
    if (created !== undefined) return created;
    const { token } = await live.login('jwt-nomad', 'nomad-workloads', await issuer.sign('job'));
    if (token === undefined) return 'what was made does not let tasks log in';
    const role = (await live.data('auth/jwt-nomad/role/nomad-workloads')) ?? {};
    await change('auth/jwt-nomad/role/nomad-workloads', { ...role, token_period: 7 });
    await change('auth/jwt-nomad/config', { jwks_url: issuer.jwksUrl, default_role: 'other' });
    await change('sys/policies/acl/nomad-workloads', { policy: '# changed' });
    const corrected = failed('correct', await workspace.apply(...all()));
    if (corrected !== undefined) return corrected;
    if ((await workspace.plan(...all(), '--detailed-exitcode')).code !== 0) return 'it is not as declared afterwards';
    workspace.remove('integration.yaml');
    const { steps } = await workspace.plan(...all());
    if (!steps.some((s) => s.message.includes('revokes 1 token'))) return 'the plan does not count the tokens';
    const removed = failed('remove', await workspace.apply(...all()));
    if (removed !== undefined) return removed;
    const left = [await live.mounts(), await live.list('sys/policies/acl')].flat().join();
    return /jwt-nomad|nomad-workloads/.test(left) ? `something is left: ${left}` : undefined;
  }

  /** All that an engine can go through. @returns as above. */
  async function engineLife(): Promise<string | undefined> {
    workspace.write('policy.yaml', manifest('AclPolicy', 'readonly', `rules: 'node { policy = "read" }'`));
    workspace.write('engine.yaml', manifest('VaultNomadSecretsEngine', 'nomad', 'lease: { ttl: 1h }'));
    workspace.write('role.yaml', manifest('VaultNomadRole', 'reader', 'engine: nomad\npolicies: [readonly]'));
    const created = failed('create', await workspace.apply(...all()));
    if (created !== undefined) return created;
    if ((await live.data('nomad/creds/reader')) === undefined) return 'it gives out no tokens';
    await change('nomad/config/lease', { ttl: 1, max_ttl: 2 });
    await change('nomad/config/access', { address: 'http://127.0.0.1:1', token: 'wrong' });
    await change('nomad/role/reader', { type: 'client', policies: ['other'] });
    const corrected = failed('correct', await workspace.apply(...all()));
    if (corrected !== undefined) return corrected;
    if ((await workspace.plan(...all(), '--detailed-exitcode')).code !== 0) return 'it is not as declared afterwards';
    workspace.remove('role.yaml');
    workspace.remove('engine.yaml');
    const { steps } = await workspace.plan(...all());
    if (!steps.some((s) => s.message.includes('revokes 1 lease'))) return 'the plan does not count the leases';
    const removed = failed('remove', await workspace.apply(...all(), '--allow-mass-delete'));
    if (removed !== undefined) return removed;
    return Object.keys((await live.data('sys/mounts')) ?? {}).includes('nomad/') ? 'the engine is left' : undefined;
  }

  it('lets an integration be made, corrected and removed, by a login and without root', async () => {
    await setPolicy(policy.text);
    expect(await integrationLife()).toBeUndefined();
  });

  it('lets a secrets engine be made, corrected and removed, likewise', async () => {
    await setPolicy(policy.text);
    expect(await engineLife()).toBeUndefined();
  });

  it.each(policy.grants)('grants nothing in vain: without $capability on $path something fails', async (grant) => {
    await setPolicy(policy.without(grant));
    const life = ofIntegrations.test(grant.path) ? integrationLife : engineLife;
    expect(await life(), 'everything works without it').not.toBeUndefined();
  });

  it('does not let the operator widen it', async () => {
    await setPolicy(policy.text);
    const name = { name: 'nomad-access', rules: 'path "*" { capabilities = ["sudo"] }' };
    workspace.write(
      'integration.yaml',
      manifest(
        'VaultJwtIntegration',
        'w',
        `jwksUrl: ${issuer.jwksUrl}\nadoptionPolicy: Always\npolicies: [${JSON.stringify(name)}]`,
      ),
    );
    const { code, steps } = await workspace.apply('--allow-address', vault.address);
    expect(code).toBe(1);
    expect(steps.find((s) => s.object === 'default/policy/nomad-access')?.message).toContain('permission denied');
    expect((await live.data('sys/policies/acl/nomad-access'))?.['policy']).toBe(policy.text);
  });
});
