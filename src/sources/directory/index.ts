import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import type { Desire } from '../../contract/source.ts';
import { doubleClaims, Uniqueness } from './claims.ts';
import { DEFAULT, fromEnvironment, type EnvironmentConnection } from './environment.ts';
import { findFiles } from './files.ts';
import { manifestsIn, MOST_DOCUMENTS, type Manifest } from './manifests.ts';
import { RealPaths } from './real-paths.ts';
import { readFiles, type SourceText } from './read.ts';
import { Names, undeclared } from './references.ts';
import { sinkErrors } from './sinks.ts';
import { validate } from './validate.ts';

export interface LoadOptions {
  readonly kinds: readonly AnyKind[];
  /** As given to -f: files, folders, `-`. */
  readonly paths: readonly string[];
  /** Folder of the inventory; absolute. */
  readonly base: string;
  readonly cwd: string;
  /** Owner's name of the installation: part of the live names of tokens. */
  readonly owner: string;
  readonly stdin?: () => Promise<string>;
  /** Connections that are there, called `default`, where the manifests declare none of their kind. */
  readonly environment: readonly EnvironmentConnection[];
}

/** The resources that files and folders declare, and everything that is wrong with them. Asks no server; bad input never throws. */
export async function loadDirectory(options: LoadOptions): Promise<Desire> {
  const found = await findFiles(options.paths, options.base, options.cwd);
  const read = await readFiles(found.files, options.stdin);
  const loading = new Loading(options);
  loading.report(found.errors);
  loading.report(read.errors);
  loading.isComplete = loading.errors.length === 0;
  loading.files(read.texts);
  loading.environment();
  await loading.together();
  return { resources: loading.resources, errors: inOrder(loading.errors), roots: found.roots, unknown: [] };
}

interface ValidManifest {
  readonly kind: AnyKind;
  readonly resource: Resource;
  /** Folder that the paths in the resource must not leave. */
  readonly root: string;
}

class Loading {
  readonly errors: ManifestError[] = [];
  /** Valid, and each declared for the first time. */
  readonly resources: Resource[] = [];
  /** Whether everything that the files declare could be read. */
  isComplete = true;
  readonly #options: LoadOptions;
  readonly #names = new Names();
  readonly #unique = new Uniqueness();
  readonly #valid: ValidManifest[] = [];

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** There can be more errors than a call can have arguments. */
  report(errors: readonly ManifestError[]): void {
    for (const error of errors) this.errors.push(error);
  }

  /** Each document by itself: its tree is given up before the next one is read. */
  files(texts: readonly SourceText[]): void {
    let left = MOST_DOCUMENTS;
    for (const text of texts) {
      const { count, errors, isComplete } = manifestsIn(text, left, (manifest) => {
        this.#manifest(manifest);
      });
      left = Math.max(0, left - count);
      this.isComplete &&= isComplete;
      this.report(errors);
    }
  }

  #manifest(manifest: Manifest): void {
    const { errors, kind, name, declaration, resource } = validate(manifest, this.#options.kinds);
    this.report(errors);
    this.#names.add(kind?.kind, name);
    const again = declaration && this.#unique.add(declaration);
    if (again !== undefined) this.errors.push(again);
    if (resource === undefined || kind === undefined) return;
    this.#valid.push({ kind, resource, root: manifest.file.root });
    if (again === undefined) this.resources.push(resource);
  }

  /** What is wrong with the environment matters only where somebody refers to it. */
  environment(): void {
    const missing = this.#options.environment.filter(({ kind }) => !this.#names.hasKind(kind));
    for (const connection of missing) {
      const made = fromEnvironment(connection, this.#options.kinds, this.#options.cwd);
      if (made === undefined) continue;
      if ('resource' in made) this.resources.push(made.resource);
      else if (this.#isMeant(made.kind)) this.report(made.errors);
      this.#names.add(made.kind, DEFAULT);
    }
  }

  #isMeant(name: string): boolean {
    return this.#valid.some(({ kind, resource }) =>
      kind.references(resource.spec).some((reference) => reference.kind === name && reference.name === DEFAULT),
    );
  }

  /** What only several resources together, or a resource and the folder around it, can have wrong. */
  async together(): Promise<void> {
    const real = new RealPaths();
    for (const { kind, resource, root } of this.#valid) {
      if (this.isComplete) this.report(undeclared(resource, kind, this.#names));
      this.report(await sinkErrors(resource, root, real));
    }
    this.report(await doubleClaims(this.resources, { ...this.#options, real }));
  }
}

function inOrder(errors: readonly ManifestError[]): ManifestError[] {
  return [...errors].sort(
    (a, b) => compare(a.file, b.file) || a.line - b.line || a.column - b.column || compare(a.path, b.path),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
