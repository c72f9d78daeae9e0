import { parseAllDocuments } from 'yaml';

/** An object as a manifest has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Selector {
  readonly matchLabels: Readonly<Record<string, string>>;
}

/** What the tests look at of a Deployment. */
export interface Deployment {
  readonly spec: {
    readonly selector: Selector;
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly automountServiceAccountToken: boolean;
        readonly topologySpreadConstraints: readonly { readonly labelSelector: Selector }[];
        readonly containers: readonly {
          readonly image: string;
          readonly args: readonly string[];
          readonly securityContext: unknown;
        }[];
      };
    };
  };
}

export function objectsIn(yaml: string): Manifest[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}

/** `Role/nomad-access/nomad-access-state` */
export function refOf({ kind, metadata }: Manifest): string {
  return [kind, ...(metadata.namespace === undefined ? [] : [metadata.namespace]), metadata.name].join('/');
}

/** The object of that kind and name. @throws Error where there is none. */
export function one<T = unknown>(objects: readonly Manifest[], kind: string, name: string): Manifest & T {
  const found = objects.find((o) => o.kind === kind && o.metadata.name === name);
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
  return found as Manifest & T;
}

export function isRole(object: Manifest): boolean {
  return object.kind === 'Role' || object.kind === 'ClusterRole';
}

export function rulesOf(role: Manifest): readonly PolicyRule[] {
  return (role as Manifest & { rules: readonly PolicyRule[] }).rules;
}
