import type { PlanContext } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import { keyText, type Desired, type ObjectKey } from '../plan/step.ts';

/**
 * The verdict on a resource whose live name or connection was changed after its object was made: refused, and what
 * was made under the old name stays. Undefined where nothing was changed.
 * @param path field that holds the name, relative to the resource: `spec.name`.
 * @param sameName whether an object of ours has the declared name.
 */
export function renamed(
  resource: Resource,
  context: PlanContext,
  key: ObjectKey,
  path: string,
  sameName: (owned: ObjectKey) => boolean,
): Pick<Desired, 'verdict' | 'keeps'> | undefined {
  const owned = context.ownedBy(resource);
  const made = owned.find((o) => o.key.type === key.type && (o.key.connection !== key.connection || !sameName(o.key)));
  if (made === undefined) return undefined;
  const message =
    `${path} and the connection are immutable: ${keyText(made.key)} was made under this resource. ` +
    'Put the old value back, or give the resource another metadata.name so that the old object is deleted and a new one made';
  return { verdict: { action: 'refuse', reason: 'Immutable', message }, keeps: owned.map((o) => o.key) };
}
