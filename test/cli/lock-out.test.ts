import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { useOperators, type Operators } from '../e2e/operators.ts';
import type { RunningOperator } from '../e2e/running.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, type PlanOutput, type Workspace } from '../e2e/workspace.ts';

const POLICY = manifest('AclPolicy', 'readonly', `rules: 'namespace "default" { policy = "read" }'`);
const soon = { timeout: 30_000, interval: 50 };

/** What is deleted and what stays, with the reason. */
function outline({ steps }: PlanOutput): string[] {
  return steps
    .filter((s) => s.action !== 'noop')
    .map((s) => `${s.action} ${s.object.replace(/ \[na:.*\]$/, '')} ${s.reason}`)
    .sort();
}

/** An operator that has seen everything. */
async function synced(operators: Operators, workspace: Workspace): Promise<RunningOperator> {
  const operator = await operators.start(workspace, '--log-format', 'json');
  await vi.waitFor(async () => {
    expect((await operator.get('/readyz')).status).toBe(200);
  }, soon);
  return operator;
}

describe('the auth method that the operator itself logs in by', () => {
  const setting = useSandbox();
  const operators = useOperators();
  const rule = (name: string, bound = 'bindType: management'): string =>
    manifest('AclBindingRule', name, `authMethod: operator\nselector: 'value.sub == "operator"'\n${bound}`);
  const connect = (auth: string): void => {
    const { workspace, sandbox } = setting;
    const spec = `address: ${sandbox.nomad.address}\nauth: ${auth}`;
    workspace.write('nomad.yaml', manifest('NomadCluster', 'default', spec));
  };
  const byToken = (): void => {
    connect('{ tokenEnv: NOMAD_TOKEN }');
  };
  const byJwt = (): void => {
    connect(`{ jwt: { method: operator, tokenFile: ${join(setting.workspace.folder, 'jwt')} } }`);
  };
  const methods = async (): Promise<string[]> => {
    const { body } = await new LiveNomad(setting.sandbox.nomad).request<{ Name: string }[]>(
      'GET',
      '/v1/acl/auth-methods',
    );
    return body.map(({ Name }) => Name);
  };
  const policies = (): string[] => setting.sandbox.nomad.server.snapshot().policies.map((p) => p.Name);

  beforeEach(async () => {
    const { workspace } = setting;
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    const jwt = new SignJWT({ sub: 'operator' }).setProtectedHeader({ alg: 'RS256' }).setAudience('nomad');
    writeFileSync(join(workspace.folder, 'jwt'), await jwt.setIssuedAt().setExpirationTime('10m').sign(privateKey));
    const spec = `type: JWT
tokenLocality: local
maxTokenTtl: 1h
config:
  jwtValidationPubKeys: [${JSON.stringify(await exportSPKI(publicKey))}]
  boundAudiences: [nomad]
  claimMappings: { sub: sub }`;
    byToken();
    workspace.write('policy.yaml', POLICY);
    workspace.write('method.yaml', manifest('AclAuthMethod', 'operator', spec));
    workspace.write('rule.yaml', rule('operator'));
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { create: 3 } });
    byJwt();
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { noop: 3 } });
  });

  it('stays with the rule that gives management, whatever else goes, and says what to do', async () => {
    const { workspace } = setting;
    for (const file of ['method.yaml', 'rule.yaml', 'policy.yaml']) workspace.remove(file);
    const applied = await workspace.apply();
    expect([applied.code, outline(applied)]).toEqual([
      1,
      [
        'delete default/acl-policy/readonly Removed',
        'refuse default/acl-auth-method/operator InUse',
        'refuse default/acl-binding-rule/operator InUse',
      ],
    ]);
    expect(applied.steps.filter((s) => s.action === 'refuse').map((s) => s.message)).toEqual(
      [
        'NomadCluster default logs in by it, and would be locked out: change spec.auth of NomadCluster default first',
        'NomadCluster default logs in by it, and by no other one that is known here, and would be locked out: change spec.auth of NomadCluster default first',
      ].sort((a, b) => a.length - b.length),
    );
    // It still gets in.
    expect(await workspace.plan()).toMatchObject({ code: 1, summary: { refuse: 2 } });
    byToken();
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { delete: 2 } });
    expect(await methods()).toEqual([]);
  });

  it('is not left over by a destroy of everything: nothing is destroyed until it is declared otherwise', async () => {
    const { workspace } = setting;
    const { code, stderr } = await workspace.run('destroy', '-f', 'manifests', '-y');
    expect(code).toBe(1);
    expect(stderr).toContain('change spec.auth of NomadCluster default first, and apply that. Nothing was done');
    expect([await methods(), policies()]).toEqual([['operator'], ['readonly']]);
    byToken();
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { noop: 3 } });
    expect(await workspace.destroy()).toMatchObject({ code: 0, summary: { delete: 3 } });
    expect([await methods(), policies()]).toEqual([[], []]);
  });

  it('needs one rule that gives management: one of two may go, not both, and neither may give less instead', async () => {
    const { workspace } = setting;
    workspace.write('second.yaml', rule('second'));
    expect((await workspace.apply()).code).toBe(0);
    const second = workspace.read('second.yaml');
    workspace.remove('second.yaml');
    workspace.remove('rule.yaml');
    expect(outline(await workspace.plan())).toEqual(Array(2).fill('refuse default/acl-binding-rule/operator InUse'));
    const less = 'bindType: policy\nbindName: readonly';
    workspace.write('rule.yaml', rule('operator', less));
    workspace.write('second.yaml', rule('second', less));
    expect(outline(await workspace.plan())).toEqual(Array(2).fill('refuse default/acl-binding-rule/operator InUse'));
    workspace.write('second.yaml', second);
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { update: 1, refuse: 0 } });
    workspace.remove('rule.yaml');
    expect(await workspace.apply()).toMatchObject({ code: 0, summary: { delete: 1, refuse: 0 } });
  });

  it('stays whatever connection to the same Nomad it is declared through, and what it is not may go', async () => {
    const { workspace, sandbox } = setting;
    const spec = `address: ${sandbox.nomad.address}\nauth: `;
    workspace.write(
      'nomad.yaml',
      manifest('NomadCluster', 'default', `${spec}{ tokenEnv: NOMAD_TOKEN }`),
      manifest('NomadCluster', 'other', `${spec}{ jwt: { method: operator, tokenFile: ../jwt } }`),
    );
    workspace.remove('method.yaml');
    expect(outline(await workspace.plan())).toEqual(['refuse default/acl-auth-method/operator InUse']);
    workspace.write(
      'nomad.yaml',
      manifest('NomadCluster', 'default', `${spec}{ tokenEnv: NOMAD_TOKEN }`),
      manifest('NomadCluster', 'other', `${spec}{ jwt: { method: another, tokenFile: ../jwt } }`),
    );
    expect(outline(await workspace.plan())).toEqual(['delete default/acl-auth-method/operator Removed']);
  });

  it('goes by itself once the connection is declared otherwise', async () => {
    const { workspace } = setting;
    const operator = await synced(operators, workspace);
    workspace.remove('method.yaml');
    workspace.remove('rule.yaml');
    await vi.waitFor(() => {
      const refused = operator.lines().filter((l) => l.reason === 'InUse');
      expect(new Set(refused.map((l) => l.object?.split('/')[1]))).toEqual(
        new Set(['acl-auth-method', 'acl-binding-rule']),
      );
    }, soon);
    expect(await methods()).toEqual(['operator']);
    byToken();
    await vi.waitFor(async () => {
      expect(await methods()).toEqual([]);
    }, soon);
  });
});

