import type { Resource } from '../contract/resource.ts';
import { keyText, readable, resourceText, type Desired, type Reason } from '../plan/step.ts';
import { rivalFor } from './claims.ts';
import { notGrantedTo, ungrantedBy } from './grants.ts';
import { neededForLogin } from './logins.ts';
import { connectionOf, kindOf, missingConnection, type World } from './world.ts';

/**
 * The objects with a verdict on what must not be done.
 * @param looked collects what the verdicts depend on.
 */
export function withVerdicts(
  world: World,
  resource: Resource,
  objects: readonly Desired[],
  looked?: Set<string>,
): Desired[] {
  const verdict = refusedConnection(world, resource);
  return objects.map((object) => ({
    ...object,
    ...(verdict ?? ungranted(world, object) ?? claimed(world, resource, object) ?? lockingOut(world, object, looked)),
  }));
}

/**
 * Nothing of a resource is written while a connection that it names is refused, or is not there: what is derived from it
 * (the address of a JWKS) would be wrong elsewhere too.
 */
function refusedConnection(world: World, resource: Resource): Pick<Desired, 'verdict'> | undefined {
  for (const { kind, name } of kindOf(world, resource).references(resource.spec)) {
    const connection = connectionOf(world, kind, name);
    const ungranted = connection && notGrantedTo(resource.metadata.namespace, connection);
    if (ungranted !== undefined) return refusal('NotGranted', ungranted);
    const missing = connection === undefined ? missingConnection(kind, name) : connection.retired?.error;
    if (missing !== undefined) return refusal('Waiting', missing);
    const refused = connection?.refused;
    if (refused !== undefined) return refusal(refused.reason, refused.error);
  }
  return undefined;
}

function ungranted(world: World, object: Desired): Pick<Desired, 'verdict'> | undefined {
  const message = ungrantedBy(world, object);
  return message === undefined ? undefined : refusal('NotGranted', `${keyText(object.key)}: ${message}`);
}

/** Two that stand for one object would overwrite each other for ever. */
function claimed(world: World, resource: Resource, { key }: Desired): Pick<Desired, 'verdict'> | undefined {
  const rival = rivalFor(world, resource, key);
  if (rival === undefined) return undefined;
  return refusal(
    'Conflict',
    `${keyText(key)} is what ${resourceText(rival)} stands for: name another one, or delete that resource`,
  );
}

function lockingOut(
  world: World,
  { key, fields, live }: Desired,
  looked?: Set<string>,
): Pick<Desired, 'verdict'> | undefined {
  const now = readable(live);
  const message = now && neededForLogin(world, key, now, fields, looked);
  return message === undefined ? undefined : refusal('InUse', `it must stay as it is: ${message}`);
}

function refusal(reason: Reason, message: string): Pick<Desired, 'verdict'> {
  return { verdict: { action: 'refuse', reason, message } };
}
