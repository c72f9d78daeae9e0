import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { kinds } from '../../src/kinds/index.ts';
import type { Status } from '../../src/sources/kubernetes/conditions.ts';
import { cleanEnvironment } from '../servers/command.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { temporaryDirectory } from '../servers/process.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { startOperator, type RunningOperator } from './running.ts';

const MANIFESTS = resolve(import.meta.dirname, '../../manifests');
/** Where the operator is installed. */
export const HOME = 'nomad-access';

/** Where an operator finds its servers; the real ones unless a proxy stands in front. */
export interface Addresses {
  readonly kubernetes?: string;
}

/** An object as `kubectl get -o json` prints it. */
export interface Shown {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly generation: number;
    readonly resourceVersion: string;
    readonly finalizers?: readonly string[];
    readonly deletionTimestamp?: string;
  };
  readonly status?: Status;
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * A real kube-apiserver with `manifests/install` applied, a real Nomad, and a real Vault with the shipped policy. Operators run
 * as processes, with the token of the installed ServiceAccount.
 */
export class Cluster {
  private constructor(
    readonly kubernetes: KubernetesServer,
    readonly nomad: NomadServer,
    readonly vault: VaultServer,
    readonly folder: string,
    readonly liveNomad: LiveNomad,
    readonly liveVault: LiveVault,
    /** Vault's token with the shipped policy. */
    readonly vaultToken: string,
  ) {}

  readonly #operators: RunningOperator[] = [];

  static async start(): Promise<Cluster> {
    const [kubernetes, nomad, vault] = await Promise.all([
      startKubernetes(),
      startNomad({ client: false }),
      startVault(),
    ]);
    const liveVault = new LiveVault(vault);
    const vaultToken = await shippedToken(liveVault);
    const folder = temporaryDirectory('cluster').path;
    const cluster = new Cluster(kubernetes, nomad, vault, folder, new LiveNomad(nomad), liveVault, vaultToken);
    await cluster.kubectl('apply', '-k', join(MANIFESTS, 'install'));
    await cluster.kubectl('wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all');
    return cluster;
  }

  async stop(): Promise<void> {
    await this.killOperators();
    await Promise.all([this.kubernetes.stop(), this.nomad.stop(), this.vault.stop()]);
  }

  /** As the administrator. @returns what it printed. @throws where it fails. */
  async kubectl(...args: Parameters<KubernetesServer['kubectl']>): Promise<string> {
    const { code, stdout, stderr } = await this.kubernetes.kubectl(...args);
    if (code !== 0) throw new Error(`kubectl ${typeof args[0] === 'string' ? args[0] : ''}: ${stderr}${stdout}`);
    return stdout;
  }

  apply(...documents: string[]): Promise<string> {
    return this.kubectl('apply', '-f', '-', { input: documents.join('\n---\n') });
  }

  /** @returns undefined where there is no such object. */
  async get(kind: string, name: string, namespace = 'default'): Promise<Shown | undefined> {
    const text = await this.kubectl('get', kind, name, '-n', namespace, '-o', 'json', '--ignore-not-found');
    return text === '' ? undefined : (JSON.parse(text) as Shown);
  }

  async waitReady(kind: string, name: string, namespace = 'default'): Promise<void> {
    await this.kubectl('wait', '--for=condition=Ready', `${kind}/${name}`, '-n', namespace, '--timeout=60s');
  }

  /** Waits until the condition Ready has a reason for the generation that stands there now. */
  async untilReason(reason: string, kind: string, name: string, namespace = 'default'): Promise<Shown> {
    return until(`${kind} ${namespace}/${name} has the reason ${reason}`, async () => {
      const shown = await this.get(kind, name, namespace);
      const ready = shown?.status?.conditions?.find((c) => c.type === 'Ready');
      return ready?.reason === reason && ready.observedGeneration === shown?.metadata.generation ? shown : undefined;
    });
  }

  /** The connections named `default`, with their credentials in Secrets of the operator's namespace. */
  async connect({ nomad = this.nomad.address, vault = this.vault.address } = {}): Promise<void> {
    await this.apply(
      secret(HOME, 'nomad', this.nomad.token),
      secret(HOME, 'vault', this.vaultToken),
      connection('NomadCluster', 'default', nomad, 'nomad'),
      connection('VaultServer', 'default', vault, 'vault', 'sweepInterval: 1s'),
    );
  }

