import { beforeEach, describe, expect, it } from 'vitest';
import type { RequestHook, Sandbox } from '../../src/sandbox/index.ts';
import { Random } from '../faults/random.ts';
import { useSandbox } from './sandbox-workspace.ts';
import { manifest, numberedPolicies, Workspace } from './workspace.ts';

const COUNT = 40;

describe('an apply through faults', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    workspace.write('policies.yaml', ...numberedPolicies(COUNT));
    workspace.write(
      'tokens.yaml',
      ...Array.from({ length: COUNT }, (_, i) =>
        manifest(
          'AclToken',
          `t${String(i)}`,
          `policies: [p${String(i)}]\nwriteSecretTo: { file: { path: secrets/t${String(i)} } }`,
        ),
      ),
    );
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
  });

  function expectDeclared(): void {
    const { policies, tokens } = sandbox.nomad.server.snapshot();
    expect(policies).toHaveLength(COUNT);
    const ours = tokens.filter((t) => t.Name.includes('[na:'));
    expect(ours).toHaveLength(COUNT);
    for (const token of ours)
      expect(workspace.read(`secrets/${token.Name.split(' ')[0] ?? ''}`)).toBe(`${token.SecretID}\n`);
  }

  it.each([1, 2, 3, 4, 5])(
    'of every kind, one request in twelve, is over in the declared state (seed %i)',
    async (seed) => {
      const random = new Random(seed);
      const faults: RequestHook = ({ phase }) => {
        if (!random.chance(1 / 24)) return undefined;
        const which = random.below(5);
        if (which === 0) return 'drop';
        const status = [429, 500, 502, 503][which - 1] ?? 500;
        // A reply that says "not done" after it was done is a lost reply too.
        return phase === 'after' && status === 429 ? undefined : { status, body: 'fault' };
      };
      sandbox.onRequest = faults;
      const first = await workspace.run('apply', '-f', 'manifests', '-y');
      sandbox.onRequest = undefined;
      if (first.code !== 0) expect((await workspace.apply()).code, first.stdout).toBe(0);
      expectDeclared();
      expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    },
  );

  it('a server that says 429 with Retry-After is given time, and nothing fails', async () => {
    let refused = 0;
    // Not the JWKS: that is fetched by Vault, which has no patience.
    sandbox.onRequest = ({ phase, target, path }) =>
      target === 'nomad' && path.startsWith('/v1/') && phase === 'before' && refused < 30 && ++refused % 2 === 1
        ? { status: 429, body: 'slow down', headers: { 'retry-after': '1' } }
        : undefined;
    const { code, steps } = await workspace.apply();
    expect(code, JSON.stringify(steps.filter((s) => s.result?.status !== 'done'))).toBe(0);
    expect(refused).toBe(30);
    expectDeclared();
  });

  it('a sealed Vault is named as such, and Nomad’s part is done', async () => {
    sandbox.vault.server.seal();
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    expect(steps.find((s) => s.kind === 'VaultJwtIntegration')).toMatchObject({
      action: 'refuse',
      reason: 'Unavailable',
      message: expect.stringContaining('unseal it') as string,
    });
    expectDeclared();
  });

  it('what is read as refused is never taken for absent', async () => {
    await workspace.apply();
    sandbox.onRequest = ({ phase, path }) =>
      phase === 'before' && path.startsWith('/v1/acl/') ? { status: 403, body: 'Permission denied' } : undefined;
    const { code, steps } = await workspace.apply();
    expect(code).toBe(1);
    expect(new Set(steps.filter((s) => s.kind !== 'VaultJwtIntegration').map((s) => s.action))).toEqual(
      new Set(['refuse']),
    );
    sandbox.onRequest = undefined;
    expectDeclared();
  });

  it('an Enterprise namespace holds everything, and the root namespace nothing', async () => {
    sandbox.vault.server.createNamespace('team');
    workspace.write(
      'vault.yaml',
      manifest(
        'VaultServer',
        'default',
        `address: ${sandbox.vault.address}\nnamespace: team\nauth: { tokenEnv: VAULT_TOKEN }`,
      ),
    );
    expect((await workspace.apply()).code).toBe(0);
    const mounts = (namespace: string): string[] =>
      Object.keys((sandbox.vault.server.snapshot(namespace) as { mounts: object }).mounts);
    expect([mounts('team'), mounts('')]).toEqual([['token', 'jwt-nomad'], ['token']]);
    const { stdout } = await workspace.run('status', '-f', 'manifests', '-o', 'json');
    expect(stdout).toContain('namespace = \\"team\\"');
  });
});
