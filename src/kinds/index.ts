import type { AnyKind } from '../contract/kind.ts';
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
