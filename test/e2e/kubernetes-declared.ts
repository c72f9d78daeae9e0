import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, vi } from 'vitest';
import { messageOf, TargetError } from '../../src/contract/errors.ts';
import type { KubernetesObject } from '../../src/contract/kubernetes.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import type { Status } from '../../src/sources/kubernetes/conditions.ts';
import type { Cluster } from './cluster.ts';
import { startGateway, type Gateway } from './gateway.ts';

const GROUP = '/apis/nomad-access.io/v1alpha1';
export const POLICIES = `${GROUP}/aclpolicies`;
export const TOKENS = `${GROUP}/acltokens`;
const OURS = `${GROUP}/namespaces/default`;

interface Declaration extends KubernetesObject {
  readonly status?: Status;
}

export function rules(access: string): string {
  return `namespace "default" { policy = "${access}" }`;
}

/** Whether it is what keeps a watch, and not a request that has an end. */
export function isWatch({ path }: { readonly path: string }): boolean {
  return path.includes('watch=true');
}

/** Stands before the API server, with its certificate, and sees each request. */
export function startApiGateway({ kubernetes }: Cluster): Promise<Gateway> {
  const cert = readFileSync(kubernetes.caFile, 'utf8');
  // The API server has made its certificate itself, and has put the key beside it.
  const key = readFileSync(kubernetes.caFile.replace(/crt$/, 'key'), 'utf8');
  return startGateway(kubernetes.address, { ca: cert, cert, key });
}

/**
 * What an administrator has declared in the namespace `default`, and that it is so. Each change is tried until the API server
 * has taken it.
 */
export class Declared {
  /** Access by name. */
  readonly policies = new Map<string, string>();
  readonly tokens = new Set<string>();
  readonly #cluster: Cluster;
  readonly #admin: KubernetesClient;

  private constructor(cluster: Cluster, admin: KubernetesClient) {
    this.#cluster = cluster;
    this.#admin = admin;
  }

  static async open(cluster: Cluster): Promise<Declared> {
    return new Declared(cluster, await openKubernetes({ kubeconfig: cluster.kubernetes.kubeconfig }));
  }

  close(): Promise<void> {
    return this.#admin.close();
  }

  forget(): void {
    this.policies.clear();
    this.tokens.clear();
  }

  async policy(name: string, access = 'read'): Promise<void> {
    await this.#put('AclPolicy', 'aclpolicies', name, { rules: rules(access) });
    this.policies.set(name, access);
  }

  /** Its secret is kept nowhere. */
  async token(name: string, policy: string): Promise<void> {
    await this.#put('AclToken', 'acltokens', name, { policies: [policy], writeSecretTo: { none: {} } });
    this.tokens.add(name);
  }

  /** Does not wait until it is gone. */
  async drop(name: string): Promise<void> {
    await insisting(() => this.#admin.delete(`${OURS}/aclpolicies/${name}`));
    this.policies.delete(name);
  }

  /** Waits until all that is declared is Ready as it stands, nothing else is there, and Nomad holds just that. */
  async isSo(): Promise<void> {
    await vi.waitFor(
      async () => {
        await this.#isReady(POLICIES, [...this.policies.keys()]);
        await this.#isReady(TOKENS, [...this.tokens]);
        const { liveNomad } = this.#cluster;
        expect(await liveNomad.policyNames()).toEqual([...this.policies.keys()].sort());
        for (const [name, access] of this.policies) expect(await liveNomad.rulesOf(name), name).toBe(rules(access));
        const live = (await liveNomad.marked()).map(({ Name }) => Name.replace(/ \[na:.*/, ''));
        expect(live.sort()).toEqual([...this.tokens].sort());
      },
      { timeout: 60_000, interval: 100 },
    );
  }

  async #isReady(path: string, names: string[]): Promise<void> {
    const objects = await this.#admin.list<Declaration>({ path });
    expect(objects.map(({ metadata }) => metadata.name).sort()).toEqual(names.sort());
    for (const { metadata, status } of objects) {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      const { name, generation } = metadata;
      expect(ready, name).toMatchObject({ status: 'True', reason: 'InSync', observedGeneration: generation });
    }
  }

  async #put(kind: string, plural: string, name: string, spec: object): Promise<void> {
    const body = { apiVersion: 'nomad-access.io/v1alpha1', kind, metadata: { name, namespace: 'default' }, spec };
    await insisting(async () => {
      const put = await this.#admin.patch<KubernetesObject>(`${OURS}/${plural}/${name}`, 'apply', body);
      if (put?.metadata.deletionTimestamp !== undefined) throw new Error(`the former ${name} is being deleted`);
    });
  }
}

/** Registers its opening and its end in the surrounding `describe`. */
export function useDeclared(rig: { readonly cluster: Cluster }): { readonly declared: Declared } {
  const holder = {} as { declared: Declared };
  beforeAll(async () => {
    holder.declared = await Declared.open(rig.cluster);
  });
  afterAll(() => holder.declared.close());
  return holder;
}

/** Tries until it works. @throws Error where that takes too long. */
async function insisting(act: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      await act();
      return;
    } catch (error) {
      if (error instanceof TargetError && error.class === 'terminal') throw error;
      if (performance.now() > deadline) throw new Error(`in vain: ${messageOf(error)}`, { cause: error });
      await sleep(50);
    }
  }
}
