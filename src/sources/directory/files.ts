import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Dirent } from 'node:fs';
import type { ManifestError } from '../../contract/resource.ts';
import { wayOf } from './links.ts';
import { fileError, fileProblem, codeOf, isWithin, nameIn, type SourceFile } from './places.ts';

/** The files that -f stands for. */
export interface Found {
  readonly files: readonly SourceFile[];
  readonly errors: readonly ManifestError[];
  readonly roots: readonly string[];
  /** Folders whose entries are known, as reached from their roots; absolute. */
  readonly folders: readonly string[];
  /** What should have led to files and did not, each with its error; absolute. */
  readonly blocked: readonly string[];
}

/** Is told, before it is looked at, of everything that decides which files are found. */
export interface Witness {
  /** A folder is about to be listed. */
  folder(path: string): Promise<void>;
  /** What stands under this one name matters, be it a symlink on the way to a file or the file at its end. */
  entry(path: string): Promise<void>;
}

export const STDIN = '-';
/** Names of files that are manifests. */
export const MANIFEST = /\.(yaml|yml|json)$/;

/** Finds every manifest under the paths, each real file once. */
export async function findFiles(
  paths: readonly string[],
  base: string,
  cwd: string,
  witness?: Witness,
): Promise<Found> {
  const search = new Search(base, witness);
  const roots: string[] = [];
  for (const path of new Set(paths)) {
    const absolute = resolve(cwd, path);
    roots.push(path === STDIN ? STDIN : nameIn(base, absolute));
    if (path === STDIN) search.files.push({ name: STDIN, path: '', folder: cwd, root: cwd });
    else await search.root(path, absolute);
  }
  const { files, errors, folders, blocked } = search;
  return { files, errors, folders, blocked, roots: [...new Set(roots)] };
}

interface Folder {
  /** As reached from the root. */
  readonly path: string;
  readonly real: string;
}

/** A folder given to -f. */
interface Root extends Folder {
  readonly found: SourceFile[];
  /** Symlinks wait until all real files are found, so that a file goes by its own name wherever it can. */
  readonly links: { readonly path: string; readonly parent: Folder }[];
}

class Search {
  readonly files: SourceFile[] = [];
  readonly errors: ManifestError[] = [];
  readonly folders: string[] = [];
  readonly blocked: string[] = [];
  /** Real paths of files and folders. */
  readonly #seen = new Set<string>();

  readonly #base: string;
  readonly #witness: Witness | undefined;

  constructor(base: string, witness: Witness | undefined) {
    this.#base = base;
    this.#witness = witness;
  }

  async root(given: string, path: string): Promise<void> {
    try {
      await this.#onTheWay(await realpath(dirname(path)), path);
      const real = await realpath(path);
      const info = await stat(real);
      if (info.isDirectory()) await this.#tree({ path, real, found: [], links: [] });
      else if (!info.isFile()) this.#block(path, fileError(given, notRegular));
      else this.#file(this.files, path, real, dirname(path));
    } catch (error) {
      this.#block(path, fileError(given, await linkProblem(path, error)));
    }
  }

  async #tree(root: Root): Promise<void> {
    await this.#folder(root, root);
    for (let link = root.links.shift(); link !== undefined; link = root.links.shift()) await this.#link(root, link);
    for (const file of root.found.sort((a, b) => (a.name < b.name ? -1 : 1))) this.files.push(file);
  }

  async #folder(root: Root, folder: Folder): Promise<void> {
    if (this.#isSeen(folder.real)) return;
    for (const entry of await this.#entries(folder)) {
      const path = join(folder.path, entry.name);
      if (entry.name.startsWith('.')) continue;
      if (entry.isSymbolicLink()) root.links.push({ path, parent: folder });
      else if (entry.isDirectory()) await this.#folder(root, { path, real: join(folder.real, entry.name) });
      else if (!MANIFEST.test(entry.name)) continue;
      else if (entry.isFile()) this.#file(root.found, path, join(folder.real, entry.name), root.path);
      else this.#refuse(path, notRegular);
    }
  }

  async #entries(folder: Folder): Promise<Dirent[]> {
    try {
      await this.#witness?.folder(folder.path);
      const entries = await readdir(folder.path, { withFileTypes: true });
      this.folders.push(folder.path);
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      this.#refuse(folder.path, fileProblem(error));
      return [];
    }
  }

  async #link(root: Root, { path, parent }: { path: string; parent: Folder }): Promise<void> {
    try {
      await this.#onTheWay(parent.real, path);
      const real = await realpath(path);
      const info = await stat(real);
      const isManifest = MANIFEST.test(path);
      if (!info.isDirectory() && !isManifest) return;
      if (!isWithin(root.real, real)) this.#refuse(path, `is a symlink that leaves ${root.path}: it leads to ${real}`);
      else if (info.isFile()) this.#file(root.found, path, real, root.path);
      else if (!info.isDirectory()) this.#refuse(path, notRegular);
      else if (isWithin(real, parent.real))
        this.#refuse(path, `is a symlink that leads back to ${real}, which holds it`);
      else await this.#folder(root, { path, real });
    } catch (error) {
      this.#refuse(path, await linkProblem(path, error));
    }
  }

  #file(files: SourceFile[], path: string, real: string, root: string): void {
    if (!this.#isSeen(real)) files.push({ name: nameIn(this.#base, path), path, folder: dirname(path), root });
  }

  #isSeen(real: string): boolean {
    if (this.#seen.has(real)) return true;
    this.#seen.add(real);
    return false;
  }

  /** @param parent real. */
  async #onTheWay(parent: string, path: string): Promise<void> {
    if (this.#witness === undefined) return;
    for (const entry of await wayOf(join(parent, basename(path)))) await this.#witness.entry(entry);
  }

  #refuse(path: string, message: string): void {
    this.#block(path, fileError(nameIn(this.#base, path), message));
  }

  #block(path: string, error: ManifestError): void {
    this.blocked.push(path);
    this.errors.push(error);
  }
}

const notRegular = 'is no regular file: manifests are read from files, folders and, with -f -, standard input';

/** A symlink to nothing is told from nothing. */
async function linkProblem(path: string, error: unknown): Promise<string> {
  if (codeOf(error) !== 'ENOENT') return fileProblem(error);
  const link = await lstat(path).catch(() => undefined);
  if (link?.isSymbolicLink() !== true) return fileProblem(error);
  return `is a symlink to ${await readlink(path)}, which does not exist`;
}
