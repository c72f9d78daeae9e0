import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { parse } from 'yaml';
import { messageOf, TargetError, UsageError } from '../contract/errors.ts';
import type { TlsOptions } from '../http/tls.ts';

export interface KubeconfigOptions {
  /** Path of a kubeconfig; without it: $KUBECONFIG, the pod's service account, ~/.kube/config. */
  readonly kubeconfig?: string | undefined;
  /** A context of it; without it, its current one. */
  readonly context?: string | undefined;
  /** What stands before the paths of a pod's service account. */
  readonly root?: string;
}

/** How to present oneself with one request. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
}

/** The way to an API server, and who we are to it. */
export interface KubernetesAccess {
  readonly address: string;
  /** The pod's, else the context's, else `default`. */
  readonly namespace: string;
  /** Those of now; kept for a few seconds. @throws TargetError `denied` where they can't be had. */
  credentials(): Promise<Credentials>;
  /** Read anew, because the server did not accept `refused`. @throws TargetError */
  renewed(refused: Credentials): Promise<Credentials>;
}

/** Whether they present the same one in the same way. */
export function isSame(a: Credentials, b: Credentials): boolean {
  return a === b || (JSON.stringify(a.headers) === JSON.stringify(b.headers) && isSameTls(a, b));
}

export function isSameTls(a: Credentials, b: Credentials): boolean {
  return a === b || JSON.stringify(a.tls) === JSON.stringify(b.tls);
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Files are read, and plugins asked, this often at most; milliseconds. A refused credential is read anew at once. */
const FRESH_MS = 10_000;

/** @throws UsageError that says which file, and what is wrong with it; never with a piece of its content. */
export async function loadKubeconfig(options: KubeconfigOptions = {}): Promise<KubernetesAccess> {
  const config = await configOf(options);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw noContext(config, options);
  if (cluster.proxyUrl !== undefined) throw new UsageError('proxy-url in a kubeconfig is not supported');
  const podNamespace = contentOf(`${options.root ?? ''}${SERVICE_ACCOUNT}/namespace`);
  const contextNamespace = config.getContextObject(config.currentContext)?.namespace;
  return new Access(cluster.server, podNamespace || contextNamespace || 'default', config, () => configOf(options));
}

class Access implements KubernetesAccess {
  readonly address: string;
  readonly namespace: string;
  readonly #reload: () => Promise<KubeConfig>;
  #config: KubeConfig;
  #current: Promise<Credentials> | undefined;
  #since = 0;

  constructor(address: string, namespace: string, config: KubeConfig, reload: () => Promise<KubeConfig>) {
    this.address = address;
    this.namespace = namespace;
    this.#config = config;
    this.#reload = reload;
  }

  credentials(): Promise<Credentials> {
    const now = performance.now();
    if (this.#current === undefined || now - this.#since > FRESH_MS) this.#keep(credentialsOf(this.#config));
    return this.#current as Promise<Credentials>;
  }

  async renewed(refused: Credentials): Promise<Credentials> {
    const held = this.credentials();
    const isHeld = isSame(await held, refused);
    // Of the many requests that were refused at once, the first one reads for all.
    if (isHeld && this.#current === held) this.#keep(this.#anew());
    return this.credentials();
  }

  /** All anew: what a plugin or a file once said is kept inside a KubeConfig, too. */
  async #anew(): Promise<Credentials> {
    this.#config = await this.#reload();
    return credentialsOf(this.#config);
  }

  #keep(credentials: Promise<Credentials>): void {
    const kept = credentials.catch((error: unknown) => {
      if (this.#current === kept) this.#current = undefined;
      const message = `no credentials for ${this.address}: ${messageOf(error).trim()}`;
      throw new TargetError(message, { class: 'denied', cause: error });
    });
    this.#current = kept;
    this.#since = performance.now();
  }
}

async function credentialsOf(config: KubeConfig): Promise<Credentials> {
  const given: RequestOptions = {};
  // It also makes an agent, which nobody uses, and refuses to for plain http, as `kubectl proxy` speaks it, unless told so.
  const cluster = config.getCurrentCluster();
  try {
    await config.applyToHTTPSOptions(given);
  } catch (error) {
    if (!cluster?.server.startsWith('http:') || !messageOf(error).startsWith('HTTP protocol')) throw error;
  }
  const headers = Object.entries(given.headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    String(value).trim(),
  ]);
  return {
    headers: {
      ...(given.auth && { authorization: `Basic ${Buffer.from(given.auth).toString('base64')}` }),
      ...(Object.fromEntries(headers) as Record<string, string>),
    },
    tls: {
      caCert: textOf(given.ca),
      caOnly: true,
      clientCert: textOf(given.cert),
      clientKey: textOf(given.key),
      serverName: cluster?.tlsServerName,
      insecureSkipVerify: cluster?.skipTLSVerify,
    },
  };
}

function textOf(pem: unknown): string | undefined {
  return typeof pem === 'string' || Buffer.isBuffer(pem) ? pem.toString() : undefined;
}

async function configOf({ kubeconfig, context, root = '' }: KubeconfigOptions): Promise<KubeConfig> {
  // Imported here: it takes its time, and only those who speak with Kubernetes need it.
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const files = filesOf(kubeconfig, root, context);
  const config = new KubeConfig();
  if (files === undefined) config.loadFromCluster(root);
  for (const file of files ?? []) merge(config, read(file, new KubeConfig()));
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}

/** @returns undefined for the pod's service account. */
function filesOf(kubeconfig: string | undefined, root: string, context: string | undefined): string[] | undefined {
  if (kubeconfig !== undefined) return [kubeconfig];
  const named = (process.env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== '');
  if (named.length > 0) return named.filter((file, at) => at === named.length - 1 || existsSync(file));
  const inPod = Boolean(process.env.KUBERNETES_SERVICE_HOST) && existsSync(`${root}${SERVICE_ACCOUNT}/token`);
  if (inPod && context === undefined) return undefined;
  const file = join(homedir(), '.kube', 'config');
  if (existsSync(file)) return [file];
  throw new UsageError('no kubeconfig: name one by --kubeconfig or KUBECONFIG, or run in a pod with a service account');
}

/** As kubectl does: of two of one name the first counts. */
function merge(config: KubeConfig, more: KubeConfig): void {
  more.clusters = more.clusters.filter(({ name }) => config.getCluster(name) === null);
  more.users = more.users.filter(({ name }) => config.getUser(name) === null);
  more.contexts = more.contexts.filter(({ name }) => config.getContextObject(name) === null);
  config.mergeConfig(more, Boolean(config.currentContext));
}

interface RawConfig {
  readonly users?: readonly { readonly name: string; readonly user?: { readonly tokenFile?: string } }[];
}

function read(file: string, config: KubeConfig): KubeConfig {
  const raw = rawOf(file);
  try {
    config.loadFromString(JSON.stringify(raw));
  } catch (error) {
    throw new UsageError(`the kubeconfig ${file}: ${messageOf(error)}`);
  }
  config.makePathsAbsolute(dirname(file));
  // The library knows neither `tokenFile` nor that it is read again when it has changed, but for its own provider.
  for (const { name, user } of raw.users ?? []) {
    if (user?.tokenFile === undefined) continue;
    const tokenFile = resolve(dirname(file), user.tokenFile);
    const authProvider = { name: 'tokenFile', config: { tokenFile } };
    config.users = config.users.map((u) => (u.name === name ? { name, authProvider } : u));
  }
  return config;
}

function rawOf(file: string): RawConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read the kubeconfig ${file}: ${messageOf(error)}`);
  }
  try {
    const raw: unknown = parse(text);
    if (typeof raw === 'object' && raw !== null) return raw;
  } catch (error) {
    // What follows the first line is a piece of the file.
    throw new UsageError(`the kubeconfig ${file}: ${messageOf(error).split('\n')[0] ?? ''}`);
  }
  throw new UsageError(`the kubeconfig ${file} is empty`);
}

function noContext(config: KubeConfig, { context }: KubeconfigOptions): UsageError {
  const names = config.contexts.map(({ name }) => name).join(', ');
  const wanted = context ?? config.currentContext;
  if (!wanted) return new UsageError(`the kubeconfig has no current context: choose one of: ${names || 'none'}`);
  return new UsageError(`the kubeconfig has no context ${wanted} with a cluster; it has: ${names || 'none'}`);
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
