import type { LoginNeed } from '../contract/credential.ts';
import { authMethodObject } from './acl-auth-method/method.ts';
import { bindingRuleObject } from './acl-binding-rule/rule.ts';
import type { NomadClusterSpec } from './nomad-cluster/index.ts';
import { AUTH_MOUNT } from './vault-jwt-integration/auth-mount.ts';
import { SECRETS_MOUNT } from './vault-nomad-secrets-engine/secrets-mount.ts';
import { roleKey, type MountKind } from './vault-object/mount.ts';
import type { VaultServerSpec } from './vault-server/index.ts';

/** What a connection gets its credential by, as far as resources can stand for it. */
export function loginNeeds(
  kind: 'NomadCluster' | 'VaultServer',
  name: string,
  { auth }: NomadClusterSpec | VaultServerSpec,
): LoginNeed[] {
  if ('vault' in auth && auth.vault !== undefined) {
    const { vaultRef, mount, role } = auth.vault;
    return [...mountAndRole(SECRETS_MOUNT, vaultRef, mount, role, { type: 'management' })];
  }
  if (auth.jwt === undefined) return [];
  if ('method' in auth.jwt) {
    const { method } = auth.jwt;
    return [
      { connection: name, type: authMethodObject.name, name: method, fields: { type: 'JWT' } },
      { connection: name, type: bindingRuleObject.name, fields: { authMethod: method, bindType: 'management' } },
    ];
  }
  const { mount, role } = auth.jwt;
  // Vault writes the names of these roles in lower case.
  return kind === 'VaultServer' ? mountAndRole(AUTH_MOUNT, name, mount, role.toLowerCase(), {}) : [];
}

function mountAndRole(
  kind: MountKind,
  connection: string,
  path: string,
  role: string,
  fields: LoginNeed['fields'],
): LoginNeed[] {
  return [
    { connection, type: kind.name, name: path, fields: {} },
    { ...roleKey(kind, connection, path, role), fields },
  ];
}
