import { existsSync, readdirSync, renameSync, rmSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect } from 'vitest';
import { LiveNomad, LiveVault } from './live.ts';
import { Counter, startProxy, type Boundary, type Hook } from './proxy.ts';
import { manifest, Workspace, type Target } from './workspace.ts';

interface Servers {
  readonly nomad: { readonly address: string; readonly token: string };
  readonly vault: { readonly address: string; readonly token: string };
}

type Command = 'apply' | 'destroy';

/** What is done around a command that is ended in its middle. */
export interface Scenario {
  /** From nothing to the moment before the command. */
  readonly arrange: (rig: CrashRig) => Promise<void>;
  readonly command?: Command;
  /** What a user does next, and what must be true then. */
  readonly then: (rig: CrashRig, because: string) => Promise<void>;
}

/** Which boundaries: all of them, or every k-th beginning at some. */
export interface Sample {
  readonly every: number;
  readonly offset: number;
}

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const ROTATED = `rules: 'namespace "default" { policy = "write" }'`;
const SECRET_FILE = (name: string): string => `writeSecretTo: { file: { path: secrets/${name} } }`;

/** A command that makes, changes or deletes policies, tokens and an integration, with something at its request boundaries. */
export class CrashRig {
  readonly #servers: Servers;
  readonly #nomad: LiveNomad;
  readonly #vault: LiveVault;
  readonly #counter = new Counter();
  #hook: Hook = () => 'pass';
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
    const proxied: Target = {
      nomad: { address: nomad.address, token: this.#servers.nomad.token },
      vault: { address: vault.address, token: this.#servers.vault.token },
    };
    this.workspace.retarget(proxied);
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
      manifest('AclToken', 'first', `policies: [one]\n${SECRET_FILE('first')}`),
      manifest('AclToken', 'second', `policies: [one, two]\nexpirationTtl: 2h\n${SECRET_FILE('second')}`),
    );
    this.workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads', jwks));
  }

  /** Replaces a token, drops another, changes the policies: updates, replacement and deletion in one apply. */
  declareChanged(): void {
    this.declare(ROTATED);
    this.workspace.write(
      'tokens.yaml',
      manifest('AclToken', 'first', `policies: [one]\nglobal: true\n${SECRET_FILE('first')}`),
    );
  }

  /** Edits that need no replacement: other policies for both tokens. */
  declareOtherPolicies(): void {
    this.workspace.write(
      'tokens.yaml',
      manifest('AclToken', 'first', `policies: [two]\n${SECRET_FILE('first')}`),
      manifest('AclToken', 'second', `policies: [two]\nexpirationTtl: 2h\n${SECRET_FILE('second')}`),
    );
  }

  /** A command that must go well. */
  async go(command: Command, because = ''): Promise<void> {
    const { code, stdout, stderr } = await this.workspace.run(command, '-f', 'manifests', '-y');
    expect(code, `${because}\n${stdout}\n${stderr}`).toBe(0);
  }

