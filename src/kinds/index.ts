import type { AnyKind, ObjectType } from '../contract/kind.ts';
import { aclPolicy } from './acl-policy/index.ts';
import { aclToken } from './acl-token/index.ts';
import { nomadCluster } from './nomad-cluster/index.ts';
import { vaultJwtIntegration } from './vault-jwt-integration/index.ts';
import { vaultServer } from './vault-server/index.ts';

/** Every kind, in the order in which people meet them. Adding one is a folder and a line here. */
export const kinds: readonly AnyKind[] = [nomadCluster, vaultServer, aclPolicy, aclToken, vaultJwtIntegration];

export function kindOf(name: string): AnyKind | undefined {
  return kinds.find((kind) => kind.kind === name);
}

const types = new Map(kinds.flatMap((kind) => kind.types).map((type) => [type.name, type]));

/** @throws Error for a type that no kind declares: an inventory of a newer version. */
export function objectType(name: string): ObjectType {
  const type = types.get(name);
  if (type === undefined)
    throw new Error(`unknown type of object "${name}": was the inventory written by a newer version?`);
  return type;
}
