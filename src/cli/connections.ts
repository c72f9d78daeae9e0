import { resolve } from 'node:path';
import { idOf, type Resource } from '../contract/resource.ts';
import type { RecordedConnection } from '../contract/state.ts';
import type { Ledger } from '../engine/ledger.ts';
import type { Connection } from '../engine/world.ts';
import type { NomadClusterSpec } from '../kinds/nomad-cluster/index.ts';
import { loginNeeds } from '../kinds/login-needs.ts';
import { seconds } from '../kinds/schema.ts';
import type { VaultServerSpec } from '../kinds/vault-server/index.ts';
import { placeOf as placeIn, vaultNamespaceObject } from '../kinds/vault-server/namespace.ts';
import { resourceText, type ObjectKey } from '../plan/step.ts';
import { ENVIRONMENT, type EnvironmentConnection } from '../sources/directory/environment.ts';
import {
  nomadEnvironment,
  sameAddress,
  variableOf,
  vaultEnvironment,
  type Environment,
} from '../targets/environment.ts';

type ConnectionKind = Connection['kind'];
type Spec = NomadClusterSpec | VaultServerSpec;

/** A connection as declared, with what is needed to open it. */
export interface DeclaredConnection extends Connection {
  readonly spec: Spec;
  /** Folder that relative paths of the spec start from; absolute. */
  readonly folder: string;
  readonly isFromEnvironment: boolean;
  /** Only the inventory knows it: nothing declares it any more. */
  readonly isRecorded: boolean;
}

/** Accepts a changed address of a connection in Kubernetes; its value is the new place. */
export const ACCEPT_ADDRESS_CHANGE = 'nomad-access.io/accept-address-change';

/** The connections that the environment stands for: declared as `default` where none of the kind is. */
export function environmentConnections(env: Environment): EnvironmentConnection[] {
  return [
    {
      kind: 'NomadCluster',
      spec: { ...nomadEnvironment(env), auth: { tokenEnv: 'NOMAD_TOKEN' } },
      variable: (field) => variableOf('NOMAD', field),
    },
    {
      kind: 'VaultServer',
      spec: { ...vaultEnvironment(env), auth: { tokenEnv: 'VAULT_TOKEN' } },
      variable: (field) => variableOf('VAULT', field),
    },
  ];
}

export function isConnection(resource: Resource): boolean {
  return resource.kind === 'NomadCluster' || resource.kind === 'VaultServer';
}

/** Whether it stands for something live: all but connections do, and a VaultServer whose namespace is made, or was. */
export function isWorldly(resource: Resource, ledger: Ledger): boolean {
  if (!isConnection(resource)) return true;
  return makesNamespace(resource) || ledger.ownedBy(resourceText(idOf(resource))).length > 0;
}

export function makesNamespace({ kind, spec }: Pick<Resource, 'kind' | 'spec'>): boolean {
  return kind === 'VaultServer' && (spec as VaultServerSpec).createNamespace;
}

/** What decides which connections there are. */
export interface Declaring {
  readonly resources: readonly Resource[];
  readonly recorded: readonly RecordedConnection[];
  /** Names of connections whose new address was accepted by a person. */
  readonly accepted: readonly string[];
  /** Folder of the inventory's paths; absolute. */
  readonly base: string;
  readonly env: Environment;
  /** Whether they are declared in Kubernetes, where many share them and administrators declare them. */
  readonly isKubernetes: boolean;
}

/** The declared connections, and those that only the inventory knows. */
export function declaredConnections(declaring: Declaring): DeclaredConnection[] {
  const { resources, recorded, base, env } = declaring;
  const declared = resources.filter(isConnection).map((r) => {
    const { name, annotations } = r.metadata;
    const connection = connectionOf(r.kind as ConnectionKind, name, r.spec as Spec, {
      folder: r.folder,
      isFromEnvironment: r.source === ENVIRONMENT,
      isRecorded: false,
    });
    return refuseMoved(connection, declaring, annotations[ACCEPT_ADDRESS_CHANGE]);
  });
  const known = new Set(declared.map((c) => `${c.kind}/${c.name}`));
  const former = recorded
    .filter((c) => !known.has(`${c.kind}/${c.name}`))
    .map(({ kind, name, spec, folder = '.', isFromEnvironment = false }) => {
      const whole = { ...(spec as Spec), ...(isFromEnvironment && environmentOf(kind, env)) } as Spec;
      const origin = { folder: resolve(base, folder), isFromEnvironment, isRecorded: true };
      return refuseMoved(connectionOf(kind, name, whole, origin), declaring, undefined);
    });
  const all = [...declared, ...former];
  return declaring.isKubernetes ? all.map(inKubernetes) : all;
}

/** What to say of names given to --accept-address-change that no connection has; undefined where each is known, or none is there to have one. */
export function unknownAccepted(
  accepted: readonly string[],
  connections: readonly Pick<DeclaredConnection, 'name'>[],
): string | undefined {
  const names = [...new Set(connections.map(({ name }) => name))].sort();
  const unknown = accepted.find((name) => !names.includes(name));
  if (unknown === undefined || names.length === 0) return undefined;
  return `--accept-address-change ${unknown}: there is no connection of that name: give one of ${names.join(', ')}`;
}