describe('the engine of Vault’s that the operator has its own token of', () => {
  const setting = useSandbox();
  const operators = useOperators();
  const connect = (auth: string): void => {
    const { workspace, sandbox } = setting;
    const { address } = sandbox.nomad;
    workspace.write(
      'connections.yaml',
      manifest('NomadCluster', 'by-token', `address: ${address}\nauth: { tokenEnv: NOMAD_TOKEN }`),
      manifest('NomadCluster', 'default', `address: ${address}\nauth: ${auth}`),
    );
  };
  const byVault = (): void => {
    connect('{ vault: { role: operator } }');
  };
  const role = (name: string, gives: string): string => manifest('VaultNomadRole', name, `engine: nomad\n${gives}`);
  beforeEach(async () => {
    const { workspace } = setting;
    connect('{ tokenEnv: NOMAD_TOKEN }');
    workspace.write('policy.yaml', POLICY);
    workspace.write('engine.yaml', manifest('VaultNomadSecretsEngine', 'nomad', 'nomadRef: by-token'));
    workspace.write('operator.yaml', role('operator', 'type: management'));
    workspace.write('deploy.yaml', role('deploy', 'policies: [readonly]'));
    expect((await workspace.apply()).code).toBe(0);
    byVault();
    expect((await workspace.apply()).code).toBe(0);
  });

  it('stays whole, with its own token and the role, while other roles go', async () => {
    const { workspace } = setting;
    for (const file of ['engine.yaml', 'operator.yaml', 'deploy.yaml']) workspace.remove(file);
    const applied = await workspace.apply();
    expect(applied.code).toBe(1);
    expect(outline(applied)).toEqual([
      expect.stringMatching(/^delete default\/nomad-role\/nomad\/deploy Removed$/),
      expect.stringMatching(/^refuse by-token\/acl-token\/.* InUse$/),
      'refuse default/nomad-access/nomad InUse',
      'refuse default/nomad-lease/nomad InUse',
      'refuse default/nomad-role/nomad/operator InUse',
      'refuse default/secrets-mount/nomad InUse',
    ]);
    expect(await workspace.plan()).toMatchObject({ code: 1, summary: { refuse: 5 } });
    const destroyed = await workspace.run('destroy', '-f', 'manifests', '-y');
    expect([destroyed.code, destroyed.stderr]).toEqual([1, expect.stringContaining('Nothing was done')]);
    connect('{ tokenEnv: NOMAD_TOKEN }');
    expect(await workspace.apply('--allow-mass-delete')).toMatchObject({ code: 0, summary: { delete: 5 } });
    expect((await new LiveVault(setting.sandbox.vault).request('GET', 'nomad/config/lease')).status).toBe(404);
  });

  it('must go on giving management, until the connection is declared otherwise: then it is changed by itself', async () => {
    const { workspace } = setting;
    const operator = await synced(operators, workspace);
    workspace.write('operator.yaml', role('operator', 'policies: [readonly]'));
    await vi.waitFor(() => {
      expect(operator.lines().map((l) => l.reason)).toContain('InUse');
    }, soon);
    connect('{ tokenEnv: NOMAD_TOKEN }');
    await vi.waitFor(async () => {
      const role = await new LiveVault(setting.sandbox.vault).data('nomad/role/operator');
      expect(role).toMatchObject({ type: 'client', policies: ['readonly'] });
    }, soon);
  });
});

