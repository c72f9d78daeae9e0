import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { useRealServers } from './real-servers.ts';
import { manifest } from './workspace.ts';

const GOOD_RULES = `path "secret/data/x" { capabilities = ["read"] }`;
const GOOD_ROLE = '{ name: good, boundAudiences: vault.io, tokenPolicies: [good] }';

/** What only the server can tell is wrong. */
describe.skipIf(!requireServers('nomad', 'vault'))('what a server refuses', () => {
  const servers = useRealServers();

  it('HCL that Nomad can not read: the error names the resource in Nomad’s words, and the rest is done', async () => {
    const { workspace, liveNomad } = servers;
    workspace.write(
      'p.yaml',
      manifest('AclPolicy', 'bad', 'rules: \'namespace "x" { policy = "fly" }\''),
      manifest('AclPolicy', 'good', `rules: 'namespace "x" { policy = "read" }'`),
    );
    const { code, stdout, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(/AclPolicy default\/bad.*Invalid namespace policy/s);
    expect(await liveNomad.policyNames()).toEqual(['good']);
  });

  it('HCL that Vault can not read: the error names the policy in Vault’s words, and the rest is done', async () => {
    const { workspace, liveVault, liveNomad } = servers;
    workspace.write(
      'i.yaml',
      manifest('AclPolicy', 'one', `rules: 'namespace "x" { policy = "read" }'`),
      manifest(
        'VaultJwtIntegration',
        'broken',
        `policies:\n  - { name: bad, rules: 'path "a" { capabilities = ["fly"] }' }\n  - { name: good, rules: '${GOOD_RULES}' }\nroles:\n  - ${GOOD_ROLE}`,
      ),
      manifest(
        'VaultJwtIntegration',
        'whole',
        `path: other\npolicies:\n  - { name: other, rules: '${GOOD_RULES}' }\nroles:\n  - ${GOOD_ROLE}`,
      ),
    );
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    const failed = steps.filter((s) => s.result?.status === 'failed');
    expect(failed.map((s) => [s.kind, s.name, s.object])).toEqual([
      ['VaultJwtIntegration', 'broken', 'default/policy/bad'],
    ]);
    expect(failed[0]?.result?.message).toMatch(/invalid capability "fly"/);
    expect(steps.find((s) => s.object === 'default/jwt-role/jwt-nomad/good')?.result?.status).toBe('skipped');
    expect(await liveVault.list('sys/policies/acl')).toEqual(expect.arrayContaining(['good', 'other']));
    expect(await liveVault.list('auth/other/role')).toEqual(['good']);
    expect(await liveNomad.policyNames()).toEqual(['one']);
  });

  it('a role that Vault does not take: the error names the role in Vault’s words, and the other role is made', async () => {
    const { workspace, liveVault } = servers;
    const bad = '{ name: bad, boundAudiences: vault.io, tokenPolicies: [good], tokenTtl: 2h, tokenMaxTtl: 1h }';
    workspace.write(
      'i.yaml',
      manifest(
        'VaultJwtIntegration',
        'workloads',
        `policies:\n  - { name: good, rules: '${GOOD_RULES}' }\nroles:\n  - ${GOOD_ROLE}\n  - ${bad}`,
      ),
    );
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    const failed = steps.filter((s) => s.result?.status === 'failed');
    expect(failed.map((s) => s.object)).toEqual(['default/jwt-role/jwt-nomad/bad']);
    expect(failed[0]?.result?.message).toMatch(/ttl/i);
    expect(await liveVault.list('auth/jwt-nomad/role')).toEqual(['good']);
    expect(workspace.recorded()).toContain('default/jwt-role/jwt-nomad/good');
    expect((await workspace.destroy()).code).toBe(0);
  });
});
