import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import type { Desire } from '../../contract/source.ts';
import { contentsOf } from './contents.ts';
import { fromEnvironment, type EnvironmentConnection } from './environment.ts';
import { findFiles } from './files.ts';
import { MOST_DOCUMENTS } from './manifests.ts';
import { readFiles, type SourceText } from './read.ts';
import { undeclaredError } from './references.ts';
import { Union } from './union.ts';

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
  await loading.together();
  return { resources: loading.resources, errors: inOrder(loading.errors), roots: found.roots, unknown: [] };
}

class Loading {
  readonly errors: ManifestError[] = [];
  /** Whether everything that the files declare could be read. */
  isComplete = true;
  readonly #options: LoadOptions;
  readonly #union: Union;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#union = new Union(options);
  }

  get resources(): readonly Resource[] {
    return this.#union.resources;
  }

  /** There can be more errors than a call can have arguments. */
  report(errors: readonly ManifestError[]): void {
    for (const error of errors) this.errors.push(error);
  }

  files(texts: readonly SourceText[]): void {
    let left = MOST_DOCUMENTS;
    for (const text of texts) {
      const { count, declared, errors, isComplete } = contentsOf(text, left, this.#options.kinds);
      left = Math.max(0, left - count);
      this.isComplete &&= isComplete;
      this.report(errors);
      for (const declaration of declared) {
        const again = this.#union.add(declaration, text.root);
        if (again !== undefined) this.errors.push(again);
      }
    }
  }

  async together(): Promise<void> {
    const { environment, kinds, cwd } = this.#options;
    const union = this.#union;
    const missing = fromEnvironment(environment, kinds, cwd).filter(({ kind }) => !union.names.hasKind(kind));
    for (const made of missing) this.report(union.addEnvironment(made));
    const dangling = this.isComplete ? union.dangling() : [];
    this.report(dangling.map(({ resource, reference }) => undeclaredError(resource, reference, union.names)));
    this.report((await union.misplacedSinks()).map(({ error }) => error));
    this.report((await union.doubleClaims()).map(({ error }) => error));
  }
}

/** By file, line, column and field; what is wrong with a file as a whole comes first. */
export function inOrder(errors: readonly ManifestError[]): ManifestError[] {
  return [...errors].sort(
    (a, b) =>
      compare(a.file, b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0) ||
      compare(a.path, b.path),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
