import { TargetError } from '../contract/errors.ts';
import type { ObjectType } from '../contract/kind.ts';
import {
  isUnreadable,
  keyText,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type Unreadable,
} from '../plan/step.ts';
import { contextOf, kindOf, typeOf, type World } from './world.ts';

interface Wanted {
  readonly connection: string;
  readonly type: ObjectType;
  readonly desired: Desired[];
  readonly owned: Owned[];
}

/** Reads what the declared and the owned objects are now, each type on each connection by one request where lists allow. */
export async function observe(world: World, signal: AbortSignal): Promise<void> {
  const wanted = wantedOf(world);
  const readEach = (meant: readonly Wanted[]): Promise<unknown> =>
    Promise.all(meant.map((w) => readType(world, w, signal)));
  await readEach(wanted.filter(({ type }) => !type.late));
  if (wanted.some(({ type }) => type.late)) await readEach(wantedOf(world).filter(({ type }) => type.late));
}

/** Reads one object again, after a write of which it is not known what became of it. */
export async function observeOne(world: World, desired: Desired, signal: AbortSignal): Promise<void> {
  const type = typeOf(world, desired.key.type);
  const owned = world.ledger.ownedBy(desired.resource).filter((o) => o.key.type === type.name);
  const found = await type.read(
    world.io,
    {
      connection: desired.key.connection,
      desired: [desired],
      owned,
      cached: cachedOf(world, desired.key.connection, type),
    },
    signal,
  );
  if (type.identify)
    world.view.replace(desired.key.connection, type, merged(world, desired.key.connection, type, found));
  else world.view.put(desired.key, type, found.get(desired.key.name));
}

/** Every declared object, as the views stand now. */
export function derive(world: World): Desired[] {
  const context = contextOf(world);
  return world.resources.flatMap((resource) => [...kindOf(world, resource).objects(resource, context)]);
}

function wantedOf(world: World): Wanted[] {
  const wanted = new Map<string, Wanted>();
  const entry = (key: ObjectKey): Wanted => {
    const type = typeOf(world, key.type);
    const id = `${key.connection}/${key.type}`;
    const found = wanted.get(id) ?? { connection: key.connection, type, desired: [], owned: [] };
    wanted.set(id, found);
    return found;
  };
  const declared = new Set<string>();
  for (const desired of derive(world)) {
    declared.add(keyText(desired.key));
    entry(desired.key).desired.push(desired);
  }
  for (const resource of world.resources) {
    for (const key of kindOf(world, resource).observes?.(resource) ?? []) entry(key);
  }
  for (const owned of world.ledger.all()) {
    if (declared.has(keyText(owned.key)) || world.inScope(owned.source)) entry(owned.key).owned.push(owned);
  }
  return [...wanted.values()];
}

/** A type that can't be read leaves its failure in the view: plans say so, and never take its objects for absent. */
async function readType(
  world: World,
  { connection, type, desired, owned }: Wanted,
  signal: AbortSignal,
): Promise<void> {
  const refused = world.connections.find((c) => c.kind === type.connection && c.name === connection)?.refused;
  if (refused !== undefined) {
    world.view.fail(connection, type, refused);
    return;
  }
  try {
    const cached = cachedOf(world, connection, type);
    world.view.replace(connection, type, await type.read(world.io, { connection, desired, owned, cached }, signal));
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    world.view.fail(connection, type, {
      error: error.message,
      reason: error.class === 'denied' ? 'Denied' : 'Unavailable',
    });
  }
}

function cachedOf(world: World, connection: string, type: ObjectType): Map<string, Live> {
  const cached = new Map<string, Live>();
  for (const [name, live] of world.view.all(connection, type.name)) if (!isUnreadable(live)) cached.set(name, live);
  return cached;
}

function merged(
  world: World,
  connection: string,
  type: ObjectType,
  found: ReadonlyMap<string, Live | Unreadable>,
): Map<string, Live | Unreadable> {
  return new Map([...world.view.all(connection, type.name), ...found]);
}
