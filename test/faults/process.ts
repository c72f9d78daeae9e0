import { typesOf } from '../../src/contract/kind.ts';
import type { Observer } from '../../src/contract/observer.ts';
import type { Resource } from '../../src/contract/resource.ts';
import type { Desire } from '../../src/contract/source.ts';
import type { Io, SecretHandover } from '../../src/contract/target.ts';
import { Ledger } from '../../src/engine/ledger.ts';
import { Operator } from '../../src/engine/operator.ts';
import { Tracker } from '../../src/engine/tracker.ts';
import { LiveView } from '../../src/engine/view.ts';
import type { Connection, World } from '../../src/engine/world.ts';
import { kinds } from '../../src/kinds/index.ts';
import { NO_KUBERNETES } from '../../src/sinks/no-kubernetes.ts';
import { NomadClient } from '../../src/targets/nomad/client.ts';
import { NomadVariables } from '../../src/targets/nomad/variables.ts';
import { VaultClient } from '../../src/targets/vault/client.ts';
import type { Declaration, Simulation } from './simulation.ts';

/** Management tokens of the two servers. */
export const BOOTSTRAP = '00000000-0000-4000-8000-000000000001';
export const VAULT_TOKEN = 'hvs.simulation';
/** Where the two are reached. */
export const NOMAD_ADDRESS = 'http://nomad';
const VAULT_ADDRESS = 'http://vault';

const CONNECTIONS: readonly Connection[] = [
  { kind: 'NomadCluster', name: 'default', address: NOMAD_ADDRESS, maxConnections: 32, rereadMs: 60_000 },
  {
    kind: 'VaultServer',
    name: 'default',
    address: VAULT_ADDRESS,
    maxConnections: 32,
    rereadMs: 15_000,
    requestBudget: 50,
  },
];

/** One run of the operator. */
export class Process {
  #isAlive = true;
  readonly #ended = new AbortController();
  readonly #desires: Desire[] = [];
  #wake: () => void = () => undefined;
  #done: Promise<void> | undefined;

  constructor(simulation: Simulation, declaration: Declaration) {
    this.#desires.push(desireOf(declaration));
    void this.#run(simulation).catch((error: unknown) => {
      if (this.#isAlive) throw error;
    });
  }

  declare(declaration: Declaration): void {
    this.#desires.push(desireOf(declaration));
    this.#wake();
  }

  kill(): void {
    this.#isAlive = false;
  }

  /** Of one that was killed: nothing shall remember what it still waits for. */
  discard(): void {
    this.#ended.abort();
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
    { ...options, address: NOMAD_ADDRESS, token: BOOTSTRAP },
    simulation.transport('nomad', isAlive),
  );
  const vault = new VaultClient(
    { ...options, address: VAULT_ADDRESS, token: VAULT_TOKEN },
    simulation.transport('vault', isAlive),
  );
  return {
    nomad: () => nomad,
    variables: () => new NomadVariables(nomad),
    vault: () => vault,
    files: simulation.fileSink(isAlive),
    kubernetesSecrets: NO_KUBERNETES,
    secretSources: simulation.secretSources(isAlive),
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
