import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { apply } from '../../src/cli/commands/apply.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { contentOf } from './leaks.ts';
import { LiveNomad } from './live.ts';
import { Counter, startProxy, type Boundary, type Proxy } from './proxy.ts';
import { manifest, Workspace, type Outcome } from './workspace.ts';

const TOKEN_FILE = 'secrets/nomad/token';
const READ = `'namespace "default" { policy = "read" }'`;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe.skipIf(!requireServers('nomad'))('bootstrapping Nomad', () => {
  let nomad: NomadServer;
  let workspace: Workspace;
  let proxies: Proxy[];
  /** What the test knows of secrets, beside that in the file. */
  let secrets: string[];

  beforeEach(async () => {
    nomad = await startNomad({ client: false, bootstrap: false });
    workspace = new Workspace({});
    proxies = [];
    secrets = [];
    declare();
  });
  afterEach(async () => {
    // Whatever came before: what is secret is in its file and nowhere else.
    if (existsSync(tokenPath())) secrets.push(readToken());
    const everything = [...workspace.printed, contentOf(workspace.folder)].join('\n');
    for (const secret of secrets) expect(everything).not.toContain(secret);
    workspace.dispose();
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await nomad.stop();
  });

  const tokenPath = (): string => join(workspace.manifests, TOKEN_FILE);
  const readToken = (): string => readFileSync(tokenPath(), 'utf8').trim();

  function declare(address = nomad.address, more = 'bootstrap: {}'): void {
    workspace.retarget({ nomad: { address, token: '' } });
    workspace.write(
      'nomad.yaml',
      manifest('NomadCluster', 'default', `address: ${address}\nauth: { tokenFile: ${TOKEN_FILE} }\n${more}`),
    );
  }
  function put(token: string): void {
    mkdirSync(dirname(tokenPath()), { recursive: true });
    writeFileSync(tokenPath(), `${token}\n`);
    secrets.push(token);
  }
  const command = (...more: string[]): Promise<Outcome> => workspace.run('bootstrap', '-f', 'manifests', ...more);

  async function bootstrapElsewhere(): Promise<string> {
    const secret = randomUUID();
    secrets.push(secret);
    const { status } = await new LiveNomad(nomad).request('PUT', '/v1/acl/bootstrap', { BootstrapSecret: secret });
    expect(status).toBe(200);
    return secret;
  }

  const liveAs = (token: string): LiveNomad => new LiveNomad({ address: nomad.address, token });

  /** There is one token on Nomad, and it is that of the file. */
  async function expectOurs(): Promise<void> {
    const tokens = await liveAs(readToken()).tokens();
    expect(tokens.map(({ Name, Type }) => [Name, Type])).toEqual([['Bootstrap Token', 'management']]);
    expect(statSync(tokenPath()).mode & 0o777).toBe(0o600);
  }

  /** Stands before Nomad. @param at told of each boundary; its answer decides. */
  async function through(at: (boundary: Boundary) => 'pass' | 'cut'): Promise<void> {
    const proxy = await startProxy(nomad.address, new Counter(), () => at);
    proxies.push(proxy);
    declare(proxy.address);
  }

  it('the first time makes the token, the second time writes nothing anywhere', async () => {
    const first = await command('-o', 'json');
    expect([first.code, first.stderr]).toEqual([0, '']);
    expect(readToken()).toMatch(UUID);
    await expectOurs();
    const [bootstrapToken] = await liveAs(readToken()).tokens();
    const cluster = { cluster: 'default', accessorId: bootstrapToken?.AccessorID, place: tokenPath() };
    expect(JSON.parse(first.stdout)).toEqual({ clusters: [{ ...cluster, result: 'bootstrapped' }] });

    const before = [readToken(), statSync(tokenPath()).mtimeMs];
    const second = await command('-o', 'json');
    expect(second.code).toBe(0);
    expect(JSON.parse(second.stdout)).toEqual({ clusters: [{ ...cluster, result: 'bootstrapped before' }] });
    expect([readToken(), statSync(tokenPath()).mtimeMs]).toEqual(before);
    expect((await command()).stdout).toBe(
      `NomadCluster default: nothing to do. ACLs are bootstrapped, and the token in ${tokenPath()} (accessor ${String(cluster.accessorId)}) is known there.\n`,
    );
  });

  it('a cluster is meant by its name, also without spec.bootstrap; without either nothing is done', async () => {
    declare(nomad.address, '');
    const neither = await command();
    expect([neither.code, neither.stderr]).toEqual([1, expect.stringContaining('no NomadCluster has spec.bootstrap')]);
    const unknown = await command('other');
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('no NomadCluster named other')]);
    expect(existsSync(tokenPath())).toBe(false);
    expect((await command('default')).code).toBe(0);
    await expectOurs();
  });

  it('killed when the token is in its place and Nomad has not heard of it: the next run asks with that token', async () => {
    let inPlace = '';
    await through(({ phase, method }) => {
      if (phase === 'after' || method !== 'PUT' || !existsSync(tokenPath())) return 'pass';
      inPlace = readToken();
      running.child.kill('SIGKILL');
      return 'cut';
    });
    const running = workspace.start(['bootstrap', '-f', 'manifests']);
    expect((await running.outcome).signal).toBe('SIGKILL');
    expect(inPlace).toMatch(UUID);
    declare();
    expect((await command()).code).toBe(0);
    expect(readToken()).toBe(inPlace);
    await expectOurs();
  });

  it('killed when Nomad has done it, before it could say so: the next run finds its own token there', async () => {
    await through(({ phase, method }) => {
      if (phase === 'before' || method !== 'PUT' || !existsSync(tokenPath())) return 'pass';
      running.child.kill('SIGKILL');
      return 'cut';
    });
    const running = workspace.start(['bootstrap', '-f', 'manifests']);
    expect((await running.outcome).signal).toBe('SIGKILL');
    declare();
    expect((await command()).stdout).toContain('nothing to do');
    await expectOurs();
  });

  it('a reply that is lost is no failure', async () => {
    let lost = 0;
    await through(({ phase, method }) =>
      phase === 'after' && method === 'PUT' && existsSync(tokenPath()) && lost++ === 0 ? 'cut' : 'pass',
    );
    expect((await command()).code).toBe(0);
    expect(lost).toBeGreaterThan(0);
    await expectOurs();
  });

  it('bootstrapped by somebody else: nothing is written, and it is said what to do', async () => {
    await bootstrapElsewhere();
    const { code, stderr } = await command();
    expect([code, stderr]).toEqual([1, expect.stringMatching(/bootstrapped already.*acl-bootstrap-reset/s)]);
    expect(existsSync(tokenPath())).toBe(false);
  });

  it('a token of somebody else’s is in the place: it stays there, and it is said what to do', async () => {
    await bootstrapElsewhere();
    put(randomUUID());
    const before = readToken();
    const { code, stderr } = await command();
    expect([code, stderr]).toEqual([1, expect.stringMatching(/not with the token in .*acl-bootstrap-reset/s)]);
    expect(readToken()).toBe(before);
  });

  it('a reset that the message tells of lets the token in the place be the one', async () => {
    const former = await bootstrapElsewhere();
    const { body } = await liveAs('').request<string>('PUT', '/v1/acl/bootstrap');
    const [, index = ''] = /reset index: (\d+)/.exec(body) ?? [];
    writeFileSync(join(nomad.dataDir, 'server', 'acl-bootstrap-reset'), index);
    const run = await command();
    expect([run.code, run.stderr]).toEqual([0, '']);
    expect(await liveAs(readToken()).accepts(readToken())).toBe(true);
    // Nomad keeps the former one.
    expect(await liveAs(former).accepts(former)).toBe(true);
  });

  it.each(['', 'not a token at all', 'abc'])('what is no SecretID stays where it is: %j', async (content) => {
    mkdirSync(dirname(tokenPath()), { recursive: true });
    writeFileSync(tokenPath(), content);
    const { code, stderr } = await command();
    expect([code, stderr]).toEqual([1, expect.stringContaining(tokenPath())]);
    expect(readFileSync(tokenPath(), 'utf8')).toBe(content);
    writeFileSync(tokenPath(), randomUUID());
  });

  it('a server that was made anew is bootstrapped with the token that is there', async () => {
    expect((await command()).code).toBe(0);
    const before = [readToken(), statSync(tokenPath()).mtimeMs];
    const { ports } = nomad;
    await nomad.stop();
    nomad = await startNomad({ client: false, bootstrap: false, ports });
    const again = await command('-o', 'json');
    expect([again.code, JSON.parse(again.stdout)]).toMatchObject([0, { clusters: [{ result: 'bootstrapped' }] }]);
    expect([readToken(), statSync(tokenPath()).mtimeMs]).toEqual(before);
    await expectOurs();
  });

  it('two at once, or more, end with one token for all', async () => {
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => command('-o', 'json')));
    expect(outcomes.map(({ code, stderr }) => [code, stderr])).toEqual(outcomes.map(() => [0, '']));
    await expectOurs();
    const accessors = outcomes.map(
      ({ stdout }) => (JSON.parse(stdout) as { clusters: { accessorId: string }[] }).clusters[0]?.accessorId,
    );
    expect(new Set(accessors).size).toBe(1);
  });

  it('apply of a cluster, a policy and a token in one go on a new server; plan says beforehand what is missing', async () => {
    workspace.write('policy.yaml', manifest('AclPolicy', 'readonly', `rules: ${READ}`));
    const sink = 'writeSecretTo: { file: { path: secrets/dashboard } }';
    workspace.write('token.yaml', manifest('AclToken', 'dashboard', `policies: [readonly]\n${sink}`));
    const planned = await workspace.run('plan', '-f', 'manifests');
    expect([planned.code, planned.stderr]).toEqual([1, expect.stringContaining('nomad-access bootstrap makes one')]);
    expect(existsSync(tokenPath())).toBe(false);

    const applied = await workspace.apply();
    expect(applied).toMatchObject({ code: 0, summary: { refuse: 0 } });
    expect(workspace.printed.at(-1)).toContain(`ACLs are not bootstrapped yet: that is done now, with a token in`);
    const live = liveAs(readToken());
    expect(await live.policyNames()).toEqual(['readonly']);
    const dashboard = readFileSync(join(workspace.manifests, 'secrets/dashboard'), 'utf8').trim();
    secrets.push(dashboard);
    expect(await live.accepts(dashboard)).toBe(true);
    const again = await workspace.apply();
    expect(again.steps.map(({ action }) => action)).toEqual(again.steps.map(() => 'noop'));
    expect(workspace.printed.at(-1)).toBe('');
    // What bootstrapped is neither the declaration's nor deleted with it.
    expect(await workspace.destroy()).toMatchObject({ code: 0 });
    await expectOurs();
  });

  it('the manual’s manifest and commands do what it says', async () => {
    const manual = readFileSync(resolve(import.meta.dirname, '../../docs/operation.md'), 'utf8');
    const section = manual.split('\n## ').find((text) => text.startsWith('A new Nomad: `bootstrap`')) ?? '';
    const [yaml = '', shell = ''] = [...section.matchAll(/```\w+\n(.*?)```/gs)].map(([, block = '']) => block);
    const access = join(workspace.folder, 'access');
    mkdirSync(access);
    writeFileSync(join(access, 'nomad.yaml'), yaml.replace('http://127.0.0.1:4646', nomad.address));
    writeFileSync(join(access, 'policy.yaml'), manifest('AclPolicy', 'readonly', `rules: ${READ}`));
    const commands = [...shell.matchAll(/^nomad-access (.*)$/gm)].map(([, line = '']) => line.split(' '));
    expect(commands.map(([name]) => name)).toEqual(['bootstrap', 'apply']);
    for (const args of commands) {
      const { code, stderr } = await workspace.run(...args);
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('rror')]);
    }
    const token = readFileSync(join(workspace.folder, 'secrets/nomad-token'), 'utf8').trim();
    secrets.push(token);
    expect(await liveAs(token).policyNames()).toEqual(['readonly']);
    expect((await workspace.run('bootstrap', '-f', 'access')).stdout).toContain('nothing to do');
  });

  it('waits for a server that is still starting', async () => {
    const { ports } = nomad;
    await nomad.stop();
    const { outcome } = workspace.start(['bootstrap', '-f', 'manifests']);
    nomad = await startNomad({ client: false, bootstrap: false, ports });
    expect(await outcome).toMatchObject({ code: 0, stderr: '' });
    await expectOurs();
  });

  it('apply asks a person first; anything but "yes" leaves Nomad and the place as they are', async () => {
    workspace.write('policy.yaml', manifest('AclPolicy', 'readonly', `rules: ${READ}`));
    vi.stubEnv('NOMAD_ADDR', nomad.address);
    try {
      const asked: string[] = [];
      const answering = (answer: string): Terminal => ({
        out: (text) => workspace.printed.push(text),
        err: (text) => workspace.printed.push(text),
        paint: (_style, text) => text,
        paintErr: (_style, text) => text,
        interactive: true,
        ask: (question) => Promise.resolve(asked.push(question) > 0 ? answer : ''),
      });
      const options = { file: [workspace.manifests], owner: 'default', output: 'text', yes: false } as const;
      const run = (answer: string): Promise<number> =>
        apply({ ...options, allowMassDelete: false }, answering(answer), new AbortController().signal);
      await expect(run('y')).rejects.toThrow('not bootstrapped: nothing was done');
      expect(existsSync(tokenPath())).toBe(false);
      const probe = await liveAs('').request('PUT', '/v1/acl/bootstrap', { BootstrapSecret: 'none' });
      expect(probe).toEqual({ status: 400, body: 'invalid acl token' });

      expect(await run('yes')).toBe(0);
      expect(asked).toHaveLength(3);
      expect(asked[1]).toBe(
        `NomadCluster default: its ACLs are not bootstrapped yet. Do that now, with a token in ${tokenPath()}? Only "yes" does it: `,
      );
      expect(await liveAs(readToken()).policyNames()).toEqual(['readonly']);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('destroy bootstraps nothing', async () => {
    workspace.write('policy.yaml', manifest('AclPolicy', 'readonly', `rules: ${READ}`));
    expect((await workspace.apply()).code).toBe(0);
    const { ports } = nomad;
    await nomad.stop();
    nomad = await startNomad({ client: false, bootstrap: false, ports });
    expect((await workspace.destroy()).code).toBe(1);
    expect((await liveAs(readToken()).request('GET', '/v1/acl/tokens')).status).toBe(403);
  });
});

describe.skipIf(!requireServers('nomad'))('bootstrapping a Nomad whose ACLs are off', () => {
  it('is refused in words that say what to do, and the place stays empty', async () => {
    const nomad = await startNomad({ client: false, acl: false, bootstrap: false });
    const workspace = new Workspace({ nomad: { address: nomad.address, token: '' } });
    try {
      const spec = `address: ${nomad.address}\nauth: { tokenFile: token }\nbootstrap: {}`;
      workspace.write('nomad.yaml', manifest('NomadCluster', 'default', spec));
      const { code, stderr } = await workspace.run('bootstrap', '-f', 'manifests');
      expect([code, stderr]).toEqual([1, expect.stringMatching(/ACL support disabled: set acl \{ enabled = true \}/)]);
      expect(existsSync(join(workspace.manifests, 'token'))).toBe(false);
    } finally {
      workspace.dispose();
      await nomad.stop();
    }
  });
});
