import type { Desired } from '../plan/step.ts';
import type { Connection } from './world.ts';

/** Whether the connection allows what an object would do. @returns the reason why not, undefined where it may. */
export function notGranted(desired: Desired, connection: Connection | undefined): string | undefined {
  const { key, fields, resource } = desired;
  const grants = connection?.grants;
  if (key.type === 'acl-policy' && key.name === 'anonymous' && grants?.anonymousPolicy !== true) {
    return 'the policy "anonymous" governs every request without a token: it needs grants.anonymousPolicy: true on the NomadCluster';
  }
  if (connection === undefined || grants === undefined) return undefined;
  const by = `${connection.kind} ${connection.name} does not grant it`;
  if (!matches(grants.namespaces, resource.namespace))
    return `${by}: namespace ${resource.namespace} is not among grants.namespaces`;
  const name = namesOf(desired).find((n) => !matches(grants.names, n));
  if (name !== undefined) return `${by}: "${name}" matches none of grants.names`;
  if (key.type !== 'acl-token') return undefined;
  if (fields['type'] === 'management' && grants.managementTokens !== true)
    return `${by}: management tokens need grants.managementTokens`;
  if (fields['global'] === true && grants.globalTokens !== true) return `${by}: global tokens need grants.globalTokens`;
  return undefined;
}

const REFERRING_FIELDS = ['policies', 'roles', 'tokenPolicies'];

/** The live names that an object makes and refers to. Mounts and their configuration are named by the connection's administrator. */
function namesOf({ key, fields }: Desired): string[] {
  const referred = REFERRING_FIELDS.flatMap((field) => {
    const value = fields[field];
    return Array.isArray(value) ? value.map(String) : [];
  });
  const own = key.type === 'acl-policy' || key.type === 'policy' || key.type === 'file' ? [key.name] : [];
  return [...own, ...referred];
}

function matches(patterns: readonly string[] | undefined, name: string): boolean {
  return patterns === undefined || patterns.some((pattern) => patternOf(pattern).test(name));
}

function patternOf(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
