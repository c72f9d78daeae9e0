import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { AnyKind, PlanContext } from '../../contract/kind.ts';
import { idOf, type ManifestError, type Resource } from '../../contract/resource.ts';
import { resourceText, type ObjectKey } from '../../plan/step.ts';
import { isInside } from './files.ts';

/** What only several resources together can have wrong. */
export interface ClaimOptions {
  readonly kinds: readonly AnyKind[];
  readonly owner: string;
  readonly pathName: (absolute: string) => string;
  /** Folder that was given with -f, by manifest file. */
  readonly rootOf: (source: string) => string | undefined;
}

export function checkTogether(resources: readonly Resource[], options: ClaimOptions): ManifestError[] {
  const kindOf = new Map(options.kinds.map((k) => [k.kind, k]));
  const checks = [
    twins(resources),
    references(resources, kindOf),
    credentials(resources),
    sinks(resources, options),
  ].flat();
  return checks.length > 0 ? checks : claims(resources, kindOf, options);
}

function at(resource: Resource, path: string, message: string): ManifestError {
  return { ...resource.locate(path), path, message };
}

function place(resource: Resource): string {
  const { file, line } = resource.locate('metadata.name');
  return `${file}:${String(line)}`;
}

function twins(resources: readonly Resource[]): ManifestError[] {
  const seen = new Map<string, Resource>();
  return resources.flatMap((resource) => {
    const id = resourceText(idOf(resource));
    const first = seen.get(id);
    seen.set(id, first ?? resource);
    return first === undefined
      ? []
      : [at(resource, 'metadata.name', `${id} is declared already at ${place(first)}: remove one of the two`)];
  });
}

function references(resources: readonly Resource[], kindOf: ReadonlyMap<string, AnyKind>): ManifestError[] {
  const declared = (kind: string): string[] => resources.filter((r) => r.kind === kind).map((r) => r.metadata.name);
  return resources.flatMap((resource) =>
    (kindOf.get(resource.kind)?.references(resource.spec) ?? [])
      .filter((reference) => !declared(reference.kind).includes(reference.name))
      .map(({ kind, name, path }) =>
        at(
          resource,
          path,
          `there is no ${kind} named "${name}" (there is ${declared(kind).join(', ')}): declare it, or name another one`,
        ),
      ),
  );
}

function credentials(resources: readonly Resource[]): ManifestError[] {
  return resources
    .filter((r) => (r.spec as { auth?: { tokenSecretRef?: unknown } }).auth?.tokenSecretRef !== undefined)
    .map((r) => at(r, 'spec.auth.tokenSecretRef', 'needs the Kubernetes source: use tokenEnv or tokenFile here'));
}

/** Where secret files may lie. */
function sinks(resources: readonly Resource[], options: ClaimOptions): ManifestError[] {
  const path = 'spec.writeSecretTo.file.path';
  return resources.flatMap((resource) => {
    const declared = (resource.spec as { writeSecretTo?: { file?: { path: string } } }).writeSecretTo?.file?.path;
    if (declared === undefined) return [];
    if (declared.startsWith('~')) return [at(resource, path, '~ is not expanded: write the path out')];
    if (/\.(ya?ml|json)$/.test(declared))
      return [at(resource, path, 'must not end in .yaml, .yml or .json: it would be taken for a manifest')];
    const root = options.rootOf(resource.source);
    if (isAbsolute(declared) || root === undefined || staysInside(root, join(resource.folder, declared))) return [];
    return [at(resource, path, `leads out of ${root}: write an absolute path if that is meant`)];
  });
}

/** Symlinks included: the deepest folder that exists decides. */
function staysInside(root: string, path: string): boolean {
  if (!isInside(root, path)) return false;
  for (let folder = dirname(path); isInside(root, folder); folder = dirname(folder)) {
    try {
      return isInside(realpathSync(root), realpathSync(folder));
    } catch {
      // It does not exist yet: its parent decides.
    }
  }
  return true;
}

/** Two resources that stand for one live object would overwrite each other for ever. */
function claims(
  resources: readonly Resource[],
  kindOf: ReadonlyMap<string, AnyKind>,
  options: ClaimOptions,
): ManifestError[] {
  const seen = new Map<string, Resource>();
  const context = emptyContext(resources, options);
  return resources.flatMap((resource) => {
    const keys = (kindOf.get(resource.kind)?.objects(resource, context) ?? []).map((d) => d.key);
    return keys.flatMap((key) => {
      const id = `${serverOf(resources, kindOf, key)}/${key.type}/${key.name}`;
      const first = seen.get(id);
      seen.set(id, first ?? resource);
      if (first === undefined) return [];
      const message = `stands for ${key.type} ${key.name}, as ${resourceText(idOf(first))} at ${place(first)} does: one live object has one resource`;
      return [at(resource, 'metadata.name', message)];
    });
  });
}

/** Two connections with one address lead to the same objects. */
function serverOf(resources: readonly Resource[], kindOf: ReadonlyMap<string, AnyKind>, key: ObjectKey): string {
  const kind = [...kindOf.values()].flatMap((k) => k.types).find((t) => t.name === key.type)?.connection;
  const connection = resources.find((r) => r.kind === kind && r.metadata.name === key.connection);
  if (connection === undefined) return key.connection;
  const spec = connection.spec as { address: string; region?: string; namespace?: string };
  const address = URL.canParse(spec.address) ? new URL(spec.address).href : spec.address;
  return `${address}|${spec.region ?? ''}|${spec.namespace ?? ''}`;
}

function emptyContext(resources: readonly Resource[], options: ClaimOptions): PlanContext {
  const address = (kind: string, name: string): string | undefined =>
    (resources.find((r) => r.kind === kind && r.metadata.name === name)?.spec as { address: string } | undefined)
      ?.address;
  return {
    owner: options.owner,
    now: 0,
    live: () => undefined,
    liveBy: () => [],
    failure: () => undefined,
    ownedBy: () => [],
    nomadAddress: (name) => address('NomadCluster', name),
    vaultServer: (name) => {
      const found = address('VaultServer', name);
      return found === undefined ? undefined : { address: found };
    },
    pathName: options.pathName,
  };
}
