import { idOf, type Resource } from '../contract/resource.ts';
import { keyText, resourceText, type Desired, type ObjectKey } from '../plan/step.ts';
import { notGranted } from './grants.ts';
import { objectLookup } from './tracker.ts';
import { connectionBehind, connectionOf, contextOf, kindOf, typeOf, type World } from './world.ts';

/**
 * Of several resources that stand for one live object, one has it: the one that it is recorded for, or else the one that was
 * declared first. What a resource may not have it does not claim.
 */

/** @returns the other resource that has the object. */
export function rivalFor(world: World, resource: Resource, key: ObjectKey): Resource | undefined {
  const id = resourceText(idOf(resource));
  const keys = aliasesOf(world, key);
  const holders = keys.flatMap((alias) => world.ledger.get(alias)?.resource ?? []).map(resourceText);
  if (holders.includes(id)) return undefined;
  for (const holder of holders) {
    const rival = world.resources.get(holder) ?? world.deleting.get(holder);
    if (rival !== undefined) return rival;
  }
  return claimants(world, keys, id).find((rival) => isBefore(rival, resource));
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
      kindOf(world, resource)
        .objects(resource, contextOf(world))
        .some((object) => texts.has(keyText(object.key)) && isEntitled(world, resource, object)),
    );
}

function isEntitled(world: World, resource: Resource, object: Desired): boolean {
  if (object.suspended || object.verdict?.action === 'refuse') return false;
  const isUsable = kindOf(world, resource)
    .references(resource.spec)
    .every(({ kind, name }) => {
      const connection = connectionOf(world, kind, name);
      return connection !== undefined && connection.refused === undefined && connection.retired === undefined;
    });
  return isUsable && notGranted(object, connectionBehind(world, object.key)) === undefined;
}

/** The same object, as other connections to the same server call it. */
function aliasesOf(world: World, key: ObjectKey): ObjectKey[] {
  const kind = typeOf(world, key.type).connection;
  const own = connectionBehind(world, key);
  if (own === undefined || world.connections.length === 1) return [key];
  const same = world.connections.filter(
    (c) => c !== own && c.kind === kind && c.address === own.address && c.namespace === own.namespace,
  );
  return [key, ...same.map(({ name }) => ({ ...key, connection: name }))];
}

function isBefore(a: Resource, b: Resource): boolean {
  const [madeA = '', madeB = ''] = [a.metadata.createdAt, b.metadata.createdAt];
  if (madeA !== madeB) return madeA < madeB;
  return resourceText(idOf(a)) < resourceText(idOf(b));
}
