import { idOf, type Resource } from '../contract/resource.ts';
import { fingerprint } from '../plan/diff.ts';
import { plan, planDesired, type Undeclared } from '../plan/plan.ts';
import {
  isUnreadable,
  keyText,
  type Desired,
  type Live,
  type Owned,
  type PlannedStep,
  type Unreadable,
} from '../plan/step.ts';
import { applyGrants } from './grants.ts';
import { derive } from './observe.ts';
import { contextOf, kindOf, typeOf, type Connection, type World } from './world.ts';

/** The plan for everything declared and everything owned in scope, from memory alone. */
export function compose(world: World): PlannedStep[] {
  const desired = applyGrants(derive(world), (d) => connectionOf(world, d));
  const kept = new Set(desired.flatMap((d) => [keyText(d.key), ...(d.keeps ?? []).map(keyText)]));
  const undeclared = world.ledger
    .all()
    .filter((owned) => !kept.has(keyText(owned.key)) && (world.inScope(owned.source) || isDeclared(world, owned)))
    .map((owned) => describe(world, owned));
  return plan({ desired, owned: (key) => world.ledger.get(key), undeclared });
}

/** The step of one object, as the views stand now: what was deferred may be known by now. */
export function recompose(world: World, planned: PlannedStep): PlannedStep {
  const resource = world.resources.find((r) => isOf(r, planned.step));
  if (resource === undefined || planned.desired === undefined) return planned;
  const objects = applyGrants([...kindOf(world, resource).objects(resource, contextOf(world))], (d) =>
    connectionOf(world, d),
  );
  const desired = objects.find((d) => keyText(d.key) === keyText(planned.key));
  return desired === undefined ? planned : planDesired(desired, world.ledger.get(desired.key));
}

function isOf(resource: Resource, step: { kind: string; namespace: string; name: string }): boolean {
  return (
    resource.kind === step.kind &&
    resource.metadata.namespace === step.namespace &&
    resource.metadata.name === step.name
  );
}

/** A resource that is still declared may have dropped some of its objects: a role, a sink, a replaced token. */
function isDeclared(world: World, owned: Owned): boolean {
  return declaredIds(world).has(idText(owned.resource));
}

const idsOf = new WeakMap<readonly Resource[], Set<string>>();
function declaredIds(world: World): Set<string> {
  let ids = idsOf.get(world.resources);
  if (ids === undefined) {
    ids = new Set(world.resources.map((r) => idText(idOf(r))));
    idsOf.set(world.resources, ids);
  }
  return ids;
}

function idText(id: { kind: string; namespace: string; name: string }): string {
  return `${id.kind}/${id.namespace}/${id.name}`;
}

function describe(world: World, owned: Owned): Undeclared {
  const type = typeOf(world, owned.key.type);
  const live = liveOf(world, owned);
  if (live === undefined || isUnreadable(live)) return { owned, live };
  const retained = type.retain?.(owned.key, live, (key) => world.ledger.get(key) !== undefined);
  const note = type.deletionNote?.(live);
  return {
    owned,
    live,
    ...(type.rules && { liveFingerprint: fingerprint(live.fields, type.rules) }),
    ...(retained !== undefined && { retained }),
    ...(note !== undefined && { note }),
    ...(type.partOf && { partOf: type.partOf(owned.key) }),
  };
}

/** The live object of an inventory entry. */
export function liveOf(world: World, owned: Owned): Live | Unreadable | undefined {
  const type = typeOf(world, owned.key.type);
  const { connection } = owned.key;
  const failure = world.view.failure(connection, type.name);
  if (failure !== undefined) return failure;
  if (type.find) return type.find(owned, world.view.all(connection, type.name));
  return world.view.get(connection, type.name, owned.key.name);
}

function connectionOf(world: World, { key }: Desired): Connection | undefined {
  const { connection } = typeOf(world, key.type);
  return world.connections.find((c) => c.kind === connection && c.name === key.connection);
}
