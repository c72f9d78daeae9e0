import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { Counter, startProxy, type Boundary, type Hook, type Proxy } from './proxy.ts';
import { manifest, Workspace, type Outcome } from './workspace.ts';

/** More than there are connections. */
const TOKENS = 200;

describe.skipIf(!requireServers('nomad', 'vault'))('Ctrl-C in the middle of an apply', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let liveNomad: LiveNomad;
  let liveVault: LiveVault;
  let proxies: Proxy[];
  let hook: Hook = () => 'pass';
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    liveNomad = new LiveNomad(nomad);
    liveVault = new LiveVault(vault);
    const counter = new Counter();
    proxies = await Promise.all([nomad, vault].map(({ address }) => startProxy(address, counter, () => hook)));
  });
  afterAll(async () => {
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await Promise.all([nomad.stop(), vault.stop()]);
  });
  beforeEach(() => {
    const [nomadAddress = '', vaultAddress = ''] = proxies.map((proxy) => proxy.address);
    workspace = new Workspace({
      nomad: { address: nomadAddress, token: nomad.token },
      vault: { address: vaultAddress, token: vault.token },
    });
  });
  afterEach(() => {
    hook = () => 'pass';
    workspace.dispose();
  });

  function declareTokens(): void {
    workspace.write(
      'tokens.yaml',
      ...Array.from({ length: TOKENS }, (_, i) =>
        manifest('AclToken', `t${String(i)}`, 'policies: [p]\nwriteSecretTo: { none: {} }'),
      ),
    );
  }

  function declareIntegration(): void {
    const jwksUrl = `${nomad.address}/.well-known/jwks.json`;
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', `jwksUrl: ${jwksUrl}`));
  }

  /** Sends signals at the first boundary that is `at`; what comes to such a boundary is held until `release`. */
  function interrupt(
    at: (boundary: Boundary) => boolean,
    signals: 1 | 2,
  ): { outcome: Promise<Outcome>; release: () => void } {
    let release: () => void = () => undefined;
    const held = new Promise<void>((done) => (release = done));
    let sent: Promise<void> | undefined;
    const { child, outcome } = workspace.start(['apply', '-f', 'manifests', '-y']);
    const heard = new Promise<void>((done) =>
      child.stderr?.on('data', (text: Buffer) => {
        if (String(text).includes('once more ends at once')) done();
      }),
    );
    const send = async (): Promise<void> => {
      child.kill('SIGINT');
      await heard;
      if (signals === 2) child.kill('SIGINT');
      else release();
    };
    hook = async (boundary): Promise<'pass' | 'cut'> => {
      if (!at(boundary)) return 'pass';
      await (sent ??= send());
      await held;
      return 'pass';
    };
    return { outcome, release };
  }

  /** When the tenth token has been made. */
  function tenthToken(): (boundary: Boundary) => boolean {
    let posts = 0;
    return ({ method, phase }) => method === 'POST' && phase === 'after' && ++posts >= 10;
  }

  async function convergesWithoutDoubles(tokens: number): Promise<void> {
    hook = () => 'pass';
    const applied = await workspace.apply();
    expect(applied.code, JSON.stringify(applied.steps.filter((s) => s.action !== 'noop'))).toBe(0);
    const names = (await liveNomad.marked()).map((t) => t.Name);
    expect(names).toHaveLength(tokens);
    expect(new Set(names).size).toBe(tokens);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    expect((await workspace.destroy()).code).toBe(0);
    expect(await liveNomad.marked()).toEqual([]);
    expect(await liveVault.mounts()).toEqual(['token/']);
    expect(await liveVault.list('sys/policies/acl')).toEqual(['default', 'root']);
  }

  it('finishes what is running, records it, and says what was not begun', async () => {
    declareTokens();
    const { code, stdout, stderr } = await interrupt(tenthToken(), 1).outcome;
    expect(code).not.toBe(0);
    expect(stderr).toContain('finishing what is running');
    expect(stdout + stderr).toMatch(/interrupted: (\d+ objects of )?AclToken default\//);
    const made = (await liveNomad.marked()).length;
    expect(made).toBeGreaterThanOrEqual(10);
    expect(made).toBeLessThan(TOKENS);
    expect(stdout).toContain(`${String(made)} done`);
    await convergesWithoutDoubles(TOKENS);
  });

  it('a second one ends at once, and the next apply finds what was begun', async () => {
    declareTokens();
    const { outcome, release } = interrupt(tenthToken(), 2);
    expect((await outcome).code).toBe(130);
    release();
    await convergesWithoutDoubles(TOKENS);
  });

  it.each<[string, RegExp]>([
    ['the mount is enabled', /^\/v1\/sys\/auth\/jwt-nomad/],
    ['the mount is configured', /^\/v1\/auth\/jwt-nomad\/config/],
    ['the policy is written', /^\/v1\/sys\/policies\/acl\/nomad-workloads/],
    ['the role is written', /^\/v1\/auth\/jwt-nomad\/role\/nomad-workloads/],
  ])('while %s: that is finished and recorded, nothing further is begun', async (_what, url) => {
    declareIntegration();
    const written: string[] = [];
    const isWrite = ({ method }: Boundary): boolean => method !== 'GET' && method !== 'LIST';
    const at = (boundary: Boundary): boolean => {
      if (boundary.phase === 'before' && isWrite(boundary)) written.push(boundary.path);
      return boundary.phase === 'after' && isWrite(boundary) && url.test(boundary.path);
    };
    const { code, stderr } = await interrupt(at, 1).outcome;
    const isLast = url.test('/v1/auth/jwt-nomad/role/nomad-workloads');
    expect(code === 0, stderr).toBe(isLast);
    expect(written.at(-1)).toMatch(url);
    const { objects } = workspace.inventory();
    expect(objects.filter((o) => o.state === 'owned')).toHaveLength(written.length);
    await convergesWithoutDoubles(0);
  });

  it('a second one while the mount is enabled ends at once, and the next apply takes the mount for ours', async () => {
    declareIntegration();
    const at = ({ method, phase, path }: Boundary): boolean =>
      method !== 'GET' && phase === 'after' && path.startsWith('/v1/sys/auth/jwt-nomad');
    const { outcome, release } = interrupt(at, 2);
    expect((await outcome).code).toBe(130);
    release();
    expect(await liveVault.mounts()).toContain('jwt-nomad/');
    await convergesWithoutDoubles(0);
  });

  it.each([1, 2] as const)(
    'while the servers are still read, %i signal(s): nothing is written anywhere',
    async (signals) => {
      declareTokens();
      declareIntegration();
      const writes: string[] = [];
      const at = ({ method, phase, path }: Boundary): boolean => {
        if (method !== 'GET' && method !== 'LIST') writes.push(`${method} ${path}`);
        return phase === 'before' && path.startsWith('/v1/acl/tokens');
      };
      const { outcome, release } = interrupt(at, signals);
      const { code } = await outcome;
      release();
      expect(code).not.toBe(0);
      expect(writes).toEqual([]);
      expect(await liveNomad.marked()).toEqual([]);
      expect(await liveVault.mounts()).toEqual(['token/']);
      expect(workspace.isRecorded()).toBe(false);
      await convergesWithoutDoubles(TOKENS);
    },
  );
});