/** The connections of manifests that are read without an inventory. */
export function connectionsIn(resources: readonly Resource[], env: Environment): DeclaredConnection[] {
  return declaredConnections({ resources, recorded: [], accepted: [], base: process.cwd(), env, isKubernetes: false });
}

/** There, one that is not declared any more is nobody's to use, and one that grants nothing particular is for all namespaces. */
function inKubernetes(connection: DeclaredConnection): DeclaredConnection {
  const { kind, name, grants = {}, isRecorded } = connection;
  const field = kind === 'NomadCluster' ? 'nomadRef' : 'vaultRef';
  const error = `there is no ${kind} named ${name}: apply it, or correct spec.${field}`;
  return { ...connection, grants, ...(isRecorded && { retired: { error, reason: 'NotFound' as const } }) };
}

/** As the inventory remembers it. @param pathName how it writes a path. */
export function recordOf(c: DeclaredConnection, pathName: (absolute: string) => string): RecordedConnection {
  const { kind, name, address, spec } = c;
  const vault = vaultBehind(c);
  return {
    kind,
    name,
    address,
    spec,
    folder: pathName(c.folder),
    ...(c.isFromEnvironment && { isFromEnvironment: true }),
    ...(vault !== undefined && { credentialFrom: `VaultServer/${vault}` }),
  };
}

/** The VaultServer that gives the credential of a NomadCluster, if one does. */
export function vaultBehind({ kind, spec }: Pick<DeclaredConnection, 'kind' | 'spec'>): string | undefined {
  return kind === 'NomadCluster' ? (spec as NomadClusterSpec).auth.vault?.vaultRef : undefined;
}

/** Where it leads to, and how, may have another spelling today. */
function environmentOf(kind: ConnectionKind, env: Environment): Partial<Spec> {
  return kind === 'NomadCluster' ? nomadEnvironment(env) : vaultEnvironment(env);
}

type Origin = Pick<DeclaredConnection, 'folder' | 'isFromEnvironment' | 'isRecorded'>;

function connectionOf(kind: ConnectionKind, name: string, spec: Spec, origin: Origin): DeclaredConnection {
  const { address, maxConnections, grants } = spec;
  return {
    kind,
    name,
    address: address.replace(/\/$/, ''),
    ...('namespace' in spec && { namespace: spec.namespace }),
    ...('createNamespace' in spec && { makes: namespaceMade(name, spec) }),
    maxConnections,
    rereadMs: 1000 * seconds('resyncInterval' in spec ? spec.resyncInterval : spec.sweepInterval),
    ...('requestBudget' in spec && { requestBudget: spec.requestBudget }),
    ...(grants && { grants }),
    loginNeeds: loginNeeds(kind, name, spec),
    spec,
    ...origin,
  };
}

/** The namespace that a VaultServer makes. */
function namespaceMade(connection: string, { createNamespace, namespace }: VaultServerSpec): ObjectKey | undefined {
  if (!createNamespace || namespace === undefined) return undefined;
  return { connection, type: vaultNamespaceObject.name, name: placeIn(namespace).path };
}

/** What was made at one address must not be looked for, or deleted, at another one. */
function refuseMoved(
  connection: DeclaredConnection,
  { recorded, accepted, isKubernetes }: Declaring,
  acceptedPlace: string | undefined,
): DeclaredConnection {
  const { kind, name } = connection;
  const before = recorded.find((c) => c.kind === kind && c.name === name);
  if (before === undefined || sameServer(before, connection)) return connection;
  const place = placeOf(connection, before);
  const isAccepted = isKubernetes
    ? acceptedPlace !== undefined && sameAddress(acceptedPlace, place)
    : accepted.includes(name);
  if (isAccepted) return connection;
  const way = isKubernetes
    ? `annotate it (kubectl annotate ${kind.toLowerCase()} ${name} --overwrite '${ACCEPT_ADDRESS_CHANGE}=${place}'); if not, put the old one back, or delete first what was made through it`
    : `add --accept-address-change ${name}; if not, put the old address back, or destroy first`;
  const error =
    `${kind} ${name} is declared at ${place}, but what the inventory holds was made at ${placeOf(before, connection)}. ` +
    `If both are the same servers, ${way}`;
  return { ...connection, refused: { error, reason: 'AddressChanged' } };
}

type Place = Pick<RecordedConnection, 'kind' | 'address' | 'spec'>;

/** The address, and where that is not all that differs, the region or namespace. */
function placeOf(of: Place, from: Place): string {
  return partOf(of) === partOf(from) ? of.address : `${of.address} ${FIELDS[of.kind]}=${partOf(of) ?? ''}`;
}

const FIELDS = { NomadCluster: 'region', VaultServer: 'namespace' } as const;

/** Which of several servers behind one address. */
function partOf({ kind, spec }: Place): string | undefined {
  return (spec as Record<string, string | undefined>)[FIELDS[kind]];
}

function sameServer(recorded: Place, now: Place): boolean {
  return sameAddress(recorded.address, now.address) && partOf(recorded) === partOf(now);
}
