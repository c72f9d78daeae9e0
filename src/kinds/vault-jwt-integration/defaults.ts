import type { RoleSpec } from './schema.ts';

/** What `nomad setup vault` makes (command/setup_vault.go and its assets): the pair that an empty integration stands for. */

export const DEFAULT_NAME = 'nomad-workloads';

/** @param kvPath mount of the KV v2 engine that tasks read. */
export function defaultPolicy(kvPath: string): { name: string; rules: string } {
  const metadata = (key: string): string => `{{identity.entity.aliases.{{accessor}}.metadata.${key}}}`;
  const task = `${metadata('nomad_namespace')}/${metadata('nomad_job_id')}`;
  const rule = (path: string, capability: string): string =>
    `path "${kvPath}/${path}" {\n  capabilities = ["${capability}"]\n}\n`;
  return {
    name: DEFAULT_NAME,
    rules: [
      rule(`data/${task}/*`, 'read'),
      rule(`data/${task}`, 'read'),
      rule(`metadata/${metadata('nomad_namespace')}/*`, 'list'),
      rule('metadata/*', 'list'),
    ].join('\n'),
  };
}

export const defaultRole: Pick<
  RoleSpec,
  'name' | 'boundAudiences' | 'claimMappings' | 'tokenPeriod' | 'tokenPolicies'
> = {
  name: DEFAULT_NAME,
  boundAudiences: ['vault.io'],
  claimMappings: { nomad_namespace: 'nomad_namespace', nomad_job_id: 'nomad_job_id', nomad_task: 'nomad_task' },
  tokenPeriod: '30m',
  tokenPolicies: [DEFAULT_NAME],
};
