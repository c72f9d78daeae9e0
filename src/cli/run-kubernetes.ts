import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { systemClock } from '../contract/clock.ts';
import { messageOf } from '../contract/errors.ts';
import type { Observer } from '../contract/observer.ts';
import type { StateBackend, StateLock } from '../contract/state.ts';
import { FollowedSecrets } from '../credentials/followed-secrets.ts';
import { Operator } from '../engine/operator.ts';
import { objectLookup } from '../engine/tracker.ts';
import { kinds } from '../kinds/index.ts';
import { keyOf } from '../kinds/secret-source.ts';
import { openKubernetes, type KubernetesClient } from '../kubernetes/client.ts';
import { KubernetesSecrets } from '../sinks/kubernetes-secrets.ts';
import { KubernetesSource } from '../sources/kubernetes/index.ts';
import { kubernetesState } from '../state/kubernetes.ts';
import { always } from './bootstrapping.ts';
import { ClusterConnections } from './cluster-connections.ts';
import { ledgerOf } from './inventory.ts';
import { lead, requireHeld } from './leading.ts';
import { OpenConnections } from './open-connections.ts';
import { reconnect } from './run-directory.ts';
import { worldOf } from './session.ts';

export interface KubernetesOptions {
  readonly owner: string;
  /** Limits it to these namespaces. */
  readonly namespace?: readonly string[] | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** Where the Lease and the inventory are. */
  readonly leaseNamespace?: string | undefined;
  readonly allowAddress?: readonly string[] | undefined;
  readonly allowMassDelete: boolean;
}

/** The API server, and who we are there. */
export interface Cluster {
  readonly client: KubernetesClient;
  readonly backend: StateBackend;
  /** What replicas elect their leader by. */
  readonly election: string;
  /** Has the observer told of the requests to it from now on. */
  readonly observe: (observer: Observer) => void;
}

export interface KubernetesRun {
  readonly options: KubernetesOptions;
  readonly cluster: Cluster;
  readonly observer: Observer;
  readonly stop: AbortSignal;
}

/** Paths in the specs of connections, and the inventory's, are absolute. */
const BASE = '/';

/** @throws UsageError where no usable kubeconfig is found. */
export async function openCluster(options: KubernetesOptions): Promise<Cluster> {
  const { kubeconfig, context, leaseNamespace, owner } = options;
  let observed: Observer | undefined;
  const client = await openKubernetes({
    onReply: (method, status, seconds) => {
      observed?.requested('kubernetes', 'api-server', method, status, seconds);
    },
    ...(kubeconfig !== undefined && { kubeconfig }),
    ...(context !== undefined && { context }),
  });
  const namespace = leaseNamespace ?? client.namespace;
  const holder = `${hostname()}_${randomUUID().slice(0, 8)}`;
  const backend = kubernetesState({ api: client, namespace, owner, holder });
  const observe = (observer: Observer): void => {
    observed = observer;
  };
  return { client, backend, election: backend.location, observe };
}

/** Keeps the servers equal to the resources of an API server until stopped. Of several replicas, one acts and the others wait. */
export async function runKubernetes(running: KubernetesRun): Promise<void> {
  const { cluster, observer, stop } = running;
  cluster.observe(observer);
  try {
    await lead({ backend: cluster.backend, observer, stop, act: (backend, lock) => act(running, backend, lock) });
  } finally {
    await cluster.client.close();
  }
}

async function act(
  { options, cluster, observer, stop }: KubernetesRun,
  backend: StateBackend,
  lock: StateLock,
): Promise<void> {
  const gate = (): void => {
    requireHeld(lock);
  };
  const warn = (message: string): void => {
    observer.warned(message);
  };
  const api = cluster.client.gated(gate);
  const namespaces = options.namespace;
  const ledger = ledgerOf(await backend.load(), backend, options.owner);
  const source = new KubernetesSource({
    kinds,
    api,
    clock: systemClock,
    namespaces,
    reportsConnections: namespaces === undefined,
    instance: hostname(),
    onWarning: warn,
    onSync: (kind, isSynced, error) => {
      observer.synced({ kind: 'Kubernetes', name: kind }, isSynced, error);
    },
  });
  const opened = new OpenConnections({
    env: process.env,
    allowed: options.allowAddress ?? [],
    accepted: [],
    base: BASE,
    ledger,
    isStrict: false,
    mayBootstrap: always,
    opensAll: true,
    kubernetes: api,
    gate,
    onReply: ({ kind, name }, method, status, seconds) => {
      observer.requested(kind === 'NomadCluster' ? 'nomad' : 'vault', name, method, status, seconds);
    },
    onChange: () => {
      reconnect(operator, observer);
    },
  });
  const connections = new ClusterConnections(opened, source, ledger);
  const secrets = new KubernetesSecrets({
    api,
    namespaces,
    onChange: (namespace, name) => {
      operator.reconcile(world.tracker.readersOf(secretLookup(namespace, name)));
    },
    onTrouble: (path, why) => {
      observer.synced({ kind: 'Kubernetes', name: path }, why === undefined, why);
    },
  });
  const secretSources = new FollowedSecrets({
    api,
    clock: systemClock,
    onChange: (place) => {
      const { connection, type, name } = keyOf(place);
      operator.reconcile(world.tracker.readersOf(objectLookup(connection, type, name)));
    },
  });
  const io = { ...opened.io, kubernetesSecrets: secrets, secretSources };
  const world = worldOf({ owner: options.owner, base: BASE, ledger, io });
  const operator: Operator = new Operator({
    world,
    clock: systemClock,
    observer: connections.observing(observer),
    random: Math.random,
    allowMassDelete: options.allowMassDelete,
    scopeOf: () => source.isPruned,
    report: source.report,
    connect: (declaration) => connections.take(declaration),
  });
  const ended = new AbortController();
  const until = AbortSignal.any([stop, lock.lost, ended.signal]);
  const following = secrets.follow(until);
  try {
    await operator.run(source.declarations(until), until);
  } catch (error) {
    // Whoever took over may have written already: then the next term reads it.
    if (!lock.lost.aborted) throw error;
    warn(messageOf(error));
  } finally {
    ended.abort();
    await following;
    secretSources.close();
    await ledger.close();
    await opened.close();
  }
}

/** How the tracker calls the Secret of a token. */
function secretLookup(namespace: string, name: string): string {
  return objectLookup('local', 'kubernetes-secret', `${namespace}/${name}`);
}
