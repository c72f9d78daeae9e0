import { open, readdir, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { messageOf } from '../../contract/errors.ts';
import type { ManifestError } from '../../contract/resource.ts';

/** A file of manifests. */
export interface ManifestFile {
  /** Relative to the inventory's folder, with slashes; `-` for standard input. */
  readonly name: string;
  /** Folder that relative paths in it start from; absolute. */
  readonly folder: string;
  /** Folder that was given with -f, which relative paths must not lead out of; absolute. */
  readonly root: string;
  readonly text: string;
}

export interface FileOptions {
  readonly paths: readonly string[];
  readonly base: string;
  readonly cwd: string;
  readonly stdin?: (() => Promise<string>) | undefined;
}

export interface Files {
  readonly files: readonly ManifestFile[];
  readonly errors: readonly ManifestError[];
  readonly roots: readonly string[];
}

/** Larger files are no manifests that people review; bytes. */
const LARGEST_FILE = 4 * 1024 * 1024;
const LARGEST_TOTAL = 64 * 1024 * 1024;
const MANIFEST = /\.(ya?ml|json)$/;

/** Reads the manifests under the given paths, each file once, in the order of their names. */
export async function readFiles(options: FileOptions): Promise<Files> {
  const reader = new Reader(options);
  for (const path of options.paths) await reader.root(path);
  return { files: reader.files, errors: reader.errors, roots: reader.roots };
}

class Reader {
  readonly files: ManifestFile[] = [];
  readonly errors: ManifestError[] = [];
  readonly roots: string[] = [];
  readonly #options: FileOptions;
  readonly #seen = new Set<string>();
  #bytes = 0;

  constructor(options: FileOptions) {
    this.#options = options;
  }

  async root(path: string): Promise<void> {
    if (path === '-') {
      this.roots.push('-');
      const text = (await this.#options.stdin?.()) ?? '';
      if (text.length > LARGEST_TOTAL) this.#fail('-', 'is larger than 64 MiB: split it');
      else this.files.push({ name: '-', folder: this.#options.cwd, root: this.#options.cwd, text });
      return;
    }
    const absolute = resolve(this.#options.cwd, path);
    this.roots.push(this.#nameOf(absolute));
    try {
      const info = await stat(absolute);
      if (info.isDirectory()) await this.#folder(absolute, absolute, await realpath(absolute), new Set());
      else await this.#file(absolute, resolve(absolute, '..'), await realpath(resolve(absolute, '..')), true);
    } catch (error) {
      this.#fail(path, reasonOf(error));
    }
  }

  async #folder(folder: string, root: string, realRoot: string, above: ReadonlySet<string>): Promise<void> {
    const real = await realpath(folder);
    if (above.has(real)) {
      this.#fail(this.#nameOf(folder), 'is a symlink to a folder that contains it: remove it');
      return;
    }
    const entries = await readdir(folder);
    for (const name of entries.filter((n) => !n.startsWith('.')).sort()) {
      const path = join(folder, name);
      try {
        if (!isInside(realRoot, await realpath(path))) {
          this.#fail(
            this.#nameOf(path),
            `is a symlink out of ${root} (to ${await realpath(path)}): put the file itself there`,
          );
          continue;
        }
        const info = await stat(path);
        if (info.isDirectory()) await this.#folder(path, root, realRoot, new Set([...above, real]));
        else if (MANIFEST.test(name)) await this.#file(path, root, realRoot, false);
      } catch (error) {
        this.#fail(this.#nameOf(path), reasonOf(error));
      }
    }
  }

  async #file(path: string, root: string, _realRoot: string, given: boolean): Promise<void> {
    const real = await realpath(path);
    if (this.#seen.has(real)) return;
    this.#seen.add(real);
    const info = await stat(real);
    const name = this.#nameOf(path);
    if (!info.isFile()) {
      this.#fail(name, 'is not a regular file');
      return;
    }
    if (info.size > LARGEST_FILE) {
      this.#fail(
        name,
        `has ${String(Math.ceil(info.size / 1024 / 1024))} MiB; a manifest has at most 4: split it${given ? '' : ', or move it away'}`,
      );
      return;
    }
    this.#bytes += info.size;
    if (this.#bytes > LARGEST_TOTAL) {
      this.#fail(name, 'the manifests have more than 64 MiB together: apply them in parts');
      return;
    }
    const text = decode(await readAll(real));
    if (typeof text === 'string') this.files.push({ name, folder: resolve(path, '..'), root, text });
    else this.#fail(name, text.error);
  }

  #nameOf(absolute: string): string {
    const name = relative(this.#options.base, absolute);
    return name === '..' || name.startsWith(`..${sep}`) || isAbsolute(name)
      ? absolute
      : name.split(sep).join('/') || '.';
  }

  #fail(file: string, message: string): void {
    this.errors.push({ file, line: 1, column: 1, path: '', message });
  }
}

/** Reads at most what was allowed, even if the file has grown since it was looked at. */
async function readAll(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(LARGEST_FILE + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
      if (length > LARGEST_FILE) throw new Error('grew beyond 4 MiB while it was read');
    }
  } finally {
    await file.close();
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decode(content: Buffer): string | { error: string } {
  try {
    const text = utf8.decode(content);
    return text.includes('\0') ? { error: 'has a NUL byte: it is no text; save it as UTF-8' } : text;
  } catch {
    return { error: 'is not UTF-8: save it as UTF-8' };
  }
}

export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way));
}

function reasonOf(error: unknown): string {
  const { code } = error as { code?: string };
  if (code === 'ENOENT') return 'there is no such file or folder (or it is a symlink to one that is gone)';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read: check its permissions';
  if (code === 'ELOOP') return 'is a symlink that leads back to itself';
  return messageOf(error);
}
