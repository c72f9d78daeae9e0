import { UsageError } from '../../contract/errors.ts';
import type { Resource } from '../../contract/resource.ts';
import { agentConfig as configOf } from '../../kinds/vault-jwt-integration/agent-config.ts';
import type { VaultJwtIntegrationSpec } from '../../kinds/vault-jwt-integration/schema.ts';
import type { VaultServerSpec } from '../../kinds/vault-server/index.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import { validManifests } from '../session.ts';
import type { Terminal } from '../terminal.ts';

export type AgentConfigOptions = Pick<ManifestOptions, 'file'> & { readonly output: Output };

/** The `vault` blocks of Nomad's agents that belong to each integration. Asks no server. */
export async function agentConfig(
  options: AgentConfigOptions,
  name: string | undefined,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { resources } = await validManifests(options, signal);
  const integrations = resources.filter(
    (r) => r.kind === 'VaultJwtIntegration' && (name === undefined || r.metadata.name === name),
  );
  if (integrations.length === 0)
    throw new UsageError(
      `there is no VaultJwtIntegration${name === undefined ? '' : ` named ${name}`} in the manifests`,
    );
  noteGuess(integrations, resources, terminal);
  const configs = integrations.map((r) => ({
    namespace: r.metadata.namespace,
    name: r.metadata.name,
    ...configFor(r, resources),
  }));
  if (options.output === 'json') terminal.out(JSON.stringify({ integrations: configs }, null, 2));
  else for (const c of configs) terminal.out(asText(c));
  return 0;
}

/** The address of an environment that names none is a guess that nobody made. */
function noteGuess(integrations: readonly Resource[], resources: readonly Resource[], terminal: Terminal): void {
  if ((process.env['VAULT_ADDR'] ?? '') !== '') return;
  const guessed = integrations
    .map((integration) => vaultOf(integration, resources))
    .find((vault) => vault?.source === 'environment');
  if (guessed === undefined) return;
  const { address } = guessed.spec as VaultServerSpec;
  terminal.err(
    `VAULT_ADDR is not set: the address is only Vault's default, ${address}. Set it to where the agents reach Vault.`,
  );
}

function vaultOf(integration: Resource, resources: readonly Resource[]): Resource | undefined {
  const { vaultRef } = integration.spec as VaultJwtIntegrationSpec;
  return resources.find((r) => r.kind === 'VaultServer' && r.metadata.name === vaultRef);
}

function configFor(resource: Resource, resources: readonly Resource[]): { client: string; server: string } {
  const spec = resource.spec as VaultJwtIntegrationSpec;
  return configOf(spec, vaultOf(resource, resources)?.spec as VaultServerSpec);
}

function asText(c: { namespace: string; name: string; client: string; server: string }): string {
  return `# VaultJwtIntegration ${c.namespace}/${c.name}\n# Nomad clients:\n${c.client}\n# Nomad servers:\n${c.server}`;
}
