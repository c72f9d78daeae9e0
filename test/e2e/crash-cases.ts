import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { LiveNomad, LiveVault } from './live.ts';
import { Counter, startProxy, type Boundary, type Hook } from './proxy.ts';
import { manifest, Workspace, type Target } from './workspace.ts';

interface Servers {
  readonly nomad: { readonly address: string; readonly token: string };
  readonly vault: { readonly address: string; readonly token: string };
}

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const ROTATED = `rules: 'namespace "default" { policy = "write" }'`;

/** An apply that makes policies, tokens and an integration, before two servers, with something at each request boundary. */
export class CrashRig {
  readonly #servers: Servers;
  readonly #nomad: LiveNomad;
  readonly #vault: LiveVault;
  readonly #counter = new Counter();
  #hook: Hook = () => 'pass';
  #proxied: Target = {};
  #close: (() => Promise<void>)[] = [];
  readonly workspace: Workspace;

  constructor(servers: Servers) {
    this.#servers = servers;
    this.#nomad = new LiveNomad(servers.nomad);
    this.#vault = new LiveVault(servers.vault);
    this.workspace = new Workspace(servers);
  }

  async start(): Promise<void> {
    const hook = (): Hook => this.#hook;
    const nomad = await startProxy(this.#servers.nomad.address, this.#counter, hook);
    const vault = await startProxy(this.#servers.vault.address, this.#counter, hook);
    this.#close = [() => nomad.close(), () => vault.close()];
    this.#proxied = {
      nomad: { address: nomad.address, token: this.#servers.nomad.token },
      vault: { address: vault.address, token: this.#servers.vault.token },
    };
    this.workspace.retarget(this.#proxied);
  }

  async stop(): Promise<void> {
    this.workspace.dispose();
    await Promise.all(this.#close.map((close) => close()));
  }

  declare(rules = RULES): void {
    const jwks = `jwksUrl: ${this.#servers.nomad.address}/.well-known/jwks.json`;
    this.workspace.write('policies.yaml', manifest('AclPolicy', 'one', rules), manifest('AclPolicy', 'two', rules));
    this.workspace.write(
      'tokens.yaml',
      manifest('AclToken', 'first', 'policies: [one]\nwriteSecretTo: { file: { path: secrets/first } }'),
      manifest(
        'AclToken',
        'second',
        'policies: [one, two]\nexpirationTtl: 2h\nwriteSecretTo: { file: { path: secrets/second } }',
      ),
    );
    this.workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', jwks));
  }

  /** Replaces a token, drops another, changes the policies: updates, replacement and deletion in one apply. */
  declareChanged(): void {
    this.declare(ROTATED);
    this.workspace.write(
      'tokens.yaml',
      manifest('AclToken', 'first', 'policies: [one]\nglobal: true\nwriteSecretTo: { file: { path: secrets/first } }'),
    );
  }

  /** The number of requests that an apply makes when nothing goes wrong. */
  async requestsOfAnApply(): Promise<number> {
    this.#counter.requests = 0;
    this.#hook = () => 'pass';
    const { code, stdout, stderr } = await this.workspace.run('apply', '-f', 'manifests', '-y');
    expect(code, stdout + stderr).toBe(0);
    return this.#counter.requests;
  }

  /** Runs an apply that is killed with SIGKILL at a boundary. @returns whether it came that far. */
  async killAt(index: number, phase: Boundary['phase']): Promise<boolean> {
    this.#counter.requests = 0;
    const at = { killed: false };
    const { child, outcome } = this.workspace.start(['apply', '-f', 'manifests', '-y']);
    this.#hook = (boundary) => {
      if (at.killed) return 'cut';
      if (boundary.index !== index || boundary.phase !== phase) return 'pass';
      at.killed = true;
      child.kill('SIGKILL');
      return 'cut';
    };
    const { signal } = await outcome;
    this.#hook = () => 'pass';
    if (at.killed) expect(signal).toBe('SIGKILL');
    return at.killed;
  }

  /** Runs an apply of which one request is carried out, but its reply never comes. It must get over that by itself. */
  async loseReplyOf(index: number): Promise<void> {
    this.#counter.requests = 0;
    let lost = false;
    this.#hook = (boundary) => {
      if (lost || boundary.index !== index || boundary.phase !== 'after') return 'pass';
      lost = true;
      return 'cut';
    };
    const { code, stdout, stderr } = await this.workspace.run('apply', '-f', 'manifests', '-y');
    this.#hook = () => 'pass';
    expect(lost).toBe(true);
    expect(code, `lost the reply to request ${String(index)}\n${stdout}\n${stderr}`).toBe(0);
  }

  /** The next apply ends in the declared state: nothing left to do, not one token too many, every secret in its sink. */
  async converges(expectedTokens: readonly string[], because: string): Promise<void> {
    const { code, stdout, stderr } = await this.workspace.run('apply', '-f', 'manifests', '-y');
    expect(code, `${because}\n${stdout}\n${stderr}`).toBe(0);
    expect((await this.workspace.plan('--detailed-exitcode')).code, because).toBe(0);
    const ours = (await this.#nomad.tokens()).filter((t) => t.Name.includes('[na:'));
    expect(ours.map((t) => t.Name.replace(/ \[na:.*/, '')).sort(), because).toEqual(expectedTokens);
    for (const token of ours) {
      const name = token.Name.replace(/ \[na:.*/, '');
      const { SecretID } = await this.#nomad.token(token.AccessorID);
      expect(this.workspace.read(`secrets/${name}`), because).toBe(`${String(SecretID)}\n`);
    }
    expect(readdirSync(join(this.workspace.manifests, 'secrets')).sort(), because).toEqual(expectedTokens);
    expect(await this.#vault.data('auth/jwt-nomad/role/nomad-workloads'), because).toBeDefined();
    const accessor = String((await this.#vault.data('sys/auth/jwt-nomad'))?.['accessor']);
    expect(String((await this.#vault.data('sys/policies/acl/nomad-workloads'))?.['policy']), because).toContain(
      accessor,
    );
  }

  /** Back to the beginning, without what the command itself would do. */
  async reset(): Promise<void> {
    for (const t of await this.#nomad.tokens()) {
      if (t.Name.includes('[na:')) await this.#nomad.request('DELETE', `/v1/acl/token/${t.AccessorID}`);
    }
    for (const name of ['one', 'two']) await this.#nomad.request('DELETE', `/v1/acl/policy/${name}`);
    await this.#vault.request('DELETE', 'sys/auth/jwt-nomad');
    await this.#vault.request('DELETE', 'sys/policies/acl/nomad-workloads');
    rmSync(this.workspace.manifests, { recursive: true });
    this.declare();
  }

  /** Every SecretID of a token of ours, for the search for leaks. */
  async secrets(): Promise<string[]> {
    const tokens = await Promise.all((await this.#nomad.tokens()).map((t) => this.#nomad.token(t.AccessorID)));
    return tokens.map((t) => String(t['SecretID']));
  }

  state(): string {
    return readFileSync(join(this.workspace.manifests, '.nomad-access.state.json'), 'utf8');
  }
}
