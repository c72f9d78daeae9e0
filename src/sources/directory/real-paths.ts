import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

interface RealFolder {
  readonly path: string;
  readonly exists: boolean;
}

/** Paths without symlinks, as far as their folders exist. Each folder is looked at once. */
export class RealPaths {
  readonly #folders = new Map<string, Promise<RealFolder>>();

  /** The file itself may be a symlink. */
  async file(path: string): Promise<string> {
    return join((await this.folder(dirname(path))).path, basename(path));
  }

  folder(path: string): Promise<RealFolder> {
    let folder = this.#folders.get(path);
    if (folder === undefined) {
      folder = this.#look(path);
      this.#folders.set(path, folder);
    }
    return folder;
  }

  async #look(path: string): Promise<RealFolder> {
    try {
      return { path: await realpath(path), exists: true };
    } catch {
      const isTop = path === dirname(path);
      return { path: isTop ? path : await this.file(path), exists: false };
    }
  }
}
