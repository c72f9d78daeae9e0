import { setMaxListeners } from 'node:events';
import type { Inventory, StateBackend } from '../../src/contract/state.ts';
import { digestOf, type FileApi, type SecretPlace, type SecretSourceApi } from '../../src/contract/target.ts';
import { noSecret } from '../../src/credentials/secret-text.ts';
import { NomadSandbox } from '../../src/sandbox/nomad/server.ts';
import type { NomadReach } from '../../src/sandbox/vault/nomad-engine.ts';
import { VaultSandbox } from '../../src/sandbox/vault/server.ts';
import { seedIdentifiers } from './identifiers.ts';
import { BOOTSTRAP, NOMAD_ADDRESS, Process, VAULT_TOKEN } from './process.ts';
import { Random } from './random.ts';
import { calm, SimTransport } from './sim-transport.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Who declares what: resources by `Kind name`, with their specs. */
export type Declaration = Readonly<Record<string, unknown>>;

/** Servers, files and an inventory that outlive the operator's processes, in virtual time. */
export class Simulation {
  readonly random: Random;
  /** In half of the schedules every write is reason enough to let the event stream go. */
  readonly burst: number;
  readonly clock = new VirtualClock();
  readonly nomad: NomadSandbox;
  readonly vault: VaultSandbox;
  readonly files = new Map<string, { content: string; mode: number }>();
  /** What stands at the places that secrets are sent from: by file, variable, or key of a Secret. */
  readonly sources = new Map<string, string>();
  /** What clients have got of Vault's Nomad secrets engine: lease → accessor ID of the token. */
  readonly leased = new Map<string, string>();
  readonly faults = { nomad: calm(), vault: calm() };
  readonly log: string[] = [];
  /** Everything that any process said. */
  readonly said: string[] = [];
  readonly #secrets: string[] = [BOOTSTRAP, VAULT_TOKEN];
  #inventory: Inventory | undefined;
  #declaration: Declaration = {};
  #process: Process | undefined;
  #fuse: { writes: number; readonly downMs: number } | undefined;
  /** Also those that were killed. */
  readonly #processes: Process[] = [];
  readonly #over = new AbortController();

