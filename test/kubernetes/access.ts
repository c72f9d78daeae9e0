import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openKubernetes, type KubernetesClient, type KubernetesClientOptions } from '../../src/kubernetes/client.ts';
import type { KubernetesServer } from '../servers/kubernetes.ts';

/** How a user of a kubeconfig presents itself. */
export type User = { readonly token: string } | { readonly tokenFile: string };

/** A kubeconfig of its own, for one user at one address. @returns its path. */
export function writeKubeconfig(folder: string, server: KubernetesServer, address: string, user: User): string {
  const file = join(folder, `kubeconfig-${String(++written)}`);
  const config = {
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster: { server: address, 'certificate-authority': server.caFile } }],
    users: [{ name: 'test', user }],
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
let written = 0;

/** The administrator's client, through a proxy. */
export function openThrough(
  folder: string,
  server: KubernetesServer,
  proxy: { readonly address: string },
  options: KubernetesClientOptions = {},
): Promise<KubernetesClient> {
  const kubeconfig = writeKubeconfig(folder, server, proxy.address, { token: server.adminToken });
  return openKubernetes({ ...options, kubeconfig });
}
