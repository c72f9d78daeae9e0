import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { contentOf, Leaks } from './leaks.ts';
import { readySeries, useOperators } from './operators.ts';
import { useRealServers } from './real-servers.ts';
import type { RunningOperator } from './running.ts';
import { manifest } from './workspace.ts';

const READ = `rules: 'namespace "default" { policy = "read" }'`;
const FOREIGN = 'namespace "default" { policy = "write" }';
const SWEEP_MS = 5_000;
/** What an event told of: long before anything is looked at by itself. */
const AT_ONCE_MS = 10_000;
const ROLE = 'auth/jwt-nomad/role/nomad-workloads';
const CONFIG = 'auth/jwt-nomad/config';
const POLICY = 'sys/policies/acl/nomad-workloads';

describe.skipIf(!requireServers('nomad', 'vault'))('what somebody changes by hand is put back', () => {
  const servers = useRealServers();
  const operators = useOperators();

  /** Two policies, a token with its secret in a file, an integration: all of it made. */
  async function started(...args: string[]): Promise<RunningOperator> {
    const { workspace, vault } = servers;
    workspace.write('policies.yaml', manifest('AclPolicy', 'one', READ), manifest('AclPolicy', 'two', READ));
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: secrets/ci } }'),
    );
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    const vaultSpec = `address: ${vault.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: ${String(SWEEP_MS)}ms`;
    workspace.write('vault.yaml', manifest('VaultServer', 'default', vaultSpec));
    const operator = await operators.start(workspace, ...args);
    await operator.until(readySeries('AclPolicy'), 2);
    await operator.until(readySeries('AclToken'), 1);
    await operator.until(readySeries('VaultJwtIntegration'), 1);
    return operator;
  }

  /** What the machine makes us wait beyond what we asked for is not counted: the operator waits as well. */
  async function until(check: () => unknown, timeout: number): Promise<void> {
    let deadline = performance.now() + timeout;
    for (;;) {
      const asked = performance.now();
      const failure = await Promise.resolve()
        .then(check)
        .then(
          () => undefined,
          (error: unknown) => ({ error }),
        );
      if (failure === undefined) return;
      if (asked > deadline) throw failure.error;
      const before = performance.now();
      await sleep(10);
      deadline += performance.now() - before - 10;
    }
  }

  async function ourToken(): Promise<string> {
    const ours = await servers.liveNomad.marked();
    expect(ours).toHaveLength(1);
    return ours[0]?.AccessorID ?? '';
  }

  it('in a policy of Nomad: at once, edited or deleted', async () => {
    const { liveNomad } = servers;
    await started();
    await liveNomad.putPolicy('one', FOREIGN);
    await until(async () => {
      expect(await liveNomad.rulesOf('one')).toContain('read');
    }, AT_ONCE_MS);
    await liveNomad.request('DELETE', '/v1/acl/policy/two');
    await until(async () => {
      expect(await liveNomad.rulesOf('two')).toContain('read');
    }, AT_ONCE_MS);
  });

  it('in a token: an edit at once; a deleted one has a successor, whose secret is where readers look for it', async () => {
    const { liveNomad, workspace } = servers;
    const operator = await started();
    const accessorId = await ourToken();
    const lost = workspace.read('secrets/ci').trim();
    await liveNomad.request('POST', `/v1/acl/token/${accessorId}`, {
      ...(await liveNomad.token(accessorId)),
      Policies: ['one', 'two'],
    });
    await until(async () => {
      expect((await liveNomad.token(accessorId))['Policies']).toEqual(['one']);
    }, AT_ONCE_MS);
    expect(workspace.read('secrets/ci').trim()).toBe(lost);

    await liveNomad.request('DELETE', `/v1/acl/token/${accessorId}`);
    await until(async () => {
      const secret = workspace.read('secrets/ci').trim();
      expect(secret).not.toBe(lost);
      expect(await liveNomad.accepts(secret)).toBe(true);
    }, AT_ONCE_MS);
    expect(await liveNomad.accepts(lost)).toBe(false);
    expect(await ourToken()).not.toBe(accessorId);
    await operator.until(readySeries('AclToken'), 1);
    expect(await operator.stop()).toBe(0);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('in Vault: within a sweep and a second, whatever was changed of an integration', async () => {
    const { liveVault } = servers;
    const operator = await started();
    const role = await liveVault.data(ROLE);
    const config = await liveVault.data(CONFIG);
    const policy = await liveVault.data(POLICY);
    const accessor = String((await liveVault.data('sys/auth/jwt-nomad'))?.['accessor']);
    const changes: Record<
      string,
      { change: () => Promise<unknown>; path: string; right: Record<string, unknown> | undefined }
    > = {
      'an edited role': {
        change: () => liveVault.request('POST', ROLE, { ...role, token_period: 60, user_claim: 'nomad_job_id' }),
        path: ROLE,
        right: role,
      },
      'an edited policy': {
        change: () => liveVault.request('PUT', POLICY, { policy: 'path "*" { capabilities = ["sudo"] }' }),
        path: POLICY,
        right: policy,
      },
      'an edited config': {
        change: () => liveVault.request('POST', CONFIG, { ...config, default_role: 'theirs' }),
        path: CONFIG,
        right: config,
      },
      'a deleted role': { change: () => liveVault.request('DELETE', ROLE), path: ROLE, right: role },
      'a deleted policy': { change: () => liveVault.request('DELETE', POLICY), path: POLICY, right: policy },
    };
    for (const [what, { change, path, right }] of Object.entries(changes)) {
      await change();
      expect(await liveVault.data(path), what).not.toEqual(right);
      await until(async () => {
        expect(withoutEmpty(await liveVault.data(path)), what).toEqual(withoutEmpty(right));
      }, SWEEP_MS + 1_000);
    }

    await liveVault.request('DELETE', 'sys/auth/jwt-nomad');
    await until(async () => {
      const made = await liveVault.data('sys/auth/jwt-nomad');
      expect(made?.['accessor']).toBeTypeOf('string');
      expect(withoutEmpty(await liveVault.data(CONFIG))).toEqual(withoutEmpty(config));
      expect(withoutEmpty(await liveVault.data(ROLE))).toEqual(withoutEmpty(role));
      const { policy: text } = (await liveVault.data(POLICY)) as { policy: string };
      // Whoever logs in through the new mount is let in by its accessor.
      expect(text).toContain(String(made?.['accessor']));
      expect(text).not.toContain(accessor);
    }, SWEEP_MS + 1_000);
    await operator.until(readySeries('VaultJwtIntegration'), 1);
  });

  it('in Vault: within a sweep and a second, also of what has just been made', async () => {
    const { liveVault, workspace } = servers;
    const operator = await started();
    const paths = Array.from({ length: 8 }, (_, i) => `jwt-${String(i)}`);
    const roleOf = (path: string): string => `auth/${path}/role/nomad-workloads`;
    workspace.write('more.yaml', ...paths.map(integration));
    await operator.until(readySeries('VaultJwtIntegration'), 9, 30_000);
    for (const path of paths) await liveVault.request('DELETE', roleOf(path));
    await until(async () => {
      for (const path of paths) expect(await liveVault.data(roleOf(path)), path).toBeDefined();
    }, SWEEP_MS + 1_000);
  });

  it('in Vault: also where the token may not read another integration, which it says once', async () => {
    const { liveVault, workspace, vault } = servers;
    const rules =
      'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }\n' +
      'path "auth/jwt-hidden/*" { capabilities = ["deny"] }';
    await liveVault.request('PUT', 'sys/policies/acl/limited', { policy: rules });
    const { body } = await liveVault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
      policies: ['limited'],
      no_parent: true,
    });
    workspace.write('hidden.yaml', integration('jwt-hidden'));
    workspace.retarget({ nomad: servers.nomad, vault: { ...vault, token: body.auth.client_token } });
    const operator = await started();
    for (let i = 0; i < 2; i++) {
      await liveVault.request('DELETE', ROLE);
      await until(async () => {
        expect(await liveVault.data(ROLE)).toBeDefined();
      }, SWEEP_MS + 1_000);
    }
    const told = operator.lines().filter(({ msg }) => msg.includes('sync with VaultServer'));
    expect(told.map(({ msg }) => msg)).toEqual([expect.stringMatching(/jwt-hidden.*permission denied/)]);
  });

  it('in a file with a secret: whether it is gone, holds something else, or is open to others', async () => {
    const { workspace } = servers;
    const names = ['gone', 'other', 'open'];
    const sink = (name: string): string => `policies: [one]\nwriteSecretTo: { file: { path: secrets/${name} } }`;
    const operator = await started();
    workspace.write('token.yaml', ...names.map((name) => manifest('AclToken', name, sink(name))));
    await operator.until('nomad_access_resources_declared', 6);
    await operator.until(readySeries('AclToken'), 3);
    const right = names.map((name) => workspace.read(`secrets/${name}`));
    const pathOf = (name: string): string => join(workspace.manifests, 'secrets', name);
    rmSync(pathOf('gone'));
    writeFileSync(pathOf('other'), 'something else\n');
    chmodSync(pathOf('open'), 0o644);
    // Nobody tells of changes of files: they are looked at every 15 seconds.
    await until(() => {
      expect(names.map((name) => workspace.read(`secrets/${name}`))).toEqual(right);
      expect(names.map((name) => statSync(pathOf(name)).mode & 0o777)).toEqual([0o600, 0o600, 0o600]);
    }, 25_000);
    await operator.until('nomad_access_drift_corrected_total{kind="AclToken"}', 3);
  });

  it('and no secret is in anything that it says or keeps, not even with everything that makes a library talk', async () => {
    const { liveNomad, nomad, vault, workspace } = servers;
    const leaks = new Leaks();
    leaks.add(nomad.token, vault.token);
    const environment = workspace.environment();
    workspace.environment = () => ({
      ...environment,
      DEBUG: '*',
      NODE_DEBUG: 'http,https,net,tls,undici,fetch',
    });
    const operator = await started('--log-format', 'text', '--log-level', 'debug');
    await leaks.collect(liveNomad);
    for (let i = 0; i < 2; i++) {
      const accessorId = await ourToken();
      await liveNomad.request('DELETE', `/v1/acl/token/${accessorId}`);
      await until(async () => {
        expect(await ourToken()).not.toBe(accessorId);
        expect(leaks.in(workspace.read('secrets/ci'))).toEqual([]);
      }, 30_000);
      await leaks.collect(liveNomad);
    }
    workspace.write(
      'token.yaml',
      manifest('AclToken', 'ci', 'policies: [one]\nglobal: true\nwriteSecretTo: { file: { path: secrets/ci } }'),
    );
    await until(async () => {
      expect((await liveNomad.token(await ourToken()))['Global']).toBe(true);
    }, 30_000);
    await leaks.collect(liveNomad);
    workspace.write('secrets/theirs.yaml', 'kind: [');
    const metrics = (await operator.get('/metrics')).text;
    const readiness = (await operator.get('/readyz')).text;
    expect(await operator.stop()).toBe(0);

    expect(leaks.secrets.size).toBeGreaterThanOrEqual(6);
    const said = [operator.log(), operator.output(), metrics, readiness, contentOf(workspace.folder)];
    expect(operator.log().length).toBeGreaterThan(1_000);
    expect(said.map((text) => leaks.in(text))).toEqual(said.map(() => []));
  });
});

/** One with a mount, a policy and a role of its own. */
function integration(path: string): string {
  const policies = `policies: [{ name: ${path}, rules: 'path "x" { capabilities = ["read"] }' }]`;
  const roles = `roles: [{ name: nomad-workloads, boundAudiences: vault.io, tokenPolicies: ${path} }]`;
  return manifest('VaultJwtIntegration', path, `path: ${path}\n${policies}\n${roles}`);
}

/** Vault writes nothing in several ways. */
function withoutEmpty(data: Record<string, unknown> | undefined): Record<string, unknown> {
  const isEmpty = (value: unknown): boolean => value === null || Object.keys(Object(value) as object).length === 0;
  return Object.fromEntries(
    Object.entries(data ?? {}).filter(
      ([, value]) => typeof value === 'number' || typeof value === 'boolean' || !isEmpty(value),
    ),
  );
}