  /** Somebody deletes by hand all that we made on the servers. */
  async deleteByHand(): Promise<void> {
    for (const t of await this.#nomad.marked()) await this.#nomad.request('DELETE', `/v1/acl/token/${t.AccessorID}`);
    for (const name of ['one', 'two']) await this.#nomad.request('DELETE', `/v1/acl/policy/${name}`);
    await this.#vault.request('DELETE', 'sys/auth/jwt-nomad');
    await this.#vault.request('DELETE', 'sys/policies/acl/nomad-workloads');
  }

  /** Somebody disables the mount and deletes the tokens by hand; all else of it stays. */
  async deleteSomeByHand(): Promise<void> {
    for (const t of await this.#nomad.marked()) await this.#nomad.request('DELETE', `/v1/acl/token/${t.AccessorID}`);
    await this.#vault.request('DELETE', 'sys/auth/jwt-nomad');
  }

  /** Back to the beginning, without what the command itself would do. */
  async reset(): Promise<void> {
    await this.deleteByHand();
    rmSync(this.workspace.manifests, { recursive: true });
    this.declare();
  }

  /**
   * SIGKILL at the boundaries of a scenario's command, each from the beginning. Before the first write nothing can be
   * half-done: of those boundaries only the last one is taken.
   * @returns how many there were.
   */
  async killAtBoundaries(scenario: Scenario, sample: Sample = { every: 1, offset: 0 }): Promise<number> {
    const { last, firstWrite } = await this.#requestsOf(scenario);
    expect(last - firstWrite).toBeGreaterThan(3);
    const boundaries = boundariesBetween(firstWrite - 1, last, ['before', 'after'], sample);
    for (const { index, phase } of boundaries) {
      await this.#arrange(scenario);
      const killed = await this.#killAt(scenario.command ?? 'apply', index, phase);
      await scenario.then(this, `${killed ? 'killed' : 'ended by itself'} ${phase} request ${String(index)}`);
    }
    return boundaries.length;
  }

  /**
   * A request or its reply is lost at each boundary: the command must get over that by itself.
   * @returns how many were lost: how many requests there are depends on which of them are answered first.
   */
  async loseAtBoundaries(
    scenario: Scenario,
    phase: Boundary['phase'],
    sample: Sample = { every: 1, offset: 0 },
  ): Promise<number> {
    const boundaries = boundariesBetween(1, (await this.#requestsOf(scenario)).last, [phase], sample);
    let lost = 0;
    for (const { index } of boundaries) {
      const because = `lost ${phase === 'before' ? 'request' : 'the reply to request'} ${String(index)}`;
      await this.#arrange(scenario);
      if (await this.#lose(scenario.command ?? 'apply', index, phase, because)) lost++;
      await scenario.then(this, because);
    }
    return lost;
  }

  /** From the beginning: a kill that came between the content of a secret file and its name. */
  async killBeforeRename(path: string): Promise<void> {
    await this.killAfterFile(path);
    const file = join(this.workspace.manifests, path);
    renameSync(file, join(dirname(file), `.${basename(file)}.nomad-access-unfinished`));
  }

  /** Paths of all files that are no manifests and no state. */
  secretFiles(): readonly string[] {
    return this.#secretFiles();
  }

  /**
   * From the beginning: SIGKILL once a secret file has been written, before the inventory was saved with it. That follows
   * within a moment, so that a kill may come too late, and is tried again.
   */
  async killAfterFile(path: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      await this.reset();
      await this.#killOnceThereIs(path);
      expect(this.workspace.read(path)).toMatch(/^[0-9a-f-]{36}\n$/);
      const { objects } = this.workspace.inventory();
      const state = objects.find(({ key }) => key.name === path)?.state;
      if (tries === 10) expect(state).toBe('pending');
      if (state === 'pending') return;
    }
  }

  async #killOnceThereIs(path: string): Promise<void> {
    const { child, outcome } = this.workspace.start(['apply', '-f', 'manifests', '-y']);
    const killed = appears(join(this.workspace.manifests, path)).then(() => void child.kill('SIGKILL'));
    this.#hook = async ({ phase, path: url, method }) => {
      if (method === 'GET' || phase !== 'before' || !url.includes('/auth/jwt-nomad/role/')) return 'pass';
      // The command can't end before.
      await killed;
      return 'cut';
    };
    const { signal } = await outcome;
    this.#hook = () => 'pass';
    expect(signal).toBe('SIGKILL');
  }

  /** The declared state and no more: nothing left to do, not one token too many, every secret in its sink. */
  async converges(expectedTokens: readonly string[], because: string): Promise<void> {
    await this.go('apply', because);
    expect((await this.workspace.plan('--detailed-exitcode')).code, because).toBe(0);
    const ours = await this.#nomad.marked();
    expect(ours.map((t) => t.Name.replace(/ \[na:.*/, '')).sort(), because).toEqual(expectedTokens);
    for (const token of ours) {
      const name = token.Name.replace(/ \[na:.*/, '');
      const { SecretID } = await this.#nomad.token(token.AccessorID);
      expect(this.workspace.read(`secrets/${name}`), because).toBe(`${String(SecretID)}\n`);
    }
    expect(this.#secretFiles().filter(isFinished), because).toEqual(expectedTokens);
    expect(await this.#vault.data('auth/jwt-nomad/role/nomad-workloads'), because).toBeDefined();
    const accessor = String((await this.#vault.data('sys/auth/jwt-nomad'))?.['accessor']);
    expect(String((await this.#vault.data('sys/policies/acl/nomad-workloads'))?.['policy']), because).toContain(
      accessor,
    );
  }

  /** A destroy leaves nothing of ours: no token that works, no file with a secret, no entry in the inventory. */
  async vanishes(because: string): Promise<void> {
    await this.go('destroy', because);
    expect(await this.#nomad.marked(), because).toEqual([]);
    expect(await this.#nomad.policyNames(), because).not.toContain('one');
    expect(await this.#nomad.policyNames(), because).not.toContain('two');
    expect(await this.#vault.mounts(), because).not.toContain('jwt-nomad/');
    expect(await this.#vault.list('sys/policies/acl'), because).not.toContain('nomad-workloads');
    expect(this.#secretFiles().filter(isFinished), because).toEqual([]);
    if (existsSync(this.#stateFile)) expect(this.workspace.recorded(), because).toEqual([]);
  }

  get #stateFile(): string {
    return join(this.workspace.manifests, '.nomad-access.state.json');
  }

  #secretFiles(): string[] {
    const folder = join(this.workspace.manifests, 'secrets');
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }

  async #arrange(scenario: Scenario): Promise<void> {
    await this.reset();
    await scenario.arrange(this);
  }

  /** Counts the requests of a scenario's command when nothing goes wrong. */
  async #requestsOf(scenario: Scenario): Promise<{ last: number; firstWrite: number }> {
    await this.#arrange(scenario);
    this.#counter.requests = 0;
    let firstWrite = Infinity;
    this.#hook = ({ method, index }) => {
      if (method !== 'GET' && method !== 'LIST') firstWrite = Math.min(firstWrite, index);
      return 'pass';
    };
    await this.go(scenario.command ?? 'apply');
    this.#hook = () => 'pass';
    return { last: this.#counter.requests, firstWrite };
  }

  /** @returns whether it came that far: how many requests there are depends on which of them are answered first. */
  async #killAt(command: Command, index: number, phase: Boundary['phase']): Promise<boolean> {
    this.#counter.requests = 0;
    const at = { killed: false };
    const { child, outcome } = this.workspace.start([command, '-f', 'manifests', '-y']);
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

  /** @returns whether it came to that request. */
  async #lose(command: Command, index: number, phase: Boundary['phase'], because: string): Promise<boolean> {
    this.#counter.requests = 0;
    let lost = false;
    this.#hook = (boundary) => {
      if (lost || boundary.index !== index || boundary.phase !== phase) return 'pass';
      lost = true;
      return 'cut';
    };
    await this.go(command, because);
    this.#hook = () => 'pass';
    return lost;
  }
}

function boundariesBetween(
  first: number,
  last: number,
  phases: readonly Boundary['phase'][],
  { every, offset }: Sample,
): { index: number; phase: Boundary['phase'] }[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
    .flatMap((index) => phases.map((phase) => ({ index, phase })))
    .filter((_, i) => i % every === offset % every);
}

/**
 * What a write that was killed leaves beside a file goes with the next write or removal of that file; where the file is
 * not wanted any more it stays, and so is not looked at here.
 */
function isFinished(file: string): boolean {
  return !file.endsWith('.nomad-access-unfinished');
}

/** Waits until a file is there. */
async function appears(file: string): Promise<void> {
  const folder = join(file, '../..');
  await new Promise<void>((done) => {
    const watcher = watch(folder, { recursive: true }, () => {
      if (!existsSync(file)) return;
      watcher.close();
      done();
    });
    if (existsSync(file)) {
      watcher.close();
      done();
    }
  });
}
