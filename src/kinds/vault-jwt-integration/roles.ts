import { defaultPolicy, defaultRole } from './defaults.ts';
import { roleSpec, type RoleSpec, type VaultJwtIntegrationSpec } from './schema.ts';

/** The roles of an integration, the default one where it declares none. */
export function rolesOf(spec: VaultJwtIntegrationSpec): readonly RoleSpec[] {
  return spec.roles ?? [roleSpec.parse(defaultRole)];
}

/** The policies of an integration, the default one where it declares none. */
export function policiesOf(spec: VaultJwtIntegrationSpec): readonly { name: string; rules: string }[] {
  return spec.policies ?? [defaultPolicy(spec.kvPath)];
}
