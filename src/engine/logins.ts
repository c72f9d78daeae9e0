import type { LoginNeed } from '../contract/credential.ts';
import { isUnreadable, keyText, resourceText, type Live, type ObjectKey, type Owned } from '../plan/step.ts';
import type { DesiredFields } from '../plan/value.ts';
import { resourceLookup } from './tracker.ts';
import { connectionBehind, derive, isSameServer, typeOf, type Connection, type World } from './world.ts';

/**
 * Why an object must not be changed or deleted: a connection gets its credential by it, and would be locked out.
 * @param after what it shall hold; undefined: it shall go.
 * @param looked collects what a change of which leads to another answer.
 * @returns undefined where it is in nobody's way.
 */
export function neededForLogin(
  world: World,
  key: ObjectKey,
  live: Live,
  after: DesiredFields | undefined,
  looked?: Set<string>,
): string | undefined {
  for (const connection of world.connections) {
    // What nobody declares any more ends with what was made through it.
    if (connection.retired !== undefined) continue;
    for (const need of connection.loginNeeds ?? []) {
      if (!isMeant(world, need, key)) continue;
      looked?.add(resourceLookup(resourceText(idOfConnection(connection))));
      if (!serves(live.fields, need) || (after !== undefined && serves(after, need))) continue;
      if (!anotherServes(world, need, key, live)) return refusal(connection, need);
    }
  }
  return undefined;
}

/**
 * Why an object of ours that nothing declares any more must stay: it, or another one of the same resource that goes with it, is
 * needed for a login.
 * @param isWhole whether nothing declares the resource either.
 */
export function retainedForLogin(
  world: World,
  owned: Owned,
  live: Live,
  isWhole: boolean,
  looked: Set<string>,
): string | undefined {
  const own = neededForLogin(world, owned.key, live, undefined, looked);
  if (own !== undefined || !isWhole) return own;
  for (const { key } of world.ledger.ownedBy(resourceText(owned.resource))) {
    const other = world.view.get(key.connection, key.type, key.name);
    if (other === undefined || isUnreadable(other)) continue;
    const why = neededForLogin(world, key, other, undefined, looked);
    if (why !== undefined) return `${keyText(key)} is not deleted, and neither is this: ${why}`;
  }
  return undefined;
}

/** The declared resource that a connection is. */
export function idOfConnection({ kind, name }: Pick<Connection, 'kind' | 'name'>): {
  kind: string;
  namespace: string;
  name: string;
} {
  return { kind, namespace: '', name };
}

/** Connections of other names may lead to the same server. */
function isMeant(world: World, need: LoginNeed, key: ObjectKey): boolean {
  if (need.type !== key.type || (need.name !== undefined && need.name !== key.name)) return false;
  if (need.connection === key.connection) return true;
  const [its, that] = [connectionBehind(world, need), connectionBehind(world, key)];
  return its !== undefined && that !== undefined && isSameServer(its, that);
}

function serves(fields: DesiredFields, need: LoginNeed): boolean {
  return Object.entries(need.fields).every(([path, value]) => fields[path] === value);
}

/** Where any will do, whether one is left that serves, and that nobody is about to take away. */
function anotherServes(world: World, need: LoginNeed, { connection, type, name }: ObjectKey, live: Live): boolean {
  if (need.name !== undefined) return false;
  const own = typeOf(world, type).identify?.(live) ?? name;
  return [...world.view.all(connection, type)].some(
    ([other, entry]) =>
      other !== own && !isUnreadable(entry) && serves(entry.fields, need) && stays(world, need, connection, entry),
  );
}

/** Whose it is decides; what is not ours stays as far as we know. */
function stays(world: World, need: LoginNeed, connection: string, live: Live): boolean {
  const all = world.view.all(connection, need.type);
  const type = typeOf(world, need.type);
  const owned = world.ledger
    .all()
    .filter(({ key }) => key.type === need.type && key.connection === connection)
    .find((o) => (type.find ? type.find(o, all) : all.get(o.key.name)) === live);
  if (owned === undefined) return true;
  const resource = world.resources.get(resourceText(owned.resource));
  if (resource === undefined) return false;
  return derive(world, resource).some(
    (d) => keyText(d.key) === keyText(owned.key) && (d.suspended || serves(d.fields, need)),
  );
}

function refusal({ kind, name }: Connection, need: LoginNeed): string {
  const only = need.name === undefined ? ', and by no other one that is known here' : '';
  return `${kind} ${name} logs in by it${only}, and would be locked out: change spec.auth of ${kind} ${name} first`;
}
