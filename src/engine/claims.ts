import { idOf, type Resource } from '../contract/resource.ts';
import { keyText, resourceText, type Desired, type ObjectKey, type Owned, type ResourceId } from '../plan/step.ts';
import { notGrantedTo, ungrantedBy } from './grants.ts';
import { objectLookup } from './tracker.ts';
import { connectionBehind, connectionOf, derive, isSameServer, kindOf, type World } from './world.ts';

/**
 * Of several resources that stand for one live object, one has it: the one that it is recorded for, or else the one that was
 * declared first. What a resource may not have it does not claim.
 */

/** @returns the other resource that has the object. */
export function rivalFor(world: World, resource: Resource, key: ObjectKey): ResourceId | undefined {
  const id = resourceText(idOf(resource));
  const keys = aliasesOf(world, key);
  const held = keys.flatMap((alias) => world.ledger.get(alias) ?? []);
  if (held.some((owned) => resourceText(owned.resource) === id)) return undefined;
  const holder = held.find((owned) => isAlive(world, owned));
  if (holder !== undefined) return holder.resource;
  const rival = claimants(world, keys, id).find((other) => isBefore(other, resource));
  return rival && idOf(rival);
}

/** Whether what it is recorded for may still stand for it: declared so, being deleted, not valid at the moment, or not read by us. */
function isAlive(world: World, { key, resource, source }: Owned): boolean {
  const id = resourceText(resource);
  const declared = world.resources.get(id);
  if (declared !== undefined) return standsFor(world, declared, key);
  return world.deleting.has(id) || !world.inScope(source);
}

function standsFor(world: World, resource: Resource, key: ObjectKey): boolean {
  return derive(world, resource).some((object) =>
    [object.key, ...(object.keeps ?? [])].some((kept) => keyText(kept) === keyText(key)),
  );
}

/** Who gets an object of a resource that is declared no more. */
export function heirOf(world: World, id: string, key: ObjectKey): Resource | undefined {
  const [heir, ...others] = claimants(world, [key], id);
  return others.reduce((first, other) => (first !== undefined && isBefore(first, other) ? first : other), heir);
}

/** Everybody else who looks at an object of a resource. */
export function othersAt(world: World, id: string, key: ObjectKey): string[] {
  const lookups = aliasesOf(world, key).map(({ connection, type, name }) => objectLookup(connection, type, name));
  return [...new Set(lookups.flatMap((lookup) => world.tracker.readersOf(lookup)))].filter((other) => other !== id);
}

function claimants(world: World, keys: readonly ObjectKey[], except: string): Resource[] {
  const texts = new Set(keys.map(keyText));
  const readers = new Set(
    keys.flatMap(({ connection, type, name }) => world.tracker.readersOf(objectLookup(connection, type, name))),
  );
  readers.delete(except);
  return [...readers]
    .flatMap((id) => world.resources.get(id) ?? [])
    .filter((resource) =>
      derive(world, resource).some((object) => texts.has(keyText(object.key)) && isEntitled(world, resource, object)),
    );
}

function isEntitled(world: World, resource: Resource, object: Desired): boolean {
  if (object.suspended || object.verdict?.action === 'refuse') return false;
  const isUsable = kindOf(world, resource)
    .references(resource.spec)
    .every(({ kind, name }) => {
      const connection = connectionOf(world, kind, name);
      if (connection === undefined || connection.refused !== undefined || connection.retired !== undefined)
        return false;
      return notGrantedTo(resource.metadata.namespace, connection) === undefined;
    });
  return isUsable && ungrantedBy(world, object) === undefined;
}

/** The same object, as other connections to the same server call it. */
function aliasesOf(world: World, key: ObjectKey): ObjectKey[] {
  const own = connectionBehind(world, key);
  if (own === undefined || world.connections.length === 1) return [key];
  const same = world.connections.filter((c) => c !== own && isSameServer(c, own));
  return [key, ...same.map(({ name }) => ({ ...key, connection: name }))];
}

function isBefore(a: Resource, b: Resource): boolean {
  const [madeA = '', madeB = ''] = [a.metadata.createdAt, b.metadata.createdAt];
  if (madeA !== madeB) return madeA < madeB;
  return resourceText(idOf(a)) < resourceText(idOf(b));
}
