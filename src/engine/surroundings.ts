import { keyText, type Desired, type ObjectKey } from '../plan/step.ts';
import { connectionBehind, type World } from './world.ts';

/** What is made through a connection comes after the namespaces that it leads into, where we are the ones who make them. */
export function inSurroundings(world: World, object: Desired): Desired {
  const around = surroundingsOf(world, object.key);
  return around.length === 0 ? object : { ...object, dependsOn: [...object.dependsOn, ...around] };
}

function surroundingsOf(world: World, key: ObjectKey): ObjectKey[] {
  const own = connectionBehind(world, key);
  if (own?.namespace === undefined) return [];
  const path = `${trimmed(own.namespace)}/`;
  return world.connections
    .filter((c) => c.kind === own.kind && c.address === own.address)
    .flatMap(({ makes }) => makes ?? [])
    .filter((made) => path.startsWith(`${made.name}/`) && keyText(made) !== keyText(key));
}

function trimmed(namespace: string): string {
  return namespace.replace(/^\/+|\/+$/g, '');
}
