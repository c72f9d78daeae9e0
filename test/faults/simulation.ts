import { setMaxListeners } from 'node:events';
import { typesOf } from '../../src/contract/kind.ts';
import type { Observer } from '../../src/contract/observer.ts';
import type { Resource } from '../../src/contract/resource.ts';
import type { Desire } from '../../src/contract/source.ts';
import type { Inventory, StateBackend } from '../../src/contract/state.ts';
import type { FileApi, Io, SecretHandover } from '../../src/contract/target.ts';
import { localSecrets } from '../../src/credentials/local-secrets.ts';
import { Ledger } from '../../src/engine/ledger.ts';
import { Operator } from '../../src/engine/operator.ts';
import { Tracker } from '../../src/engine/tracker.ts';
import { LiveView } from '../../src/engine/view.ts';
import type { Connection, World } from '../../src/engine/world.ts';
import { kinds } from '../../src/kinds/index.ts';
import { NomadSandbox } from '../../src/sandbox/nomad/server.ts';
import { VaultSandbox } from '../../src/sandbox/vault/server.ts';
import { NO_KUBERNETES } from '../../src/sinks/no-kubernetes.ts';
import { NomadClient } from '../../src/targets/nomad/client.ts';
import { NomadVariables } from '../../src/targets/nomad/variables.ts';
import { VaultClient } from '../../src/targets/vault/client.ts';
import { seedIdentifiers } from './identifiers.ts';
import { Random } from './random.ts';
import { calm, SimTransport } from './sim-transport.ts';
import { VirtualClock } from './virtual-clock.ts';

const BOOTSTRAP = '00000000-0000-4000-8000-000000000001';
const VAULT_TOKEN = 'hvs.simulation';
const CONNECTIONS: readonly Connection[] = [
  { kind: 'NomadCluster', name: 'default', address: 'http://nomad', maxConnections: 32, rereadMs: 60_000 },
  {
    kind: 'VaultServer',
    name: 'default',
    address: 'http://vault',
    maxConnections: 32,
    rereadMs: 15_000,
    requestBudget: 50,
  },
];

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
  readonly faults = { nomad: calm(), vault: calm() };
  readonly log: string[] = [];
  /** Everything that any process said. */
  readonly said: string[] = [];
  readonly #secrets: string[] = [BOOTSTRAP, VAULT_TOKEN];
  #inventory: string | undefined;
  #declaration: Declaration = {};
  #process: Process | undefined;
  readonly #over = new AbortController();

  constructor(seed: number) {
    this.random = new Random(seed);
    this.burst = seed % 2 === 0 ? 1 : 250;
    seedIdentifiers(seed);
    setMaxListeners(0, this.#over.signal);
    this.nomad = new NomadSandbox(() => this.clock.now());
    this.nomad.acl.bootstrap(BOOTSTRAP);
    this.vault = new VaultSandbox(VAULT_TOKEN);
  }

  note(line: string): void {
    this.log.push(`${(this.clock.monotonic() / 1000).toFixed(3)} ${line}`);
  }

  get declaration(): Declaration {
    return this.#declaration;
  }

  get inventory(): Inventory | undefined {
    return this.#inventory === undefined ? undefined : (JSON.parse(this.#inventory) as Inventory);
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  declare(declaration: Declaration): void {
    this.#declaration = declaration;
    this.#process?.declare(desireOf(declaration));
  }

  start(): void {
    this.#process ??= new Process(this, desireOf(this.#declaration));
  }

  /** Nothing of the process happens from now on; what it has sent still arrives. */
  kill(): void {
    this.#process?.kill();
    this.#process = undefined;
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
    this.#over.abort();
  }

  async run(ms: number): Promise<void> {
    await this.clock.runUntil(this.clock.monotonic() + ms);
  }

  /** A secret that must be found nowhere but in its sink. */
  remember(secret: string): void {
    this.#secrets.push(secret);
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
          const text = JSON.stringify({ ...head, objects: objects() });
          this.clock.after(this.random.below(5), () => {
            if (!isAlive() && this.random.chance(0.5)) return;
            this.#inventory = text;
            if (isAlive()) done();
          });
        }),
      lock: () => Promise.reject(new Error('not used')),
    };
  }

  fileSink(isAlive: () => boolean): FileApi {
    const later = <T>(act: () => T): Promise<T> =>
      new Promise((done) => {
        this.clock.after(this.random.below(2), () => {
          if (!isAlive() && this.random.chance(0.5)) return;
          const result = act();
          if (isAlive()) done(result);
        });
      });
    return {
      read: (path) => later(() => this.files.get(path)),
      write: (path, content) => later(() => void this.files.set(path, { content, mode: 0o600 })),
      remove: (path) => later(() => void this.files.delete(path)),
      discard: () => Promise.resolve(),
    };
  }

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
      log: (line) => {
        this.note(line);
      },
    });
  }
}

