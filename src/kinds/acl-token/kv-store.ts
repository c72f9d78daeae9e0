import { TargetError } from '../../contract/errors.ts';
import { digestOf, type VaultApi } from '../../contract/target.ts';
import { canonical, stringIn, type Fields } from '../../plan/value.ts';

/** What stands at a path of Vault's KV engine. */
export interface StoredKv {
  /** undefined: the newest version is deleted, but the secret and the versions before are there. */
  readonly data: Fields | undefined;
  /** Another one after every change: the version, or where there are none a digest. */
  readonly state: string;
  /** Our mark; undefined where there is none. */
  readonly mark: string | undefined;
}

/** A mounted KV engine. Version 1 has no place for a mark. */
export interface KvEngine {
  readonly version: 1 | 2;
  /** Its path, with a slash at the end. */
  readonly mount: string;
}

/** One path of a KV engine, whichever version it is of. Every method throws TargetError. */
export interface KvStore {
  readonly engine: KvEngine;
  /** @returns undefined where there is nothing, not even a deleted version. */
  read(signal?: AbortSignal): Promise<StoredKv | undefined>;
  /**
   * Writes where everything is still as it was read; `transient` with status 409 where it isn't: then nothing is written.
   * Vault sees to that in version 2. Version 1 is looked at once more right before.
   * @param was what was read; undefined: nothing. @returns the new state.
   */
  write(data: Fields, was: string | undefined): Promise<string>;
  /** Sets our mark and leaves what others put beside it. Nothing in version 1. */
  mark(owner: string): Promise<void>;
  /** Removes all versions and the metadata, where everything is still as it was read; `dependency` where it isn't. */
  remove(was: string): Promise<void>;
}

/** Where custom_metadata says whose it is. */
const MARK = 'nomad-access';

interface Mount {
  readonly path: string;
  readonly type: string;
  readonly options: { readonly version?: string } | null;
}

/** Status of the error where nothing is mounted around a path. */
export const NO_MOUNT = 404;

/**
 * The store of a path, mount included. Vault tells of the mount around a path to whoever has any right below it
 * (sys/internal/ui/mounts), and says 403 as well where there is no mount.
 * @throws TargetError `dependency` with NO_MOUNT; `denied`; or `terminal` where something other than KV is mounted there
 */
export async function kvAt(api: VaultApi, path: string, signal?: AbortSignal): Promise<KvStore> {
  const mount = await api.read<Mount>(`sys/internal/ui/mounts/${path}`, signal).catch((error: unknown) => {
    if (error instanceof TargetError && error.class === 'denied') return isAnythingAt(api, path, signal);
    throw error;
  });
  if (mount === undefined) {
    const message = `nothing is mounted around ${path} on ${api.address}: enable a KV engine there, or name its mount`;
    throw new TargetError(message, { class: 'dependency', status: NO_MOUNT });
  }
  if (mount.type !== 'kv' && mount.type !== 'generic')
    throw new TargetError(
      `${path} on ${api.address} lies in ${mount.path}, which is of type ${mount.type}: name a mount of type kv`,
      { class: 'terminal' },
    );
  return kvOf(api, path, { version: mount.options?.version === '2' ? 2 : 1, mount: mount.path });
}

/** Whoever may read the path learns that nothing handles it. @returns undefined where that is so. @throws TargetError */
async function isAnythingAt(api: VaultApi, path: string, signal: AbortSignal | undefined): Promise<undefined> {
  const found = await api.read(path, signal).catch((error: unknown) => {
    throw error instanceof TargetError && isNoRight(error) ? unreachable(error, path) : error;
  });
  if (found !== undefined)
    throw new TargetError(`${path} on ${api.address} lies in no KV engine`, { class: 'terminal' });
}

/** The store of a path whose mount is known. */
export function kvOf(api: VaultApi, path: string, engine: KvEngine): KvStore {
  return engine.version === 2 ? new KvV2(api, path, engine) : new KvV1(api, path, engine);
}

/** A token that Vault does not know has no right anywhere: that says nothing of the path. */
function isNoRight({ class: errorClass, message }: TargetError): boolean {
  return errorClass === 'denied' && !message.includes('invalid token');
}

