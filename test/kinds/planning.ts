import { typesOf, type Kind, type PlanContext } from '../../src/contract/kind.ts';
import { idOf, type Resource } from '../../src/contract/resource.ts';
import { kinds } from '../../src/kinds/index.ts';
import { plan } from '../../src/plan/plan.ts';
import { keyText, resourceText, type Live, type ObjectKey, type Owned, type PlannedStep } from '../../src/plan/step.ts';

/** What is live and what the inventory holds, while a resource is planned. */
export interface Situation {
  /** By `keyText`; tokens by accessor ID. */
  readonly live?: Readonly<Record<string, Live>>;
  readonly owned?: readonly Owned[];
  readonly now?: number;
  /** Other declared resources. */
  readonly others?: readonly Resource[];
}

export function resource<Spec>(kind: Kind<Spec>, spec: unknown, name = 'ci'): Resource<Spec> {
  return {
    kind: kind.kind,
    metadata: { name, namespace: 'default', annotations: {} },
    spec: kind.spec.parse(spec),
    source: 'a.yaml',
    folder: '/manifests',
    locate: () => ({ file: 'a.yaml', line: 1, column: 1 }),
  };
}

/** The steps for one resource. */
export function planned<Spec>(
  kind: Kind<Spec>,
  spec: unknown,
  situation: Situation,
  metadata: Partial<Resource['metadata']> = {},
): PlannedStep[] {
  const owned = situation.owned ?? [];
  const plain = resource(kind, spec);
  const declared = { ...plain, metadata: { ...plain.metadata, ...metadata } };
  const desired = kind.objects(declared, contextOf(situation));
  return plan({ desired, owned: (key) => ownedAt(owned, key), undeclared: [] });
}

export function contextOf({ live = {}, owned = [], now = 0, others = [] }: Situation): PlanContext {
  return {
    owner: 'default',
    now,
    live: (key) => live[keyText(key)],
    liveBy: (connection, type, index) =>
      Object.entries(live)
        .filter(([key]) => key.startsWith(`${connection}/${type}/`))
        .map(([, object]) => object)
        .filter((object) => typesOf(kinds).get(type)?.index?.(object) === index),
    failure: () => undefined,
    owned: (key) => ownedAt(owned, key),
    ownedBy: (resource) => owned.filter((o) => resourceText(o.resource) === resourceText(idOf(resource))),
    nomadAddress: () => 'http://nomad:4646',
    vaultServer: () => ({ address: 'http://vault:8200' }),
    resource: (id) => others.find((other) => resourceText(idOf(other)) === resourceText(id)),
    pathName: (absolute) => absolute.replace('/manifests/', ''),
  };
}

function ownedAt(owned: readonly Owned[], key: ObjectKey): Owned | undefined {
  return owned.find((o) => keyText(o.key) === keyText(key));
}

/** An inventory entry of the resource that `resource` makes. */
export function entry(kind: string, key: ObjectKey, more: Partial<Owned> = {}): Owned {
  return {
    key,
    resource: { kind, namespace: 'default', name: 'ci' },
    state: 'owned',
    adopted: false,
    deletionPolicy: 'Delete',
    suspended: false,
    source: 'a.yaml',
    ...more,
  };
}

/** Action, object and reason of each step. */
export function outline(steps: readonly PlannedStep[]): string[] {
  return steps.map(({ step }) => `${step.action} ${step.object} ${step.reason}`);
}