describe('the JWT mount that the operator logs in to Vault by', () => {
  const setting = useSandbox();

  it('stays whole with the policies that its login gives', async () => {
    const { workspace, sandbox } = setting;
    const connect = (auth: string): void => {
      const spec = `address: ${sandbox.vault.address}\nauth: ${auth}`;
      workspace.write('vault.yaml', manifest('VaultServer', 'default', spec));
    };
    connect('{ tokenEnv: VAULT_TOKEN }');
    const rules = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }';
    const spec = `policies: [{ name: operator, rules: '${rules}' }]
roles: [{ name: operator, boundAudiences: vault.io, tokenPolicies: operator }]`;
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'jobs', spec));
    expect((await workspace.apply()).code).toBe(0);
    workspace.remove('integration.yaml');
    connect('{ jwt: { mount: jwt-nomad, role: Operator, tokenFile: ../jwt } }');
    const jwt = await sandbox.nomad.server.keyring.mint({ nomad_job_id: 'nomad-access' }, 'vault.io');
    writeFileSync(join(workspace.folder, 'jwt'), jwt);
    expect(outline(await workspace.plan())).toEqual([
      'refuse default/auth-mount/jwt-nomad InUse',
      'refuse default/jwt-config/jwt-nomad InUse',
      'refuse default/jwt-role/jwt-nomad/operator InUse',
      'refuse default/policy/operator InUse',
    ]);
  });
});
