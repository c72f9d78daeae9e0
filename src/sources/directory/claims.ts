import { typesOf, type AnyKind, type ObjectType, type PlanContext } from '../../contract/kind.ts';
import { idOf, positionText, type ManifestError, type Resource } from '../../contract/resource.ts';
import { resourceText, type ObjectKey } from '../../plan/step.ts';
import { isRecord } from './plain.ts';
import type { RealPaths } from './real-paths.ts';
import { SINKS } from './sinks.ts';
import type { Declaration } from './validate.ts';

/** What is declared under one name is declared once. */
export class Uniqueness {
  readonly #first = new Map<string, Declaration>();

  has(declaration: Pick<Declaration, 'kind' | 'metadata'>): boolean {
    return this.#first.has(nameOf(declaration));
  }

  /** @returns an error where there is such a resource already. */
  add(declaration: Declaration): ManifestError | undefined {
    const id = nameOf(declaration);
    const other = this.#first.get(id);
    if (other === undefined) {
      this.#first.set(id, declaration);
      return undefined;
    }
    const message = `${id} is declared already at ${positionText(other.locate('metadata.name'))}: remove one of the two`;
    return { ...declaration.locate('metadata.name'), path: 'metadata.name', message };
  }
}

/** What a resource is called in messages; no two have the same. */
export function nameOf({ kind, metadata: { namespace, name } }: Pick<Declaration, 'kind' | 'metadata'>): string {
  return namespace === '' ? `${kind} ${name}` : resourceText({ kind, namespace, name });
}

interface ClaimOptions {
  readonly kinds: readonly AnyKind[];
  readonly owner: string;
  readonly real: RealPaths;
}

/** Something that is wrong with a resource only because of what is around it. */
export interface Fault {
  readonly resource: Resource;
  readonly error: ManifestError;
}

/** What was there before, and what is there no more but for a while. */
export interface Precedence {
  /** What these stood for stays theirs. */
  readonly before: readonly Resource[];
  /** These have no claim to what another one has. */
  readonly yielding: readonly Resource[];
}

/**
 * Live objects that two resources stand for: they would overwrite each other for ever. The first one is in the right, or the one
 * that stood for it before.
 */
export async function doubleClaims(
  resources: readonly Resource[],
  options: ClaimOptions,
  { before, yielding }: Precedence = { before: [], yielding: [] },
): Promise<Fault[]> {
  const all = await claims([...resources, ...yielding], options);
  const doubled = [...all].filter(([, claim]) => claim.size > 1);
  const holders = doubled.length === 0 || before.length === 0 ? undefined : await claims(before, options);
  const weak = new Set(yielding);
  const errors = new Map<Resource, ManifestError>();
  for (const [object, claim] of doubled) {
    const [first] = claim.keys();
    const [holder] = holders?.get(object)?.keys() ?? [];
    const isHolder = (resource: Resource): boolean =>
      holder !== undefined && nameOf(holder) === nameOf(resource) && !weak.has(resource);
    const right = [...claim.keys()].find(isHolder) ?? first;
    for (const [resource, key] of claim) {
      if (right === undefined || resource === right || errors.has(resource)) continue;
      errors.set(resource, claimError(resource, right, key));
    }
  }
  return [...errors].map(([resource, error]) => ({ resource, error }));
}

/** The resources that stand for a live object, by a text that is the same for one object, and the key by which each does. */
async function claims(
  resources: readonly Resource[],
  options: ClaimOptions,
): Promise<Map<string, Map<Resource, ObjectKey>>> {
  const servers = new Servers(resources, options);
  const context = contextOf(options.owner, servers, resources);
  const kinds = new Map(options.kinds.map((kind) => [kind.kind, kind]));
  const claimed = new Map<string, Map<Resource, ObjectKey>>();
  for (const resource of resources) {
    for (const { key } of kinds.get(resource.kind)?.objects(resource, context) ?? []) {
      const object = await servers.globalName(key);
      const claim = claimed.get(object);
      if (claim === undefined) claimed.set(object, new Map([[resource, key]]));
      else if (!claim.has(resource)) claim.set(resource, key);
    }
  }
  return claimed;
}

function claimError(resource: Resource, other: Resource, key: ObjectKey): ManifestError {
  const path = SINKS.get(key.type) ?? fieldOf(resource.spec, key.name, 'spec') ?? 'metadata.name';
  const first = `${nameOf(other)} at ${positionText(other.locate('metadata.name'))}`;
  const message = `stands for ${key.type} ${key.name}, and so does ${first}: only one resource can`;
  return { ...resource.locate(path), path, message };
}

/** The field that holds the name. */
function fieldOf(value: unknown, name: string, path: string): string | undefined {
  if (value === name) return path;
  const entries: (readonly [string, unknown])[] = Array.isArray(value)
    ? value.map((item, i) => [`[${String(i)}]`, item])
    : isRecord(value)
      ? Object.entries(value).map(([field, item]) => [`.${field}`, item])
      : [];
  for (const [field, item] of entries) {
    const found = field.endsWith('Ref') ? undefined : fieldOf(item, name, path + field);
    if (found !== undefined) return found;
  }
  return undefined;
}

interface ServerSpec {
  readonly address: string;
  readonly region?: string | undefined;
  readonly namespace?: string | undefined;
}

/** What connections lead to: two of them may lead to one server. */
class Servers {
  readonly #specs = new Map<string, ServerSpec>();
  readonly #real: RealPaths;
  readonly #types: ReadonlyMap<string, ObjectType>;

  constructor(resources: readonly Resource[], { kinds, real }: ClaimOptions) {
    this.#real = real;
    this.#types = typesOf(kinds);
    for (const { kind, metadata, spec } of resources) {
      if (isServerSpec(spec)) this.#specs.set(`${kind}/${metadata.name}`, spec);
    }
  }

  spec(kind: 'NomadCluster' | 'VaultServer', name: string): ServerSpec | undefined {
    return this.#specs.get(`${kind}/${name}`);
  }

  /** A text that is the same for one live object, whatever its connection is called. */
  async globalName({ connection, type, name }: ObjectKey): Promise<string> {
    const kind = this.#types.get(type)?.connection;
    if (kind === 'local') return JSON.stringify([type, await this.#real.file(name)]);
    const spec = this.#specs.get(`${kind ?? ''}/${connection}`);
    return JSON.stringify([type, name, kind, spec === undefined ? connection : serverOf(spec)]);
  }
}

function isServerSpec(spec: unknown): spec is ServerSpec {
  return isRecord(spec) && typeof spec['address'] === 'string';
}

function serverOf({ address, region, namespace }: ServerSpec): readonly (string | undefined)[] {
  const url = URL.canParse(address) ? new URL(address).href : address;
  return [url.replace(/\/+$/, ''), region, namespace?.replace(/^\/+|\/+$/g, '')];
}

/** Nothing is known of the servers; paths stay absolute. */
function contextOf(owner: string, servers: Servers, resources: readonly Resource[]): PlanContext {
  const byName = new Map(resources.map((resource) => [resourceText(idOf(resource)), resource]));
  return {
    owner,
    now: 0,
    live: () => undefined,
    liveBy: () => [],
    failure: () => undefined,
    owned: () => undefined,
    ownedBy: () => [],
    nomadAddress: (connection) => servers.spec('NomadCluster', connection)?.address,
    vaultServer: (connection) => servers.spec('VaultServer', connection),
    resource: (id) => byName.get(resourceText(id)),
    pathName: (absolute) => absolute,
  };
}
