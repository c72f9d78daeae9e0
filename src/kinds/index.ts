import type { AnyKind } from '../contract/kind.ts';
import { aclAuthMethod } from './acl-auth-method/index.ts';
import { aclBindingRule } from './acl-binding-rule/index.ts';
import { aclPolicy } from './acl-policy/index.ts';
import { aclRole } from './acl-role/index.ts';
import { aclToken } from './acl-token/index.ts';
import { nomadCluster } from './nomad-cluster/index.ts';
import { vaultJwtIntegration } from './vault-jwt-integration/index.ts';
import { vaultNomadRole } from './vault-nomad-role/index.ts';
import { vaultNomadSecretsEngine } from './vault-nomad-secrets-engine/index.ts';
import { vaultServer } from './vault-server/index.ts';

/** Every kind, in the order in which people meet them. Adding one is a folder and a line here. */
export const kinds: readonly AnyKind[] = [
  nomadCluster,
  vaultServer,
  aclPolicy,
  aclRole,
  aclToken,
  aclAuthMethod,
  aclBindingRule,
  vaultJwtIntegration,
  vaultNomadSecretsEngine,
  vaultNomadRole,
];

export function kindOf(name: string): AnyKind | undefined {
  return kinds.find((kind) => kind.kind === name);
}