  constructor(seed: number) {
    this.random = new Random(seed);
    this.burst = seed % 2 === 0 ? 1 : 250;
    seedIdentifiers(seed);
    setMaxListeners(0, this.#over.signal);
    this.nomad = new NomadSandbox(() => this.clock.now());
    this.nomad.acl.bootstrap(BOOTSTRAP);
    this.vault = new VaultSandbox(VAULT_TOKEN, this.#reach, () => this.clock.now());
  }

  note(line: string): void {
    this.log.push(`${(this.clock.monotonic() / 1000).toFixed(3)} ${line}`);
  }

  get declaration(): Declaration {
    return this.#declaration;
  }

  get inventory(): Inventory | undefined {
    return this.#inventory && (JSON.parse(JSON.stringify(this.#inventory)) as Inventory);
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  declare(declaration: Declaration): void {
    this.#declaration = declaration;
    this.#process?.declare(declaration);
  }

  start(): void {
    if (this.#process !== undefined) return;
    this.#process = new Process(this, this.#declaration);
    this.#processes.push(this.#process);
  }

  /** Nothing of the process happens from now on; what it has sent still arrives. */
  kill(): void {
    this.#process?.kill();
    this.#process = undefined;
  }

  /** The process is killed in the middle of the last of its next so many writes, to a server or of its own, and started again. */
  killAt(writes: number, downMs: number): void {
    this.#fuse = { writes, downMs };
  }

  /** Nothing kills the process any more. */
  spare(): void {
    this.#fuse = undefined;
  }

  #writes(): void {
    if (this.#fuse === undefined || --this.#fuse.writes > 0) return;
    const { downMs } = this.#fuse;
    this.#fuse = undefined;
    this.note('>>> killed at a write');
    this.kill();
    this.clock.after(downMs, () => {
      this.start();
    });
  }

  /** Lets the process end as after SIGTERM. */
  async stop(): Promise<void> {
    const ending = this.#process?.stop();
    await this.clock.runUntil(this.clock.monotonic() + 60_000);
    await ending;
    this.#process = undefined;
  }

  /** Nothing of it is needed any more. */
  end(): void {
    this.kill();
    for (const process of this.#processes) process.discard();
    this.#over.abort();
  }

  async run(ms: number): Promise<void> {
    await this.clock.runUntil(this.clock.monotonic() + ms);
  }

  /** A secret that must be found nowhere but in its sink. */
  remember(secret: string): void {
    this.#secrets.push(secret);
  }

  /** Somebody puts a secret at a place; nobody may tell it, nor a digest that others could make of it. */
  provide(place: string, secret: string): void {
    this.sources.set(place, secret);
    this.#secrets.push(secret, digestOf(secret));
  }

  get secrets(): readonly string[] {
    return [...this.#secrets, ...this.nomad.snapshot().tokens.map((t) => t.SecretID)];
  }

  /** @param isAlive whether who saves is; what is on its way when it dies may arrive or not. */
  stateBackend(isAlive: () => boolean): StateBackend {
    return {
      location: 'memory',
      load: () => Promise.resolve(this.inventory),
      save: ({ head, objects }) =>
        new Promise((done) => {
          const inventory = { ...head, objects: objects() };
          if (isAlive()) this.#writes();
          this.clock.after(this.random.below(5), () => {
            if (!isAlive() && this.random.chance(0.5)) return;
            this.#inventory = inventory;
            if (isAlive()) done();
          });
        }),
      lock: () => Promise.reject(new Error('not used')),
    };
  }

  fileSink(isAlive: () => boolean): FileApi {
    const later = <T>(act: () => T): Promise<T> => this.#later(isAlive, act);
    const written = <T>(act: () => T): Promise<T> => {
      const result = later(act);
      if (isAlive()) this.#writes();
      return result;
    };
    return {
      read: (path) => later(() => this.files.get(path)),
      write: (path, content) => written(() => void this.files.set(path, { content, mode: 0o600 })),
      remove: (path) => written(() => void this.files.delete(path)),
      discard: () => Promise.resolve(),
    };
  }

  /** Where secrets stand that others made: files, variables and Secrets are read alike. */
  secretSources(isAlive: () => boolean): SecretSourceApi {
    return {
      read: async (place) => {
        const text = await this.#later(isAlive, () => this.sources.get(nameOf(place)));
        if (text === undefined) throw noSecret(`there is no ${nameOf(place)}`);
        return text;
      },
    };
  }

  /** What is on its way when the process dies may happen or not. */
  #later<T>(isAlive: () => boolean, act: () => T): Promise<T> {
    return new Promise((done) => {
      this.clock.after(this.random.below(2), () => {
        if (!isAlive() && this.random.chance(0.5)) return;
        const result = act();
        if (isAlive()) done(result);
      });
    });
  }

  /** How Vault comes to Nomad. */
  readonly #reach: NomadReach = async ({ address, method, path, token, body }) => {
    if (this.faults.nomad.isDown || address !== NOMAD_ADDRESS) throw new Error('connection refused');
    const headers = { 'x-nomad-token': token };
    const reply = await this.nomad.handle({ method, path, query: new URLSearchParams(), headers, body });
    return { status: reply.status, body: reply.body };
  };

  transport(target: 'nomad' | 'vault', isAlive: () => boolean): SimTransport {
    const server = target === 'nomad' ? this.nomad : this.vault;
    return new SimTransport({
      name: target,
      handle: (request) => server.handle(request),
      clock: this.clock,
      random: this.random,
      faults: this.faults[target],
      isAlive,
      over: this.#over.signal,
      onWrite: () => {
        if (isAlive()) this.#writes();
      },
      log: (line) => {
        this.note(line);
      },
    });
  }
}

/** What a place is called in `sources`. */
function nameOf(place: SecretPlace): string {
  if (place.from === 'file') return place.path;
  return place.from === 'variable' ? place.name : place.key;
}
