import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const NONE = 'writeSecretTo: { none: {} }';
const token = (name: string, spec: string): string => manifest('AclToken', name, spec);
const role = (name: string, policies: string): string =>
  `roles:\n  - { name: ${name}, boundAudiences: vault.io, tokenPolicies: [${policies}] }`;

interface Case {
  readonly grants: string;
  readonly refused: string;
  readonly granted: string;
  /** What the refusal names: the grant, and what it does not allow. */
  readonly names: readonly string[];
  /** Other objects of the same resource are made: each is decided for itself. */
  readonly othersAreMade?: true;
}

const NOMAD: Record<string, Case> = {
  'the namespace of a resource': {
    grants: 'namespaces: [team-*]',
    refused: manifest('AclPolicy', 'one', READ, 'namespace: other'),
    granted: manifest('AclPolicy', 'one', READ, 'namespace: team-a'),
    names: ['grants.namespaces', 'other'],
  },
  'the name of a policy': {
    grants: 'names: [team-*]',
    refused: manifest('AclPolicy', 'one', READ),
    granted: manifest('AclPolicy', 'team-one', READ),
    names: ['grants.names', 'one'],
  },
  'the namespace of a job that a policy is attached to': {
    grants: 'names: [team-*]',
    refused: manifest('AclPolicy', 'team-one', `${READ}\njobAcl: { namespace: default, jobId: team-job }`),
    granted: manifest('AclPolicy', 'team-one', `${READ}\njobAcl: { namespace: team-a, jobId: team-job }`),
    names: ['grants.names', 'default'],
  },
  'the job that a policy is attached to': {
    grants: 'names: [team-*]',
    refused: manifest('AclPolicy', 'team-one', `${READ}\njobAcl: { namespace: team-a, jobId: payroll }`),
    granted: manifest('AclPolicy', 'team-one', `${READ}\njobAcl: { namespace: team-a, jobId: team-job }`),
    names: ['grants.names', 'payroll'],
  },
  'the name of a token': {
    grants: 'names: [team-*]',
    refused: token('ci', `policies: [team-one]\n${NONE}`),
    granted: token('team-ci', `policies: [team-one]\n${NONE}`),
    names: ['grants.names', '"ci"'],
  },
  'the policies of a token': {
    grants: 'names: [team-*]',
    refused: token('team-ci', `policies: [team-one, admin]\n${NONE}`),
    granted: token('team-ci', `policies: [team-one, team-two]\n${NONE}`),
    names: ['grants.names', 'admin'],
  },
  'the roles of a token': {
    grants: 'names: [team-*]',
    refused: token('team-ci', `policies: [team-one]\nroles: [admin]\n${NONE}`),
    granted: token('team-ci', `policies: [team-one]\n${NONE}`),
    names: ['grants.names', 'admin'],
  },
  'the file that a secret is written to': {
    grants: 'names: [team-*]',
    refused: token('team-ci', 'policies: [team-one]\nwriteSecretTo: { file: { path: other/ci } }'),
    granted: token('team-ci', 'policies: [team-one]\nwriteSecretTo: { file: { path: team-a/ci } }'),
    names: ['grants.names', 'other/ci'],
  },
  'the variable that a secret is written to': {
    grants: 'names: [team-*, default/team-a/*]',
    refused: token('team-ci', 'policies: [team-one]\nwriteSecretTo: { nomadVariable: { path: nomad/jobs/payroll } }'),
    granted: token('team-ci', 'policies: [team-one]\nwriteSecretTo: { nomadVariable: { path: team-a/ci } }'),
    names: ['grants.names', '"default/nomad/jobs/payroll"'],
  },
  'management tokens': {
    grants: 'managementTokens: false',
    refused: token('boss', `type: management\n${NONE}`),
    granted: token('ci', `policies: [one]\n${NONE}`),
    names: ['grants.managementTokens'],
  },
  'management tokens, where nothing is said of them': {
    grants: 'names: ["*"]',
    refused: token('boss', `type: management\n${NONE}`),
    granted: token('ci', `policies: [one]\n${NONE}`),
    names: ['grants.managementTokens'],
  },
  'global tokens': {
    grants: 'managementTokens: true',
    refused: token('everywhere', `policies: [one]\nglobal: true\n${NONE}`),
    granted: token('boss', `type: management\n${NONE}`),
    names: ['grants.globalTokens'],
  },
};

