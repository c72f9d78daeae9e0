import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diagnose } from '../doctor/diagnosis.ts';
import { requireServers } from '../servers/binaries.ts';
import type { CommandResult } from '../servers/command.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveVault } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

describe.skipIf(!requireServers('nomad', 'vault'))('doctor on real servers', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let workspace: Workspace;

  beforeAll(async () => {
    vault = await startVault();
    nomad = await startNomad({ client: false, vaultAddress: vault.address });
    workspace = new Workspace({ nomad, vault });
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
    workspace.write('rules.hcl', 'node { policy = "read" }');
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  const done = (result: CommandResult): string => {
    expect([result.code, result.stderr]).toEqual([0, expect.any(String)]);
    return result.stdout;
  };
  const onNomad = async (...args: string[]): Promise<string> => done(await nomad.run(...args));
  const onVault = async (...args: string[]): Promise<string> => done(await vault.run(...args));
  const healthy = async (): Promise<void> => {
    const { code, ailments } = await diagnose(workspace, '-f', 'manifests');
    expect([code, ailments]).toEqual([0, []]);
  };
  const rules = (): string => `${workspace.manifests}/rules.hcl`;

  it('a healthy pair has nothing but what is in order', healthy);

  it('a token that names a policy that is not there, and a rule that binds to what is not there', async () => {
    const made = JSON.parse(await onNomad('acl', 'token', 'create', '-name=ci', '-policy=absent', '-json')) as {
      AccessorID: string;
    };
    await onNomad(
      ...['acl', 'auth-method', 'create', '-name=sso', '-type=JWT', '-token-locality=local', '-max-token-ttl=1h'],
      `-config={"JWKSURL":"${nomad.address}/.well-known/jwks.json","BoundAudiences":["x"]}`,
    );
    const rule = JSON.parse(
      await onNomad(
        ...['acl', 'binding-rule', 'create', '-auth-method=sso', '-bind-type=role', '-bind-name=nobody', '-json'],
      ),
    ) as { ID: string };
    const first = await diagnose(workspace, '-f', 'manifests');
    expect(first.ailments).toEqual([
      'warning nomad-references policy/absent',
      `error nomad-binding-rules binding-rule/${rule.ID}`,
    ]);
    await onNomad('acl', 'auth-method', 'delete', 'sso');
    const second = await diagnose(workspace, '-f', 'manifests');
    expect(second.ailments).toContain(`warning nomad-binding-rules binding-rule/${rule.ID}`);
    await onNomad('acl', 'binding-rule', 'delete', rule.ID);
    await onNomad('acl', 'token', 'delete', made.AccessorID);
    await healthy();
  });

  it('a rule that asks for a claim that its auth method does not map, so that it gives nothing to anybody', async () => {
    const config = {
      JWKSURL: `${nomad.address}/.well-known/jwks.json`,
      BoundAudiences: ['x'],
      ClaimMappings: { sub: 'user', team: 'team' },
      ListClaimMappings: { groups: 'groups' },
    };
    await onNomad(
      ...['acl', 'auth-method', 'create', '-name=sso', '-type=JWT', '-token-locality=local', '-max-token-ttl=1h'],
      `-config=${JSON.stringify(config)}`,
    );
    const rule = async (selector: string, name: string): Promise<string> => {
      const made = await onNomad(
        ...['acl', 'binding-rule', 'create', '-auth-method=sso', '-bind-type=policy', `-bind-name=${name}`, '-json'],
        `-selector=${selector}`,
      );
      return (JSON.parse(made) as { ID: string }).ID;
    };
    await rule('value.user != "value.nobody" and "list.none" in list.groups', 'team-${value.team}');
    const wrong = [await rule('"ops" in list.group', 'team-${value.team}'), await rule('', 'team-${value.taem}')];
    const { ailments, words } = await diagnose(workspace, '-f', 'manifests');
    expect(ailments).toHaveLength(2);
    expect(ailments).toEqual(
      expect.arrayContaining(wrong.map((id) => `warning nomad-binding-rules binding-rule/${id}`)),
    );
    expect(words).toMatch(/it asks for list\.group, [^]*auth method sso/);
    expect(words).toContain('it asks for value.taem, ');
    const ids = JSON.parse(await onNomad('acl', 'binding-rule', 'list', '-json')) as { ID: string }[];
    for (const { ID } of ids) await onNomad('acl', 'binding-rule', 'delete', ID);
    await onNomad('acl', 'auth-method', 'delete', 'sso');
    await healthy();
  });

  it('a role whose policy was deleted afterwards, and a token whose role was', async () => {
    await onNomad('acl', 'policy', 'apply', 'going', rules());
    const role = JSON.parse(await onNomad('acl', 'role', 'create', '-name=r', '-policy=going', '-json')) as {
      ID: string;
    };
    const token = JSON.parse(await onNomad('acl', 'token', 'create', '-role-id', role.ID, '-json')) as {
      AccessorID: string;
    };
    await onNomad('acl', 'policy', 'delete', 'going');
    expect((await diagnose(workspace)).ailments).toEqual(['warning nomad-references policy/going']);
    await onNomad('acl', 'role', 'delete', role.ID);
    expect((await diagnose(workspace)).ailments).toEqual([`warning nomad-references role/${role.ID}`]);
    await onNomad('acl', 'token', 'delete', token.AccessorID);
    await healthy();
  });

  it('the audience, the algorithms, the policies and the accessor that do not fit, each by its own name', async () => {
    await onVault('write', 'auth/jwt-nomad/role/nomad-workloads', 'role_type=jwt', 'bound_audiences=other');
    await onVault(
      'write',
      'auth/jwt-nomad/role/nomad-workloads',
      'role_type=jwt',
      'token_policies=nomad-workloads,absent',
    );
    const jwks = `jwks_url=${nomad.address}/.well-known/jwks.json`;
    await onVault('write', 'auth/jwt-nomad/config', jwks, 'jwt_supported_algs=ES512', 'default_role=nomad-workloads');
    const { ailments, words } = await diagnose(workspace, '-f', 'manifests');
    expect([...new Set(ailments)]).toEqual([
      'error vault-keys auth/jwt-nomad/config',
      'error vault-audiences auth/jwt-nomad/role/nomad-workloads',
      'error vault-role-policies auth/jwt-nomad/role/nomad-workloads',
    ]);
    expect(words).toContain(
      'its bound audiences are other, and the default identity of NomadCluster/default has vault.io',
    );
    await onVault('auth', 'disable', 'jwt-nomad');
    await onVault('auth', 'enable', '-path=jwt-nomad', 'jwt');
    expect((await diagnose(workspace, '-f', 'manifests')).ailments).toContain('error vault-auth-mounts auth/jwt-nomad');
    await onVault(
      'write',
      'auth/jwt-nomad/config',
      jwks,
      'jwt_supported_algs=RS256,EdDSA',
      'default_role=nomad-workloads',
    );
    await onVault(
      ...[
        'write',
        'auth/jwt-nomad/role/nomad-workloads',
        'role_type=jwt',
        'user_claim=sub',
        'bound_audiences=vault.io',
      ],
      'token_policies=nomad-workloads',
    );
    expect((await diagnose(workspace, '-f', 'manifests')).ailments).toEqual([
      'error vault-accessors policy/nomad-workloads',
    ]);
    expect((await workspace.apply('--allow-mass-delete')).code).toBe(0);
    await healthy();
  });

  it('a token of Vault that lacks what is declared', async () => {
    await new LiveVault(vault).request('POST', 'sys/policies/acl/some', {
      policy: 'path "sys/auth" { capabilities = ["read"] }',
    });
    const token = (await onVault('token', 'create', '-policy=some', '-field=token')).trim();
    const { outcome } = workspace.start(['doctor', '-f', 'manifests'], { VAULT_TOKEN: token });
    const { code, stdout } = await outcome;
    expect([code, stdout]).toEqual([
      1,
      expect.stringContaining('sys/auth/jwt-nomad: our token lacks write, delete, sudo'),
    ]);
  });

  it('a token of Vault that is just good enough has nothing wrong, whatever else is mounted there', async () => {
    const policy = readFileSync('manifests/vault/nomad-access.hcl', 'utf8');
    await new LiveVault(vault).request('POST', 'sys/policies/acl/nomad-access', { policy });
    await onVault('auth', 'enable', '-path=of-others', 'jwt');
    const token = (await onVault('token', 'create', '-policy=nomad-access', '-field=token')).trim();
    const { outcome } = workspace.start(['doctor', '-f', 'manifests'], { VAULT_TOKEN: token });
    const { code, stdout } = await outcome;
    expect([code, stdout]).toEqual([0, expect.stringContaining('0 errors, 0 warnings')]);
    await onVault('auth', 'disable', 'of-others');
  });

  it('a secrets engine without access, by a token that is dead, and one that could not be disabled', async () => {
    await onVault('secrets', 'enable', 'nomad');
    expect((await diagnose(workspace)).ailments).toEqual(['error vault-nomad-engines nomad/config/access']);
    const made = JSON.parse(await onNomad('acl', 'token', 'create', '-type=management', '-json')) as {
      AccessorID: string;
      SecretID: string;
    };
    await onNomad('acl', 'policy', 'apply', 'reader', rules());
    await onVault('write', 'nomad/config/access', `address=${nomad.address}`, `token=${made.SecretID}`);
    await onVault('write', 'nomad/role/reader', 'policies=reader');
    const before = await onNomad('acl', 'token', 'list', '-json');
    expect((await diagnose(workspace, '--make-token')).ailments).toEqual([]);
    expect(await onNomad('acl', 'token', 'list', '-json')).toBe(before);
    await onVault('read', 'nomad/creds/reader');
    await onNomad('acl', 'token', 'delete', made.AccessorID);
    expect((await diagnose(workspace, '--make-token')).ailments).toEqual([
      'error vault-made-tokens nomad/creds/reader',
    ]);
    expect((await vault.run('secrets', 'disable', 'nomad')).code).not.toBe(0);
    const { ailments, words } = await diagnose(workspace);
    expect([ailments, words]).toEqual([
      ['error vault-nomad-engines nomad'],
      expect.stringContaining('vault lease revoke -force -prefix nomad; vault secrets disable nomad'),
    ]);
    await onVault('lease', 'revoke', '-force', '-prefix', 'nomad');
    await onVault('secrets', 'disable', 'nomad');
    await healthy();
  });

  it('a token of Vault that was revoked', async () => {
    const token = (await onVault('token', 'create', '-field=token')).trim();
    await onVault('token', 'revoke', token);
    const { code, stdout } = await workspace.start(['doctor', '-f', 'manifests'], { VAULT_TOKEN: token }).outcome;
    expect([code, stdout]).toEqual([1, expect.stringContaining('Vault does not accept our token')]);
    expect(stdout).toContain('1 error, 0 warnings');
  });
});

describe.skipIf(!requireServers('nomad'))('doctor on a Nomad without a management token', () => {
  const TOKEN = '11111111-1111-1111-1111-111111111111';

  it.each([
    ['whose ACLs are off', { acl: false }, 'ACLs are off: everybody may do everything'],
    ['that nobody has bootstrapped', {}, 'nobody has bootstrapped them yet'],
  ])('%s: says so, with a token and without one', async (_which, options, words) => {
    const nomad = await startNomad({ client: false, bootstrap: false, ...options });
    const workspace = new Workspace({ nomad: { address: nomad.address, token: TOKEN } });
    try {
      for (const token of ['', TOKEN]) {
        const { code, stdout } = await workspace.start(['doctor'], { NOMAD_TOKEN: token }).outcome;
        expect([token, code, stdout]).toEqual([token, 1, expect.stringContaining(words)]);
        expect(stdout).toMatch(/1 error, 0 warnings/);
      }
      if ('acl' in options) {
        workspace.write('policy.yaml', manifest('AclPolicy', 'p', 'rules: \'node { policy = "read" }\''));
        expect(JSON.stringify((await workspace.plan()).steps)).toMatch(/set `?acl \{ enabled = true \}/);
      }
      // It was only asked.
      if (!('acl' in options)) expect((await nomad.run('acl', 'bootstrap')).code).toBe(0);
    } finally {
      workspace.dispose();
      await nomad.stop();
    }
  });
});
