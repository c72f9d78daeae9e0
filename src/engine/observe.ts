import { TargetError } from '../contract/errors.ts';
import type { ObjectType, ReadRequest } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import type { Io } from '../contract/target.ts';
import {
  readable,
  resourceText,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type Unreadable,
} from '../plan/step.ts';
import { isPlanned } from './compose.ts';
import { filedUnder } from './view.ts';
import { connectionBehind, derive, kindOf, typeOf, type World } from './world.ts';

/** What shall be read of one type on one connection. */
export interface Wanted {
  readonly connection: string;
  readonly type: ObjectType;
  readonly desired: Desired[];
  readonly owned: Owned[];
  /** What is only looked at. */
  readonly observed: ObjectKey[];
}

/** Reads what the declared and the owned objects are now, each type on each connection by one request where lists allow. */
export async function observe(world: World, signal: AbortSignal): Promise<void> {
  const readEach = (wanted: readonly Wanted[]): Promise<unknown> =>
    Promise.all(wanted.map((w) => readWhole(world, w, signal)));
  const wanted = wantedOf(world);
  await readEach(wanted.filter(({ type }) => !type.late));
  if (wanted.some(({ type }) => type.late)) await readEach(wantedOf(world).filter(({ type }) => type.late));
}

/** Reads one object again, after a write of which it is not known what became of it. @throws TargetError */
export async function observeOne(world: World, desired: Desired, signal: AbortSignal): Promise<void> {
  const type = typeOf(world, desired.key.type);
  const owned = world.ledger.ownedBy(resourceText(desired.resource)).filter((o) => o.key.type === type.name);
  await readPart(
    world,
    world.io,
    { connection: desired.key.connection, type, desired: [desired], owned, observed: [] },
    signal,
  );
}

/** Everything declared and everything owned in scope, by type and connection. @param isMeant which of them. */
export function wantedOf(
  world: World,
  isMeant: (connection: string, type: ObjectType) => boolean = () => true,
): Wanted[] {
  const collected = new Collected(world);
  for (const resource of world.resources.values()) collected.declared(resource);
  for (const owned of world.ledger.all()) {
    if (isPlanned(world, owned)) collected.of(owned.key).owned.push(owned);
  }
  return collected.all().filter(({ connection, type }) => isMeant(connection, type));
}

/** What one resource stands for, looks at, and owns. */
export function wantedBy(world: World, id: string): Wanted[] {
  const collected = new Collected(world);
  const resource = world.resources.get(id);
  if (resource !== undefined) collected.declared(resource);
  for (const owned of world.ledger.ownedBy(id)) collected.of(owned.key).owned.push(owned);
  return collected.all();
}

class Collected {
  readonly #wanted = new Map<string, Wanted>();
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  declared(resource: Resource): void {
    for (const desired of derive(this.#world, resource)) this.of(desired.key).desired.push(desired);
    for (const key of kindOf(this.#world, resource).observes?.(resource) ?? []) this.of(key).observed.push(key);
  }

  of(key: ObjectKey): Wanted {
    const id = `${key.connection}/${key.type}`;
    const known = this.#wanted.get(id);
    if (known !== undefined) return known;
    const type = typeOf(this.#world, key.type);
    const wanted = { connection: key.connection, type, desired: [], owned: [], observed: [] };
    this.#wanted.set(id, wanted);
    return wanted;
  }

  all(): Wanted[] {
    return [...this.#wanted.values()];
  }
}

/**
 * Reads all of a type on a connection. A type that can't be read leaves its failure in the view: plans say so, and never
 * take its objects for absent.
 * @returns the index of Nomad at which it stood so, 0 where there is none.
 */
export async function readWhole(world: World, wanted: Wanted, signal: AbortSignal): Promise<number> {
  const { connection, type } = wanted;
  const refused = connectionBehind(world, { connection, type: type.name })?.refused;
  if (refused !== undefined) {
    world.view.fail(connection, type, refused);
    return 0;
  }
  const began = world.view.begin();
  try {
    const reading = await type.read(world.io, requestFor(world, wanted), signal);
    world.view.replace(connection, type, reading, began);
    return reading.index ?? 0;
  } catch (error) {
    failed(world, wanted, error);
    return 0;
  }
}

/**
 * Reads some objects of a type. @throws TargetError, and leaves the failure in the view: of these objects alone where
 * they may not be read, of the whole type where the server can't be reached.
 */
export async function readPart(world: World, io: Io, wanted: Wanted, signal: AbortSignal): Promise<void> {
  const { connection, type } = wanted;
  const began = world.view.begin();
  try {
    const reading = await type.read(io, requestFor(world, wanted), signal);
    world.view.take(connection, type, askedFor(world, wanted), reading, began);
  } catch (error) {
    if (!(error instanceof TargetError) || error.class === 'transient') failed(world, wanted, error);
    else {
      const asked = askedFor(world, wanted);
      const objects = new Map(asked.map((name) => [name, unreadable(error)]));
      world.view.take(connection, type, asked, { objects }, began);
    }
    throw error;
  }
}

function failed(world: World, { connection, type }: Wanted, error: unknown): void {
  if (!(error instanceof TargetError)) throw error;
  world.view.fail(connection, type, unreadable(error));
}

function unreadable({ message, class: errorClass }: TargetError): Unreadable {
  return { error: message, reason: errorClass === 'denied' ? 'Denied' : 'Unavailable' };
}

function requestFor(world: World, { connection, type, desired, owned, observed }: Wanted): ReadRequest {
  const cached = (name: string): Live | undefined => readable(world.view.get(connection, type.name, name));
  return { connection, desired, owned, observed, cached };
}

/**
 * The names of which a reading tells that they are gone where it does not have them. A type with a second way to find its
 * objects always reads all that can be found by it.
 */
function askedFor(world: World, { connection, type, desired, owned, observed }: Wanted): string[] {
  const names = [
    ...desired.map((d) => d.key.name),
    ...owned.map((o) => (type.identify && o.id) ?? o.key.name),
    ...observed.map((key) => key.name),
  ];
  if (!type.index) return names;
  for (const [name, entry] of world.view.all(connection, type.name)) {
    if (filedUnder(type, entry) !== undefined) names.push(name);
  }
  return names;
}
