import type { Cluster } from './cluster.ts';

/** A namespace, and somebody who may do in it what the built-in role `edit` lets people do, and nothing elsewhere. */
export class Tenant {
  private constructor(
    readonly namespace: string,
    readonly account: string,
    readonly kubeconfig: string,
    readonly cluster: Cluster,
  ) {}

  static async of(cluster: Cluster, namespace: string): Promise<Tenant> {
    const subject = { kind: 'ServiceAccount', name: 'tenant', namespace };
    const bound = (name: string): object => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name, namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [subject],
    });
    // No controller aggregates the shipped roles into `edit` here.
    const edit = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'edits-secrets' },
      rules: [{ apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['*'] }],
    };
    await cluster.apply(
      JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }),
      JSON.stringify({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'tenant', namespace } }),
      JSON.stringify(edit),
      ...['nomad-access-edit', 'nomad-access-view', 'edits-secrets'].map((name) => JSON.stringify(bound(name))),
    );
    const account = `system:serviceaccount:${namespace}:tenant`;
    return new Tenant(namespace, account, await cluster.kubeconfig('tenant', namespace), cluster);
  }

  /** @returns what kubectl answered, refusal or not. */
  try(args: readonly string[], input = ''): ReturnType<Cluster['kubernetes']['kubectl']> {
    return this.cluster.kubernetes.kubectl('--kubeconfig', this.kubeconfig, ...args, { input });
  }

  /** @throws Error where it is refused. */
  async kubectl(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.try(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** @throws Error where it is refused. */
  async apply(...documents: string[]): Promise<void> {
    const { code, stderr } = await this.try(['apply', '-f', '-'], documents.join('\n---\n'));
    if (code !== 0) throw new Error(`kubectl apply: ${stderr}`);
  }

  /** @returns why it is refused. @throws Error where it is not. */
  async refusal(...documents: string[]): Promise<string> {
    const { code, stderr } = await this.try(['apply', '-f', '-'], documents.join('\n---\n'));
    if (code === 0) throw new Error(`it was not refused: ${documents.join()}`);
    return stderr;
  }
}