/** One run of the operator. */
class Process {
  #isAlive = true;
  readonly #ended = new AbortController();
  readonly #desires: Desire[] = [];
  #wake: () => void = () => undefined;
  #done: Promise<void> | undefined;

  constructor(simulation: Simulation, desire: Desire) {
    this.#desires.push(desire);
    void this.#run(simulation);
  }

  declare(desire: Desire): void {
    this.#desires.push(desire);
    this.#wake();
  }

  kill(): void {
    this.#isAlive = false;
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    this.#wake();
    await this.#done;
  }

  async #run(simulation: Simulation): Promise<void> {
    const isAlive = (): boolean => this.#isAlive;
    const backend = simulation.stateBackend(isAlive);
    const types = typesOf(kinds);
    const clock = simulation.clock.ofProcess(isAlive);
    const ledger = new Ledger(backend, 'default', await backend.load(), (type) => types.get(type)?.connection, clock);
    const world: World = {
      kinds,
      resources: new Map(),
      deleting: new Map(),
      connections: CONNECTIONS,
      view: new LiveView(),
      tracker: new Tracker(),
      ledger,
      io: ioOf(simulation, isAlive),
      owner: 'default',
      now: () => clock.now(),
      pathName: (path) => path,
      inScope: () => true,
    };
    const operator = new Operator({
      world,
      clock,
      observer: observerOf(simulation, isAlive),
      random: simulation.random.next,
      allowMassDelete: true,
      burst: simulation.burst,
      connect: (d) => Promise.resolve({ connections: CONNECTIONS, declaration: d }),
      scopeOf: () => () => true,
    });
    this.#done = operator.run(this.#follow(), this.#ended.signal);
    await this.#done;
  }

  async *#follow(): AsyncGenerator<Desire> {
    while (!this.#ended.signal.aborted) {
      const latest = this.#desires.splice(0).at(-1);
      if (latest === undefined) await new Promise<void>((done) => (this.#wake = done));
      else yield latest;
    }
  }
}

function ioOf(simulation: Simulation, isAlive: () => boolean): Io {
  const options = { maxConnections: 32 };
  const nomad = new NomadClient(
    { ...options, address: 'http://nomad', token: BOOTSTRAP },
    simulation.transport('nomad', isAlive),
  );
  const vault = new VaultClient(
    { ...options, address: 'http://vault', token: VAULT_TOKEN },
    simulation.transport('vault', isAlive),
  );
  return {
    nomad: () => nomad,
    variables: () => new NomadVariables(nomad),
    vault: () => vault,
    files: simulation.fileSink(isAlive),
    kubernetesSecrets: NO_KUBERNETES,
    secretSources: localSecrets({}),
    secrets: handover(simulation),
  };
}

function handover(simulation: Simulation): SecretHandover {
  const secrets = new Map<string, string>();
  return {
    put: (accessor, secret) => {
      simulation.remember(secret);
      secrets.set(accessor, secret);
    },
    take: (accessor) => secrets.get(accessor),
  };
}

function observerOf(simulation: Simulation, isAlive: () => boolean): Observer {
  const say = (...parts: unknown[]): void => {
    if (!isAlive()) return;
    const line = parts.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' ');
    simulation.said.push(line);
    simulation.note(line);
  };
  return {
    queued: () => undefined,
    started: () => undefined,
    finished: () => undefined,
    driftFound: (step) => {
      say('drift', step.object);
    },
    driftCorrected: () => undefined,
    stepped: (step, outcome) => {
      say(outcome.status, step.action, step.object, step.reason, outcome.message, step.changes);
    },
    resources: () => undefined,
    synced: (connection, isSynced, error) => {
      say('synced', connection.kind, String(isSynced), error ?? '');
    },
    disconnected: () => undefined,
    desired: (count, _errors, held) => {
      say('desired', String(count), String(held));
    },
    requested: () => undefined,
    warned: (message) => {
      say('warned', message);
    },
    leading: () => undefined,
  };
}

const parsed = new Map<string, Resource>();

function desireOf(declaration: Declaration): Desire {
  const resources = Object.entries(declaration).map(([id, spec]) => resourceOf(id, spec));
  return { resources, errors: [], roots: ['.'], unknown: [] };
}

/** Parsing is the same for the same spec, and most schedules use the same ones. */
function resourceOf(id: string, spec: unknown): Resource {
  const key = `${id} ${JSON.stringify(spec)}`;
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const [kindName = '', name = ''] = id.split(' ');
  const kind = kinds.find((k) => k.kind === kindName);
  if (kind === undefined) throw new Error(`no kind ${kindName}`);
  const resource: Resource = {
    kind: kindName,
    metadata: { name, namespace: 'default', annotations: {} },
    spec: kind.spec.parse(spec),
    source: `${name}.yaml`,
    folder: '/manifests',
    locate: () => ({ file: `${name}.yaml`, line: 1, column: 1 }),
  };
  parsed.set(key, resource);
  return resource;
}
