import type { AnyKind, ConnectionReference } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import { doubleClaims, Uniqueness, type Fault, type Precedence } from './claims.ts';
import type { Declared } from './contents.ts';
import { DEFAULT, type EnvironmentResource } from './environment.ts';
import { RealPaths } from './real-paths.ts';
import { Names, undeclared } from './references.ts';
import { sinkErrors } from './sinks.ts';

export interface UnionOptions {
  readonly kinds: readonly AnyKind[];
  readonly owner: string;
}

/** A reference to a connection that is not there. */
export interface Dangling {
  readonly resource: Resource;
  readonly reference: ConnectionReference;
}

interface Valid {
  readonly kind: AnyKind;
  readonly resource: Resource;
  /** Folder that the paths in the resource must not leave. */
  readonly root: string;
}

/** What all declarations make together, and what only several of them, or one and the folder around it, can have wrong. */
export class Union {
  readonly names = new Names();
  /** Valid, and each declared for the first time. */
  readonly resources: Resource[] = [];
  readonly #options: UnionOptions;
  readonly #unique = new Uniqueness();
  readonly #valid: Valid[] = [];
  readonly #real = new RealPaths();

  constructor(options: UnionOptions) {
    this.#options = options;
  }

  /** Who comes first is in the right. @returns an error where the name is taken. */
  add({ kind, name, declaration, resource }: Declared, root: string): ManifestError | undefined {
    this.names.add(kind?.kind, name);
    const again = declaration && this.#unique.add(declaration);
    if (resource === undefined || kind === undefined) return again;
    this.#valid.push({ kind, resource, root });
    if (again === undefined) this.resources.push(resource);
    return again;
  }

  has(resource: Resource): boolean {
    return this.#unique.has(resource);
  }

  /** Takes a connection of the environment. @returns what is wrong with it, which matters only where somebody refers to it. */
  addEnvironment(made: EnvironmentResource): readonly ManifestError[] {
    const isMeant = this.refersToDefault(made.kind);
    this.names.add(made.kind, DEFAULT);
    if ('errors' in made) return isMeant ? made.errors : [];
    this.resources.push(made.resource);
    return [];
  }

  refersToDefault(connection: string): boolean {
    return this.#valid.some(({ kind, resource }) =>
      kind.references(resource.spec).some(({ kind, name }) => kind === connection && name === DEFAULT),
    );
  }

  dangling(): Dangling[] {
    return this.#valid.flatMap(({ kind, resource }) =>
      undeclared(resource, kind, this.names).map((reference) => ({ resource, reference })),
    );
  }

  /** @param isChecked resources that need not be looked at again. */
  async misplacedSinks(isChecked: (resource: Resource) => boolean = () => false): Promise<Fault[]> {
    const faults: Fault[] = [];
    for (const { resource, root } of this.#valid) {
      if (isChecked(resource)) continue;
      for (const error of await sinkErrors(resource, root, this.#real)) faults.push({ resource, error });
    }
    return faults;
  }

  doubleClaims(precedence?: Precedence): Promise<Fault[]> {
    return doubleClaims(this.resources, { ...this.#options, real: this.#real }, precedence);
  }
}
