import { watch } from 'node:fs';
import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MANIFEST, type Witness } from './files.ts';
import { codeOf } from './places.ts';

/** Tells of each change of an entry of the folder; the name is null where the system does not say it. @throws when it can't. */
export type Listen = (
  folder: string,
  heard: (event: string, name: string | null) => void,
  failed: (error: unknown) => void,
) => { close(): void };

/** Node's recursive watching is of no use here: on Linux it loses a file for good once another one is renamed over it. */
export const listen: Listen = (folder, heard, failed) => watch(folder, heard).on('error', failed);

/** These are reported by whoever reads the folder. */
const UNREADABLE: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'];

interface Listener {
  readonly handle: { close(): void };
  /** Of the folder that is listened to: another one may stand at its path by now. */
  readonly identity: string;
  /** Whether every manifest in the folder matters, or only single entries. */
  isListed: boolean;
  /** The last look that passed it. */
  look: number;
}

/** Listens to every folder that a look passes, and tells of changes that may matter. */
export class Listeners implements Witness {
  readonly #changed: () => void;
  readonly #listen: Listen;
  readonly #listeners = new Map<string, Listener>();
  /** Paths that matter whatever they are called, and the last look that passed them. */
  readonly #entries = new Map<string, number>();
  #look = 0;
  #problem: unknown;
  #isClosed = false;

  constructor(changed: () => void, open: Listen) {
    this.#changed = changed;
    this.#listen = open;
  }

  /** Why some folder can't be listened to, as the last look found it. */
  get problem(): unknown {
    return this.#problem;
  }

  begin(): void {
    this.#look++;
    this.#problem = undefined;
  }

  folder(path: string): Promise<void> {
    return this.#pass(path, true);
  }

  entry(path: string): Promise<void> {
    this.#entries.set(path, this.#look);
    return this.#pass(dirname(path), false);
  }

  /** Gives up what the look did not pass. */
  end(): void {
    for (const [path, look] of this.#entries) if (look !== this.#look) this.#entries.delete(path);
    for (const [folder, { look }] of this.#listeners) if (look !== this.#look) this.#close(folder);
  }

  close(): void {
    this.#isClosed = true;
    for (const folder of this.#listeners.keys()) this.#close(folder);
  }

  async #pass(folder: string, isListed: boolean): Promise<void> {
    const identity = await identityOf(folder);
    const listener = this.#listeners.get(folder);
    if (listener === undefined || listener.identity !== identity) {
      this.#close(folder);
      if (identity !== undefined && !this.#isClosed) this.#open(folder, identity, isListed);
      return;
    }
    listener.isListed = isListed || (listener.isListed && listener.look === this.#look);
    listener.look = this.#look;
  }

  #open(folder: string, identity: string, isListed: boolean): void {
    const heard = (event: string, name: string | null): void => void this.#heard(folder, event, name);
    const failed = (): void => {
      this.#close(folder);
      this.#changed();
    };
    try {
      const handle = this.#listen(folder, heard, failed);
      this.#listeners.set(folder, { handle, identity, isListed, look: this.#look });
    } catch (error) {
      if (!UNREADABLE.includes(codeOf(error))) this.#problem ??= error;
    }
  }

  #close(folder: string): void {
    this.#listeners.get(folder)?.handle.close();
    this.#listeners.delete(folder);
  }

  async #heard(folder: string, event: string, name: string | null): Promise<void> {
    // So a folder says that it is deleted itself, after which it says nothing any more.
    if (name === basename(folder) && event === 'rename') this.#close(folder);
    else if (name !== null && !(await this.#matters(folder, event, name))) return;
    if (!this.#isClosed) this.#changed();
  }

  async #matters(folder: string, event: string, name: string): Promise<boolean> {
    const path = join(folder, name);
    if (this.#entries.has(path) || this.#listeners.has(path)) return true;
    if (name.startsWith('.') || this.#listeners.get(folder)?.isListed !== true) return false;
    if (MANIFEST.test(name)) return true;
    return event === 'rename' && (await mayHoldManifests(path));
  }
}

/** A secret that was written beside the manifests does not. */
async function mayHoldManifests(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => undefined);
  return info?.isDirectory() === true || info?.isSymbolicLink() === true;
}

/** Changes when another folder comes to stand at the path, even one with the same inode, and with the right to read it. */
export async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeNs, mode, uid, gid } = await stat(path, { bigint: true });
    return [dev, ino, birthtimeNs, mode, uid, gid].join(':');
  } catch {
    return undefined;
  }
}