const VAULT: Record<string, Case> = {
  'the namespace of an integration': {
    grants: 'namespaces: [platform]',
    refused: manifest('VaultJwtIntegration', 'workloads'),
    granted: manifest('VaultJwtIntegration', 'workloads', '', 'namespace: platform'),
    names: ['grants.namespaces', 'default'],
  },
  'the path of a mount': {
    grants: 'names: [team-*, nomad-workloads]',
    refused: manifest('VaultJwtIntegration', 'workloads', 'adoptionPolicy: Always'),
    granted: manifest('VaultJwtIntegration', 'workloads', 'path: team-a'),
    names: ['grants.names', 'jwt-nomad'],
  },
  'the name of a role': {
    grants: 'names: [team-*, nomad-workloads, jwt-nomad]',
    refused: manifest('VaultJwtIntegration', 'workloads', role('admin', 'team-one')),
    granted: manifest('VaultJwtIntegration', 'workloads', role('team-a', 'team-one')),
    names: ['grants.names', 'admin'],
    othersAreMade: true,
  },
  'the policies that a login gives': {
    grants: 'names: [team-*, nomad-workloads, jwt-nomad]',
    refused: manifest('VaultJwtIntegration', 'workloads', role('team-a', 'root-like')),
    granted: manifest('VaultJwtIntegration', 'workloads', role('team-a', 'team-one')),
    names: ['grants.names', 'root-like'],
    othersAreMade: true,
  },
  'the namespace of a token whose secret is written there': {
    grants: 'namespaces: [platform]',
    refused: token('ci', 'policies: [one]\nwriteSecretTo: { vaultKv: { path: platform/ci } }'),
    granted: manifest(
      'AclToken',
      'ci',
      'policies: [one]\nwriteSecretTo: { vaultKv: { path: platform/ci } }',
      'namespace: platform',
    ),
    names: ['grants.namespaces', 'default'],
  },
  'the secret that a token is written to': {
    grants: 'names: [secret/team-a/*]',
    refused: token('ci', 'policies: [one]\nwriteSecretTo: { vaultKv: { path: team-b/ci } }'),
    granted: token('ci', 'policies: [one]\nwriteSecretTo: { vaultKv: { path: team-a/ci } }'),
    names: ['grants.names', '"secret/team-b/ci"'],
  },
};

/** Who writes manifests may do through a connection what its administrator granted, and nothing else. */
describe.skipIf(!requireServers('nomad', 'vault'))('grants bind', () => {
  const servers = useRealServers();

  function connection(kind: 'NomadCluster' | 'VaultServer', grants: string): string {
    const { address } = kind === 'NomadCluster' ? servers.nomad : servers.vault;
    const variable = kind === 'NomadCluster' ? 'NOMAD_TOKEN' : 'VAULT_TOKEN';
    return manifest(kind, 'default', `address: ${address}\nauth: { tokenEnv: ${variable} }\ngrants: { ${grants} }`);
  }

  async function check(kind: 'NomadCluster' | 'VaultServer', one: Case): Promise<void> {
    const { workspace, liveNomad, liveVault } = servers;
    const before = [await liveNomad.everything(), await liveVault.everything()];
    workspace.write('connection.yaml', connection(kind, one.grants));
    workspace.write('resource.yaml', one.refused);
    const first = await workspace.apply();
    expect(first.code).toBe(1);
    const refusals = first.steps.filter((s) => s.reason === 'NotGranted');
    expect(refusals.length, JSON.stringify(first.steps)).toBeGreaterThan(0);
    for (const text of one.names) expect(refusals.map((s) => s.message).join('\n')).toContain(text);
    for (const s of refusals) expect(s.message).toContain(`${kind} default`);
    for (const { object } of refusals) expect(workspace.recorded()).not.toContain(object);
    if (!one.othersAreMade) expect([await liveNomad.everything(), await liveVault.everything()]).toEqual(before);

    workspace.write('resource.yaml', one.granted);
    const second = await workspace.apply();
    expect(second.code, JSON.stringify(second.steps)).toBe(0);
    expect(second.summary['create']).toBeGreaterThan(0);
  }

  it.each(Object.entries(NOMAD))('%s', (_what, one) => check('NomadCluster', one));
  it.each(Object.entries(VAULT))('%s', (_what, one) => check('VaultServer', one));

  it('what was granted when it was made can still be taken away when it is not any more', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write('connection.yaml', connection('NomadCluster', 'names: ["*"]'));
    workspace.write('resource.yaml', manifest('AclPolicy', 'one', READ));
    expect((await workspace.apply()).code).toBe(0);
    workspace.write('connection.yaml', connection('NomadCluster', 'names: [team-*]'));
    expect((await workspace.apply()).steps.map((s) => s.reason)).toEqual(['NotGranted']);
    expect(await liveNomad.policyNames()).toEqual(['one']);
    workspace.remove('resource.yaml');
    expect((await workspace.apply()).steps.map((s) => s.action)).toEqual(['delete']);
    expect(await liveNomad.policyNames()).toEqual([]);
  });
});
