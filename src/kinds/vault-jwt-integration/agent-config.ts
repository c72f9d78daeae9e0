import { many } from '../schema.ts';
import { rolesOf } from './roles.ts';
import type { VaultJwtIntegrationSpec } from './schema.ts';

/** The `vault` blocks of Nomad's agents that belong to an integration, as HCL. */
export interface AgentConfig {
  readonly client: string;
  readonly server: string;
}

/** @param vault the server that the tasks log in to. */
export function agentConfig(
  spec: VaultJwtIntegrationSpec,
  vault: { address: string; namespace?: string | undefined },
): AgentConfig {
  const roles = rolesOf(spec);
  const loginRole = roles.find((role) => role.name === spec.defaultRole) ?? roles[0];
  const audiences = many(loginRole?.boundAudiences ?? []);
  const lines = [
    '  enabled = true',
    `  address = ${quoted(vault.address)}`,
    ...(vault.namespace === undefined ? [] : [`  namespace = ${quoted(vault.namespace)}`]),
    `  jwt_auth_backend_path = ${quoted(spec.path)}`,
    // Tasks that name no role log in by this one, where the mount has none for them.
    ...(spec.defaultRole === '' && loginRole ? [`  create_from_role = ${quoted(loginRole.name)}`] : []),
  ];
  const identity = [
    '  enabled = true',
    '',
    '  default_identity {',
    `    aud = [${audiences.map(quoted).join(', ')}]`,
    '    ttl = "1h"',
    '  }',
  ];
  return { client: block(lines), server: block(identity) };
}

function block(lines: readonly string[]): string {
  return ['vault {', ...lines, '}', ''].join('\n');
}

/** An HCL string; `${` and `%{` would begin a template. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('${', '$${').replaceAll('%{', '%%{');
}
