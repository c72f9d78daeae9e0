import type { Resource } from '../contract/resource.ts';
import { fingerprint } from '../plan/diff.ts';
import { plan, planDesired, type DependencyState, type Undeclared } from '../plan/plan.ts';
import {
  isUnreadable,
  keyText,
  resourceText,
  type DeletionPolicy,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type PlannedStep,
  type Unreadable,
} from '../plan/step.ts';
import { retainedForLogin } from './logins.ts';
import { withVerdicts } from './verdicts.ts';
import { inSurroundings } from './surroundings.ts';
import { existenceLookup, objectLookup } from './tracker.ts';
import { connectionBehind, derive, missingConnection, typeOf, type World } from './world.ts';

/** What a resource that is planned by itself is told of the objects of others that it depends on. */
export type Dependencies = (key: ObjectKey) => DependencyState;

/** The plan for everything declared and everything owned in scope, from memory alone. */
export function compose(world: World): PlannedStep[] {
  const undeclared = world.ledger.all().map((owned) => resourceText(owned.resource));
  return composeFor(world, new Set([...world.resources.keys(), ...undeclared]));
}

/**
 * The plan for some resources, declared or not.
 * @param dependencies of objects that belong to none of them; without it, all of them are taken to stand.
 */
export function composeFor(world: World, ids: ReadonlySet<string>, dependencies?: Dependencies): PlannedStep[] {
  const desired: Desired[] = [];
  const undeclared: Undeclared[] = [];
  for (const id of ids) {
    const looked = new Set<string>();
    const resource = world.resources.get(id);
    const objects = resource === undefined ? [] : objectsOf(world, resource, looked);
    for (const object of objects) desired.push(object);
    const kept = new Set(objects.flatMap((d) => [keyText(d.key), ...(d.keeps ?? []).map(keyText)]));
    for (const owned of world.ledger.ownedBy(id)) {
      if (kept.has(keyText(owned.key))) continue;
      if (isPlanned(world, owned)) undeclared.push(describe(world, owned, resource ?? world.deleting.get(id), looked));
    }
    if (dependencies) for (const key of objects.flatMap((d) => d.dependsOn)) looked.add(lookupOf(key));
    world.tracker.record(id, [...looked]);
  }
  const taken = new Set(desired.filter(isTaken).map(({ key }) => keyText(key)));
  const left = undeclared.filter(({ owned }) => !taken.has(keyText(owned.key)));
  return plan({
    desired,
    owned: (key) => world.ledger.get(key),
    undeclared: left,
    ...(dependencies && { dependencies }),
  });
}

/** What one resource stands for no more, and another one does, becomes that one's. */
function isTaken({ suspended, verdict }: Desired): boolean {
  return !suspended && verdict?.action !== 'refuse';
}

/** Whether a plan says something of an object of ours: its resource is declared, or what is not declared there is pruned. */
export function isPlanned(world: World, owned: Owned): boolean {
  const id = resourceText(owned.resource);
  return world.resources.has(id) || world.deleting.has(id) || world.inScope(owned.source);
}

/** The objects that a resource stands for. @param looked collects the live objects that they were derived from. */
export function objectsOf(world: World, resource: Resource, looked?: Set<string>): Desired[] {
  const objects = withVerdicts(world, resource, derive(world, resource, looked), looked);
  return objects.map((object) => inSurroundings(world, object));
}

/** The step of one object, as the views stand now: what was deferred may be known by now. */
export function recompose(world: World, planned: PlannedStep): PlannedStep {
  const resource = world.resources.get(resourceText(planned.step));
  if (resource === undefined || planned.desired === undefined) return planned;
  const desired = objectsOf(world, resource).find((d) => keyText(d.key) === keyText(planned.key));
  return desired === undefined ? planned : planDesired(desired, world.ledger.get(desired.key));
}

function lookupOf({ connection, type, name }: ObjectKey): string {
  return existenceLookup(connection, type, name);
}

/** A resource that is still declared may have dropped some of its objects: a role, a sink, a replaced token. */
function describe(world: World, owned: Owned, resource: Resource | undefined, looked: Set<string>): Undeclared {
  const type = typeOf(world, owned.key.type);
  const live = liveOf(world, owned);
  looked.add(
    objectLookup(owned.key.connection, type.name, type.identify ? (owned.id ?? owned.key.name) : owned.key.name),
  );
  const policy = policyOf(owned, resource);
  if (live === undefined || isUnreadable(live)) return { owned, live, ...policy };
  const isWhole = !world.resources.has(resourceText(owned.resource));
  const retained =
    type.retain?.(owned.key, live, (key) => world.ledger.get(key) !== undefined) ??
    retainedForLogin(world, owned, live, isWhole, looked);
  const note = type.deletionNote?.(live);
  const neededBy = type.neededBy?.(owned);
  return {
    owned,
    live,
    ...policy,
    ...(type.rules && { liveFingerprint: fingerprint(live.fields, type.rules) }),
    ...(retained !== undefined && { retained }),
    ...(note !== undefined && { note }),
    ...(type.partOf && { partOf: type.partOf(owned.key) }),
    ...(type.within && { within: type.within(owned.key) }),
    ...(neededBy && { neededBy }),
  };
}

/** What the declaration says now counts; what the inventory remembers only where there is none any more. */
export function policyOf(
  owned: Owned,
  resource: Resource | undefined,
): { suspended: boolean; deletionPolicy: DeletionPolicy } {
  const spec = resource?.spec as { suspend?: boolean; deletionPolicy?: DeletionPolicy } | undefined;
  return {
    suspended: spec?.suspend ?? owned.suspended,
    deletionPolicy: spec?.deletionPolicy ?? owned.deletionPolicy,
  };
}

/** The live object of an inventory entry. */
export function liveOf(world: World, owned: Owned): Live | Unreadable | undefined {
  const type = typeOf(world, owned.key.type);
  const { connection } = owned.key;
  if (type.connection !== 'local' && connectionBehind(world, owned.key) === undefined)
    return { error: missingConnection(type.connection, connection), reason: 'Unavailable' };
  const failure = world.view.failure(connection, type.name);
  if (failure !== undefined) return failure;
  if (type.find) return type.find(owned, world.view.all(connection, type.name));
  return world.view.get(connection, type.name, owned.key.name);
}
