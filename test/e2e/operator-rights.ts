import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isRole, objectsIn, rulesOf, type Manifest, type PolicyRule } from '../manifests/objects.ts';
import { HOME, until, type Cluster } from './cluster.ts';

const INSTALL = resolve(import.meta.dirname, '../../manifests/install');
const ACCOUNT = `system:serviceaccount:${HOME}:nomad-access`;

/** The roles that `manifests/install` gives to the operator. */
const ROLES = ['cluster/operator-role.yaml', 'operator/state-role.yaml'].flatMap((file) =>
  objectsIn(readFileSync(join(INSTALL, file), 'utf8')).filter(isRole),
);

/** One verb for one resource: the least that a role grants. */
export interface Right {
  readonly role: Manifest;
  readonly group: string;
  /** With its subresource, as in `aclpolicies/status`. */
  readonly resource: string;
  readonly verb: string;
}

/** Everything that the operator may do. */
export const RIGHTS: readonly Right[] = ROLES.flatMap(rightsIn);

/** Takes one right away; all others stand. Resolves when the API server goes by it. */
export async function takeAway(cluster: Cluster, right: Right): Promise<void> {
  const kept = rightsIn(right.role).filter((other) => textOf(other) !== textOf(right));
  const rules = kept.map(({ group, resource: name, verb }) => ({
    apiGroups: [group],
    resources: [name],
    verbs: [verb],
  }));
  await apply(cluster, right, rules, 'no');
}

/** As installed. */
export async function giveBack(cluster: Cluster, right: Right): Promise<void> {
  await apply(cluster, right, rulesOf(right.role), 'yes');
}

function rightsIn(role: Manifest): Right[] {
  return rulesOf(role).flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((name) => verbs.map((verb) => ({ role, group, resource: name, verb }))),
    ),
  );
}

/** `patch aclpolicies/status` */
export function textOf({ verb, resource: name }: Pick<Right, 'verb' | 'resource'>): string {
  return `${verb} ${name}`;
}

async function apply(cluster: Cluster, right: Right, rules: readonly PolicyRule[], answer: string): Promise<void> {
  await cluster.apply(JSON.stringify({ ...right.role, rules }));
  const { verb, group, role } = right;
  const [name = '', subresource] = right.resource.split('/');
  const type = group === '' ? name : `${name}.${group}`;
  const where = role.kind === 'Role' ? ['-n', HOME] : ['-A'];
  const sub = subresource === undefined ? [] : [`--subresource=${subresource}`];
  await until(`whether the operator may ${textOf(right)} is answered by ${answer}`, async () => {
    const asked = ['auth', 'can-i', verb, type, ...sub, ...where, `--as=${ACCOUNT}`];
    const { stdout } = await cluster.kubernetes.kubectl(...asked);
    return stdout.trim() === answer ? true : undefined;
  });
}
