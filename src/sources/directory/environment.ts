import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import { check } from './issues.ts';
import { pathText } from './positions.ts';

/** A connection as the environment describes it. */
export interface EnvironmentConnection {
  readonly kind: 'NomadCluster' | 'VaultServer';
  readonly spec: unknown;
  /** The variable that a field of the spec comes from, such as `tls.caCert`, if there is one. */
  readonly variable: (field: string) => string | undefined;
}

/** The name that references without a name mean. */
export const DEFAULT = 'default';
/** What stands for the file of such a connection; its fields are the variables. */
export const ENVIRONMENT = 'environment';
const POSITION = { file: ENVIRONMENT } as const;

export type EnvironmentResource =
  | { readonly kind: string; readonly resource: Resource }
  | { readonly kind: string; readonly errors: readonly ManifestError[] };

/** Those of them that are of a kind that is known. @param folder where relative paths in them start from; absolute. */
export function fromEnvironment(
  connections: readonly EnvironmentConnection[],
  kinds: readonly AnyKind[],
  folder: string,
): EnvironmentResource[] {
  const made = connections.map((connection) => resourceOf(connection, kinds, folder));
  return made.filter((connection) => connection !== undefined);
}

function resourceOf(
  connection: EnvironmentConnection,
  kinds: readonly AnyKind[],
  folder: string,
): EnvironmentResource | undefined {
  const kind = kinds.find((candidate) => candidate.kind === connection.kind);
  if (kind === undefined) return undefined;
  const checked = check(kind.spec, connection.spec);
  if ('issues' in checked) {
    const errors = checked.issues.map(({ path, message }) => ({
      ...POSITION,
      path: connection.variable(pathText(path)) ?? pathText(['spec', ...path]),
      message,
    }));
    return { kind: kind.kind, errors };
  }
  const resource: Resource = {
    kind: kind.kind,
    metadata: { name: DEFAULT, namespace: '', annotations: {} },
    spec: checked.value,
    source: ENVIRONMENT,
    folder,
    locate: () => POSITION,
  };
  return { kind: kind.kind, resource };
}