function unreachable({ message, status }: TargetError, path: string): TargetError {
  const why = `nothing is mounted around ${path}, or the token given for this VaultServer has no right at all there`;
  return new TargetError(`${message}: ${why}`, { class: 'denied', ...(status !== undefined && { status }) });
}

function changed(path: string, errorClass: 'transient' | 'dependency'): TargetError {
  return new TargetError(`${path} on Vault is not as it was read: somebody else has written there`, {
    class: errorClass,
    status: 409,
  });
}

class KvV1 implements KvStore {
  readonly engine: KvEngine;
  readonly #api: VaultApi;
  readonly #path: string;

  constructor(api: VaultApi, path: string, engine: KvEngine) {
    this.#api = api;
    this.#path = path;
    this.engine = engine;
  }

  async read(signal?: AbortSignal): Promise<StoredKv | undefined> {
    const data = await this.#api.read<Fields>(this.#path, signal);
    return data && { data, state: stateOf(data), mark: undefined };
  }

  async write(data: Fields, was: string | undefined): Promise<string> {
    if ((await this.read())?.state !== was) throw changed(this.#path, 'transient');
    await this.#api.write(this.#path, data);
    return stateOf(data);
  }

  mark(): Promise<void> {
    return Promise.resolve();
  }

  async remove(was: string): Promise<void> {
    const current = await this.read();
    if (current === undefined) return;
    if (current.state !== was) throw changed(this.#path, 'dependency');
    await this.#api.delete(this.#path);
  }
}

function stateOf(data: Fields): string {
  return digestOf(canonical(data));
}

interface Metadata {
  readonly current_version: number;
  readonly custom_metadata: Fields | null;
}

interface VersionRead {
  readonly data: Fields | null;
  readonly metadata: { readonly version: number; readonly custom_metadata: Fields | null };
}

class KvV2 implements KvStore {
  readonly engine: KvEngine;
  readonly #api: VaultApi;
  readonly #path: string;
  readonly #data: string;
  readonly #metadata: string;

  constructor(api: VaultApi, path: string, engine: KvEngine) {
    const below = path.slice(engine.mount.length);
    this.#api = api;
    this.#path = path;
    this.engine = engine;
    this.#data = `${engine.mount}data/${below}`;
    this.#metadata = `${engine.mount}metadata/${below}`;
  }

  /** Of a newest version that is deleted, as of none, Vault says 404: then the metadata tells which. */
  async read(signal?: AbortSignal): Promise<StoredKv | undefined> {
    const read = await this.#api.read<VersionRead>(this.#data, signal);
    if (read !== undefined) {
      const { version, custom_metadata: custom } = read.metadata;
      return { data: read.data ?? undefined, state: String(version), mark: markIn(custom) };
    }
    const about = await this.#about(signal);
    return about && { data: undefined, state: String(about.current_version), mark: markIn(about.custom_metadata) };
  }

  async write(data: Fields, was: string | undefined): Promise<string> {
    const cas = Number(was ?? 0);
    await this.#api.write(this.#data, { data, options: { cas } }).catch((error: unknown) => {
      throw isMismatch(error) ? changed(this.#path, 'transient') : error;
    });
    return String(cas + 1);
  }

  /** Vault replaces custom_metadata as a whole. */
  async mark(owner: string): Promise<void> {
    const custom = (await this.#about())?.custom_metadata ?? {};
    await this.#api.write(this.#metadata, { custom_metadata: { ...custom, [MARK]: owner } });
  }

  async remove(was: string): Promise<void> {
    const about = await this.#about();
    if (about === undefined) return;
    if (String(about.current_version) !== was) throw changed(this.#path, 'dependency');
    await this.#api.delete(this.#metadata);
  }

  #about(signal?: AbortSignal): Promise<Metadata | undefined> {
    return this.#api.read<Metadata>(this.#metadata, signal);
  }
}

function markIn(custom: Fields | null): string | undefined {
  return stringIn(custom ?? undefined, MARK) || undefined;
}

function isMismatch(error: unknown): boolean {
  return error instanceof TargetError && error.status === 400 && error.message.includes('check-and-set parameter');
}
