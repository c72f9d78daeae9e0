import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverBinary } from './binaries.ts';
import { cleanEnvironment, type CommandResult, runCommand } from './command.ts';
import { askServer } from './http.ts';
import { withFreePorts } from './ports.ts';
import { type ServerProcess, type ServerSpec, startProcess, temporaryDirectory } from './process.ts';

type KubectlArguments = string[] | [...string[], { input?: string }];

export interface KubernetesServer {
  /** https */
  address: string;
  /** Bearer token of a member of system:masters. */
  adminToken: string;
  /** Path of a kubeconfig with that token. */
  kubeconfig: string;
  /** PEM of the authority to trust for `address`. */
  caFile: string;
  /** Of the API server that runs now. */
  readonly pid: number;
  etcdPid: number;
  /** http; etcd's own API, as JSON below `/v3/`. */
  etcdAddress: string;
  /** kubectl as the administrator: `kubectl('apply', '-f', '-', { input: yaml })`. */
  kubectl: (...args: KubectlArguments) => Promise<CommandResult>;
  /** Ends the API server; etcd stays, with all that there is. */
  stopApiServer: () => Promise<void>;
  /** Starts it again, at the same address and with the same keys; resolves when it is ready. */
  startApiServer: () => Promise<void>;
  stop: () => Promise<void>;
}

/**
 * An etcd and a kube-apiserver with RBAC. No kubelet and no controllers: no pods, no garbage collection by owner reference,
 * no `default` service account in new namespaces.
 */
export async function startKubernetes(): Promise<KubernetesServer> {
  const directory = temporaryDirectory('kubernetes');
  try {
    const etcd = await withFreePorts(2, ([client = 0, peer = 0]) => startEtcd(directory.path, client, peer));
    try {
      return await withFreePorts(1, ([port = 0]) => startApiServer(directory, etcd, port));
    } catch (error) {
      await etcd.stop();
      throw error;
    }
  } catch (error) {
    directory.remove();
    throw error;
  }
}

type Etcd = ServerProcess<{ address: string }>;

function startEtcd(directory: string, clientPort: number, peerPort: number): Promise<Etcd> {
  const address = `http://127.0.0.1:${clientPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return startProcess({
    name: 'etcd',
    bin: serverBinary('etcd'),
    args: [
      `--data-dir=${join(directory, 'etcd')}`,
      // A test's data need not survive a crash of the machine.
      '--unsafe-no-fsync',
      `--listen-client-urls=${address}`,
      `--advertise-client-urls=${address}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ],
    env: cleanEnvironment(),
    directory,
    ready: async () => {
      const { status } = await askServer(`${address}/readyz`);
      return status === 200 ? { address } : undefined;
    },
  });
}

async function startApiServer(
  directory: { path: string; remove: () => void },
  etcd: Etcd,
  port: number,
): Promise<KubernetesServer> {
  const address = `https://127.0.0.1:${port}`;
  const file = (name: string): string => join(directory.path, name);
  const adminToken = randomUUID();
  writeFileSync(file('tokens.csv'), `${adminToken},admin,admin,system:masters\n`, { mode: 0o600 });
  const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(file('accounts.key'), keys.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(file('accounts.pub'), keys.publicKey.export({ type: 'spki', format: 'pem' }));

  // The API server makes its certificate itself, and appends the authority that it made for it.
  const caFile = file('certificates/apiserver.crt');
  const spec: ServerSpec<object> = {
    name: 'kube-apiserver',
    bin: serverBinary('kube-apiserver'),
    args: [
      `--etcd-servers=${etcd.value.address}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      `--cert-dir=${file('certificates')}`,
      `--token-auth-file=${file('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${file('accounts.pub')}`,
      `--service-account-signing-key-file=${file('accounts.key')}`,
      '--service-cluster-ip-range=10.0.0.0/24',
    ],
    env: cleanEnvironment(),
    directory: directory.path,
    ready: async () => {
      if (!existsSync(caFile)) return undefined;
      const request = { headers: { Authorization: `Bearer ${adminToken}` }, tls: { ca: readFileSync(caFile, 'utf8') } };
      // The namespace is made a moment after everything else is ready.
      for (const path of ['/readyz', '/api/v1/namespaces/default']) {
        const { status } = await askServer(address + path, request);
        if (status !== 200) return undefined;
      }
      return {};
    },
  };
  let server = await startProcess(spec);
  const kubeconfig = file('kubeconfig');
  writeFileSync(kubeconfig, kubeconfigText(address, caFile, adminToken), { mode: 0o600 });
  const kubectl = serverBinary('kubectl');
  return {
    address,
    adminToken,
    kubeconfig,
    caFile,
    get pid() {
      return server.pid;
    },
    etcdPid: etcd.pid,
    etcdAddress: etcd.value.address,
    kubectl: (...args) => {
      const mixed: (string | { input?: string })[] = args;
      const words = mixed.filter((argument) => typeof argument === 'string');
      const last = mixed.at(-1);
      // HOME: kubectl caches what it discovered there, by address, and addresses come back with another server behind.
      const env = cleanEnvironment({ KUBECONFIG: kubeconfig, HOME: directory.path });
      return runCommand(kubectl, words, { env, ...(typeof last === 'object' ? last : {}) });
    },
    stopApiServer: () => server.stop(),
    startApiServer: async () => {
      server = await startProcess(spec);
    },
    stop: async () => {
      await server.stop();
      await etcd.stop();
      directory.remove();
    },
  };
}

function kubeconfigText(address: string, caFile: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    clusters: [{ name: 'test', cluster: { server: address, 'certificate-authority': caFile } }],
    users: [{ name: 'admin', user: { token } }],
  });
}