  /** A kubeconfig with a token of a ServiceAccount. @param address of the API server. */
  async kubeconfig(account = 'nomad-access', namespace = HOME, address = this.kubernetes.address): Promise<string> {
    const token = (await this.kubectl('create', 'token', account, '-n', namespace, '--duration=1h')).trim();
    const path = join(this.folder, `${account}-${namespace}-${new URL(address).port}.kubeconfig`);
    const user = { name: account, user: { token } };
    const server = { server: address, 'certificate-authority': this.kubernetes.caFile };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'it',
      contexts: [{ name: 'it', context: { cluster: 'it', user: account, namespace } }],
      clusters: [{ name: 'it', cluster: server }],
      users: [user],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** An operator as it is installed. @param args further options of `run`. @param more of its environment. */
  async operator(
    args: readonly string[] = [],
    addresses: Addresses = {},
    more: Readonly<Record<string, string>> = {},
  ): Promise<RunningOperator> {
    const kubeconfig = await this.kubeconfig('nomad-access', HOME, addresses.kubernetes);
    const env = cleanEnvironment({ HOME: this.folder, ...more });
    const options = ['--source', 'kubernetes', '--kubeconfig', kubeconfig, ...args];
    const operator = await startOperator(options, env, { cwd: this.folder });
    this.#operators.push(operator);
    return operator;
  }

  async killOperators(): Promise<void> {
    for (const operator of this.#operators) operator.kill('SIGKILL');
    await Promise.all(this.#operators.splice(0).map((operator) => operator.ended));
  }

  /** Everything as it was after the installation: no operator runs, nothing is declared, recorded or live. */
  async clear(): Promise<void> {
    await this.killOperators();
    const plurals = kinds.map(({ plural }) => plural);
    const { items } = JSON.parse(await this.kubectl('get', plurals.join(','), '-A', '-o', 'json')) as {
      items: (Shown & { kind: string })[];
    };
    const held = items.filter((item) => item.metadata.finalizers !== undefined);
    const free = ['--type=merge', '-p', '{"metadata":{"finalizers":null}}'];
    const placeOf = ({ kind, metadata }: (typeof held)[number]): string => `${kind} ${metadata.namespace ?? 'default'}`;
    for (const place of new Set(held.map(placeOf))) {
      const names = held.filter((item) => placeOf(item) === place).map(({ metadata }) => metadata.name);
      const [kind = '', namespace = ''] = place.split(' ');
      await this.kubernetes.kubectl('patch', kind, ...names, '-n', namespace, ...free);
    }
    // Nothing holds them any more: there is no need to wait, which kubectl does for one after the other.
    for (const kind of plurals) await this.kubectl('delete', kind, '--all', '-A', '--wait=false');
    await until('nothing is declared', async () =>
      (await this.kubectl('get', plurals.join(','), '-A', '-o', 'name')) === '' ? true : undefined,
    );
    await this.kubectl('delete', 'configmap,lease,secret', '--all', '-n', HOME);
    await this.kubectl('delete', 'secret', '-A', '-l', 'app.kubernetes.io/managed-by=nomad-access');
    await this.kubectl('delete', 'events.events.k8s.io', '--all', '-A', '--wait=false');
    await this.liveNomad.clear();
    await this.liveVault.clear(['nomad-access']);
  }
}

/** Registers what starts, cleans and stops it in the surrounding `describe`; filled in before the first test. */
export function useCluster(): { readonly cluster: Cluster } {
  const holder = {} as { cluster: Cluster };
  beforeAll(async () => {
    holder.cluster = await Cluster.start();
  });
  afterAll(() => holder.cluster.stop());
  afterEach(() => holder.cluster.clear());
  return holder;
}

/** Awaits what is not there yet. @throws Error that says what was awaited. */
export async function until<T>(what: string, look: () => Promise<T | undefined>, deadlineMs = 90_000): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`in vain: until ${what}`);
    await sleep(50);
  }
}

/** A manifest. @param spec YAML, indented as at the top. */
export function resource(kind: string, name: string, spec: string, namespace = 'default'): string {
  const indented = spec
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
  return `apiVersion: nomad-access.io/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\nspec:\n${indented}`;
}

export function policy(name: string, access = 'read', namespace = 'default'): string {
  return resource('AclPolicy', name, `rules: |\n  namespace "default" {\n    policy = "${access}"\n  }`, namespace);
}

export function secret(namespace: string, name: string, token: string): string {
  return `apiVersion: v1\nkind: Secret\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\nstringData:\n  token: ${token}`;
}

/** A connection whose token is in a Secret of the operator's namespace. @param more YAML lines of its spec. */
export function connection(kind: string, name: string, address: string, secretName: string, ...more: string[]): string {
  const spec = [
    `address: ${address}`,
    'auth:',
    '  tokenSecretRef:',
    `    namespace: ${HOME}`,
    `    name: ${secretName}`,
    ...more,
  ];
  return `apiVersion: nomad-access.io/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\nspec:\n${spec.map((line) => `  ${line}`).join('\n')}`;
}

async function shippedToken(live: LiveVault): Promise<string> {
  const rules = readFileSync(join(MANIFESTS, 'vault/nomad-access.hcl'), 'utf8');
  expect((await live.request('PUT', 'sys/policies/acl/nomad-access', { policy: rules })).status).toBe(204);
  const { body } = await live.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
    policies: ['nomad-access'],
    period: '24h',
  });
  return body.auth.client_token;
}
