import { readable, type Desired, type ObjectKey } from '../plan/step.ts';
import { connectionBehind, connectionOf, typeOf, type Connection, type World } from './world.ts';

/** Whether resources of a namespace may use the connection. @returns the reason why not, undefined where they may. */
export function notGrantedTo(namespace: string, { kind, name, grants }: Connection): string | undefined {
  return matches(grants?.namespaces, namespace)
    ? undefined
    : `${kind} ${name} does not grant it: namespace ${namespace} is not among grants.namespaces`;
}

/**
 * Whether the connections behind an object allow what it would do: the one that it is made through, and the one that a secret
 * of it comes from or that it gives out tokens of.
 * @returns the reason why not, undefined where they may.
 */
export function ungrantedBy(world: World, desired: Desired): string | undefined {
  const { key, detail } = desired;
  const isOurs = world.ledger.get(key)?.state === 'owned';
  const origin = detail?.['nomadRef'];
  const from = typeof origin === 'string' ? [connectionOf(world, 'NomadCluster', origin)] : [];
  const through =
    typeOf(world, key.type).connection === 'local' && from.length > 0 ? [] : [connectionBehind(world, key)];
  for (const connection of [...through, ...from]) {
    const message = notGranted(desired, connection, isOurs);
    if (message !== undefined) return message;
  }
  return undefined;
}

/**
 * Whether the connection allows what an object would do.
 * @param isOurs whether the live object is: what others did to it is put back.
 * @returns the reason why not, undefined where it may.
 */
function notGranted(desired: Desired, connection: Connection | undefined, isOurs: boolean): string | undefined {
  const { key, fields, resource } = desired;
  const grants = connection?.grants;
  if (key.type === 'acl-policy' && key.name === 'anonymous' && grants?.anonymousPolicy !== true) {
    return 'the policy "anonymous" governs every request without a token: it needs grants.anonymousPolicy: true on the NomadCluster';
  }
  if (connection === undefined || grants === undefined) return undefined;
  // Whoever declares the connection declares its grants, which are for the others.
  if (key.type === 'vault-namespace') return undefined;
  const by = `${connection.kind} ${connection.name} does not grant it`;
  const elsewhere = notGrantedTo(resource.namespace, connection);
  if (elsewhere !== undefined) return elsewhere;
  const name = namesOf(desired, connection.kind).find((n) => !matches(grants.names, n));
  if (name !== undefined) return `${by}: "${name}" matches none of grants.names`;
  if (!givesTokens(desired, connection.kind)) return undefined;
  const tokens = [fields, isOurs ? undefined : readable(desired.live)?.fields];
  if (
    tokens.some((token) => token?.['type'] === 'management' || token?.['bindType'] === 'management') &&
    grants.managementTokens !== true
  )
    return `${by}: management tokens need grants.managementTokens`;
  if (
    tokens.some((token) => token?.['global'] === true || token?.['tokenLocality'] === 'global') &&
    grants.globalTokens !== true
  )
    return `${by}: global tokens need grants.globalTokens`;
  return undefined;
}

const REFERRING_FIELDS = [
  'policies',
  'roles',
  'tokenPolicies',
  'authMethod',
  'bindName',
  'jobAcl.namespace',
  'jobAcl.jobId',
];
/** Those whose names are live names, and not the namespace's own affair. */
const NAMED_TYPES = new Set([
  'acl-policy',
  'acl-role',
  'acl-token',
  'acl-auth-method',
  'acl-binding-rule',
  'auth-mount',
  'jwt-config',
  'policy',
  'jwt-role',
  'file',
  'secrets-mount',
  'nomad-access',
  'nomad-lease',
  'nomad-role',
  'vault-kv-secret',
  'nomad-variable',
]);

const TOKEN_GIVERS = new Set(['acl-token', 'acl-auth-method', 'acl-binding-rule']);

/** Whether it is a token of that Nomad, or whoever uses it gets tokens by it. */
function givesTokens({ key }: Desired, kind: Connection['kind']): boolean {
  if (TOKEN_GIVERS.has(key.type)) return true;
  return key.type === 'nomad-role' && kind === 'NomadCluster';
}

/** The live names that an object makes and refers to, as they are declared: without a mount's path or a token's marker. */
function namesOf(desired: Desired, kind: Connection['kind']): string[] {
  const { key, fields } = desired;
  const referred = REFERRING_FIELDS.flatMap((field) => {
    const value = fields[field];
    return Array.isArray(value) ? value.map(String) : typeof value === 'string' && value !== '' ? [value] : [];
  });
  const made = NAMED_TYPES.has(key.type) ? [declaredName(key)] : [];
  // It is made on Vault, and refers to policies of Nomad.
  if (key.type === 'nomad-role') return kind === 'VaultServer' ? made : referred;
  // Its path is Vault's; of Nomad it holds but the token, which is bound by itself.
  if (key.type === 'vault-kv-secret') return kind === 'VaultServer' ? made : [];
  return [...made, ...referred];
}

function declaredName({ type, name }: ObjectKey): string {
  if (type === 'acl-token' || type === 'acl-binding-rule') return name.replace(/ \[na:[^\]]*\]$/, '');
  return type === 'jwt-role' || type === 'nomad-role' ? name.slice(name.lastIndexOf('/') + 1) : name;
}

function matches(patterns: readonly string[] | undefined, name: string): boolean {
  // What a claim will stand in for is anybody's choice: only a "*" is as wide.
  const fixed = name.replace(/\$\{[^}]*\}/g, '\0');
  return patterns === undefined || patterns.some((pattern) => patternOf(pattern).test(fixed));
}

function patternOf(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}
