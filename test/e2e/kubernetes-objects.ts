import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { messageOf } from '../../src/contract/errors.ts';
import type { Condition } from '../../src/sources/kubernetes/conditions.ts';
import { resource, until, type Cluster, type Shown } from './cluster.ts';

/** Annotations that ask something of the operator. */
export const ASK = {
  reconcile: 'nomad-access.io/reconcile-requested-at',
  release: 'nomad-access.io/release',
  acceptAddress: 'nomad-access.io/accept-address-change',
} as const;

export const FINALIZER = 'nomad-access.io/finalizer';

/** An Event as `kubectl get -o json` prints it. */
export interface ShownEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

/** An AclToken whose secret is kept nowhere. @param more YAML lines of its spec. */
export function token(
  name: string,
  policies: readonly string[],
  more: readonly string[] = [],
  namespace = 'default',
): string {
  return resource(
    'AclToken',
    name,
    [`policies: [${policies.join(', ')}]`, 'writeSecretTo: { none: {} }', ...more].join('\n'),
    namespace,
  );
}

/** An AclPolicy for the namespace `default`. @param more YAML lines of its spec. */
export function policyWith(name: string, more: readonly string[], access = 'read', namespace = 'default'): string {
  return resource(
    'AclPolicy',
    name,
    [`rules: 'namespace "default" { policy = "${access}" }'`, ...more].join('\n'),
    namespace,
  );
}

export function conditionOf(shown: Shown | undefined, type: Condition['type'] = 'Ready'): Condition | undefined {
  return shown?.status?.conditions?.find((condition) => condition.type === type);
}

export function isWithoutCredential(shown: Shown | undefined): boolean {
  const ready = conditionOf(shown);
  return ready?.status !== 'True' && /there is no Secret nomad-access\/(nomad|vault)/.test(ready?.message ?? '');
}

/** Whether a status says that it goes on by itself, once a server answers. */
export function waitsFor(shown: Shown | undefined, address: string): boolean {
  const ready = conditionOf(shown);
  const isGoingOn = conditionOf(shown, 'Reconciling')?.status === 'True';
  return ready?.status !== 'True' && isGoingOn && (ready?.message.includes(address) ?? false);
}

/** Asks for its deletion, and does not wait for it. */
export function deleteSoon(cluster: Cluster, kind: string, name: string, namespace = 'default'): Promise<string> {
  return cluster.kubectl('delete', kind, name, '-n', namespace, '--wait=false');
}

export async function untilGone(cluster: Cluster, kind: string, name: string, namespace = 'default'): Promise<void> {
  await until(`${kind} ${namespace}/${name} is gone`, async () =>
    (await cluster.get(kind, name, namespace)) === undefined ? true : undefined,
  );
}

/** Waits until something holds of an object as it is shown. @throws Error with its status where it never does. */
export async function untilShown(
  cluster: Cluster,
  kind: string,
  name: string,
  what: string,
  holds: (shown: Shown) => boolean,
  namespace = 'default',
  deadlineMs?: number,
): Promise<Shown> {
  let last: Shown | undefined;
  try {
    return await until(
      `${kind} ${namespace}/${name} ${what}`,
      async () => {
        last = await cluster.get(kind, name, namespace);
        return last !== undefined && holds(last) ? last : undefined;
      },
      deadlineMs,
    );
  } catch (error) {
    throw new Error(`${messageOf(error)}; its status is ${JSON.stringify(last?.status)}`, { cause: error });
  }
}

export function annotate(cluster: Cluster, kind: string, name: string, key: string, value: string): Promise<string> {
  return cluster.kubectl('annotate', kind, name, '-n', 'default', '--overwrite', `${key}=${value}`);
}

/** @param patch JSON merge patch. */
export function patch(
  cluster: Cluster,
  kind: string,
  name: string,
  change: object,
  ...args: string[]
): Promise<string> {
  return cluster.kubectl('patch', kind, name, '-n', 'default', '--type=merge', '-p', JSON.stringify(change), ...args);
}

export async function eventsOf(cluster: Cluster, name: string): Promise<ShownEvent[]> {
  const text = await cluster.kubectl('get', 'events.events.k8s.io', '-A', '-o', 'json');
  const { items } = JSON.parse(text) as { items: ShownEvent[] };
  return items.filter(({ regarding }) => regarding.name === name);
}

/** Asks the API server as its administrator, without kubectl's start-up time. @returns the status and the body. */
export function ask(
  { kubernetes }: Cluster,
  method: string,
  path: string,
  body?: object,
  contentType = 'application/merge-patch+json',
): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Bearer ${kubernetes.adminToken}`, 'content-type': contentType };
  const ca = readFileSync(kubernetes.caFile);
  return new Promise((done, fail) => {
    const outgoing = request(`${kubernetes.address}${path}`, { method, headers, ca }, (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (part: string) => (text += part));
      reply.once('end', () => {
        done({ status: reply.statusCode ?? 0, body: JSON.parse(text) });
      });
    });
    outgoing.once('error', fail);
    outgoing.end(body && JSON.stringify(body));
  });
}
