import { TargetError } from '../contract/errors.ts';
import { isNewer, type CollectionHandler, type KubernetesApi } from '../contract/kubernetes.ts';
import type { KubernetesSecretApi, SecretContent, StoredSecret } from '../contract/target.ts';
import { inBase64, isAlike, kept, MANAGED_BY, metadataOf, type Kept, type Secret } from './secret-marks.ts';

export interface KubernetesSecretsOptions {
  readonly api: KubernetesApi;
  /** Only in these; without it, everywhere. */
  readonly namespaces?: readonly string[] | undefined;
  /** Told when a Secret with our label is not what we know of it, and it was not us. */
  readonly onChange?: (namespace: string, name: string) => void;
  /** Told, of each collection, when it can't be followed and when it can again: undefined. */
  readonly onTrouble?: (path: string, why: string | undefined) => void;
}

const EVERYWHERE = '/api/v1/secrets';

/** What the watch told. */
interface News {
  readonly secret: Secret;
  readonly isGone: boolean;
}

/**
 * Secrets that tokens are written to. Those with our label are followed, and what is known of them (never what they hold)
 * is kept, so that reading one costs a request only where it is not known: a foreign one, or none at all.
 *
 * Guarantees: a read sees every write that was through before it began; news that are older than what is known change
 * nothing; whatever is in doubt is forgotten, and read again; a Secret that is not what the writer has read is never
 * overwritten.
 */
export class KubernetesSecrets implements KubernetesSecretApi {
  readonly #options: KubernetesSecretsOptions;
  /** By `namespace/name`. */
  readonly #known = new Map<string, Kept>();
  /** The uids of those that we have removed, until the watch has told so. */
  readonly #removed = new Map<string, string>();
  /** Those that we are writing, and what was told of them meanwhile. */
  readonly #writing = new Map<string, News[]>();
  /** Resolved once it is known what there is, or that it can't be known. */
  #told: Promise<unknown> = Promise.resolve();

  constructor(options: KubernetesSecretsOptions) {
    this.#options = options;
  }

  /** Follows the Secrets with our label until the signal is aborted. Never throws. */
  async follow(signal: AbortSignal): Promise<void> {
    const { namespaces } = this.#options;
    const paths = namespaces?.map((namespace) => collectionPath(namespace)) ?? [EVERYWHERE];
    const collections = paths.map((path) => this.#follow(path, signal));
    this.#told = Promise.all(collections.map(({ told }) => told));
    await Promise.all(collections.map(({ ended }) => ended));
  }

  async read(namespace: string, name: string, signal?: AbortSignal): Promise<StoredSecret | undefined> {
    await this.#told;
    return this.#known.get(keyOf(namespace, name)) ?? this.#ask(namespace, name, signal);
  }

  async write(content: SecretContent, was: Pick<StoredSecret, 'resourceVersion'> | undefined): Promise<StoredSecret> {
    const { namespace, name } = content;
    return this.#writingTo(namespace, name, async () => {
      const written = was === undefined ? await this.#create(content) : await this.#change(content, was);
      this.#known.set(keyOf(namespace, name), written);
      return written;
    });
  }

  async remove(namespace: string, name: string, uid: string): Promise<void> {
    const key = keyOf(namespace, name);
    await this.#writingTo(namespace, name, async () => {
      this.#known.delete(key);
      try {
        await this.#options.api.delete(pathOf(namespace, name), { uid });
      } catch (error) {
        if (!isConflict(error) || (await this.#ask(namespace, name))?.uid === uid) throw error;
      }
      this.#removed.set(key, uid);
    });
  }

  async #create(content: SecretContent): Promise<Kept> {
    const { namespace, name, data } = content;
    const values = Object.entries(data).filter((entry): entry is [string, string] => entry[1] !== null);
    const secret = await this.#options.api.create<Secret>(collectionPath(namespace), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace, ...metadataOf(content) },
      type: 'Opaque',
      data: Object.fromEntries(values.map(([key, value]) => [key, inBase64(value)])),
    });
    return kept(secret);
  }

  /** What was added by others stays. The version is another one too where the Secret was made anew. */
  async #change(content: SecretContent, { resourceVersion }: Pick<StoredSecret, 'resourceVersion'>): Promise<Kept> {
    const { namespace, name, data } = content;
    const known = this.#known.get(keyOf(namespace, name));
    const current = known?.resourceVersion === resourceVersion ? known : await this.#ask(namespace, name);
    if (current === undefined) throw gone(namespace, name);
    if (current.isImmutable) throw immutable(namespace, name);
    const values = Object.entries(data).map(([key, value]) => [key, value === null ? null : inBase64(value)]);
    const secret = await this.#options.api.patch<Secret>(pathOf(namespace, name), 'merge', {
      metadata: { resourceVersion, ...metadataOf(content, current.ownerReferences) },
      data: Object.fromEntries(values) as Record<string, string | null>,
    });
    if (secret === undefined) throw gone(namespace, name);
    return kept(secret);
  }

  async #ask(namespace: string, name: string, signal?: AbortSignal): Promise<Kept | undefined> {
    const secret = await this.#options.api.get<Secret>(pathOf(namespace, name), signal);
    return secret && kept(secret);
  }

  /** What is told while we write may be of our own write. A write that failed leaves what stands there in doubt. */
  async #writingTo<T>(namespace: string, name: string, write: () => Promise<T>): Promise<T> {
    const key = keyOf(namespace, name);
    this.#writing.set(key, []);
    try {
      return await write();
    } catch (error) {
      this.#known.delete(key);
      throw error;
    } finally {
      const held = this.#writing.get(key) ?? [];
      this.#writing.delete(key);
      for (const news of held) this.#take(news);
    }
  }

  /** @returns when something is known of the collection, and when it is no longer followed. */
  #follow(path: string, signal: AbortSignal): { told: Promise<void>; ended: Promise<void> } {
    const labelSelector = `${MANAGED_BY.label}=${MANAGED_BY.value}`;
    let ended: Promise<void> = Promise.resolve();
    const told = new Promise<void>((tell) => {
      signal.addEventListener('abort', () => {
        tell();
      });
      ended = this.#options.api.follow({ path, labelSelector }, this.#handler(path, tell), signal).finally(tell);
    });
    return { told, ended };
  }

  #handler(path: string, tell: () => void): CollectionHandler<Secret> {
    let isFirst = true;
    return {
      replaced: (secrets) => {
        this.#replace(path, secrets, isFirst);
        isFirst = false;
        tell();
      },
      changed: (secret) => {
        this.#take({ secret, isGone: false });
      },
      removed: (secret) => {
        this.#take({ secret, isGone: true });
      },
      trouble: (why) => {
        this.#options.onTrouble?.(path, why);
        if (why !== undefined) tell();
      },
    };
  }

  /** @param isFirst nobody has read anything of it yet. */
  #replace(path: string, secrets: readonly Secret[], isFirst: boolean): void {
    const listed = new Set(secrets.map(({ metadata }) => keyOf(metadata.namespace ?? '', metadata.name)));
    const isVanished = (key: string): boolean => !listed.has(key) && isIn(path, key);
    for (const key of [...this.#removed.keys()].filter(isVanished)) this.#removed.delete(key);
    for (const key of [...this.#known.keys()].filter(isVanished)) {
      this.#known.delete(key);
      this.#tell(key);
    }
    for (const secret of secrets) this.#take({ secret, isGone: false }, isFirst);
  }

  #take(news: News, isQuiet = false): void {
    const { metadata } = news.secret;
    const key = keyOf(metadata.namespace ?? '', metadata.name);
    const held = this.#writing.get(key);
    if (held !== undefined) {
      held.push(news);
      return;
    }
    if (this.#removed.get(key) === metadata.uid) {
      if (news.isGone) this.#removed.delete(key);
      return;
    }
    this.#removed.delete(key);
    const known = this.#known.get(key);
    if (known !== undefined && !isNewer(metadata.resourceVersion ?? '', known.resourceVersion)) return;
    const after = news.isGone ? undefined : kept(news.secret);
    if (after === undefined) this.#known.delete(key);
    else this.#known.set(key, after);
    const isSame = known === undefined ? after === undefined : after !== undefined && isAlike(known, after);
    if (!isSame && !isQuiet) this.#tell(key);
  }

  #tell(key: string): void {
    const slash = key.indexOf('/');
    this.#options.onChange?.(key.slice(0, slash), key.slice(slash + 1));
  }
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function collectionPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/secrets`;
}

function pathOf(namespace: string, name: string): string {
  return `${collectionPath(namespace)}/${name}`;
}

/** Whether the list of that path is the one that has the Secret. */
function isIn(path: string, key: string): boolean {
  return path === EVERYWHERE || path === collectionPath(key.slice(0, key.indexOf('/')));
}

function isConflict(error: unknown): boolean {
  return error instanceof TargetError && error.status === 409;
}

function gone(namespace: string, name: string): TargetError {
  return new TargetError(`the Secret ${namespace}/${name} is gone since it was read`, {
    class: 'transient',
    status: 409,
  });
}

function immutable(namespace: string, name: string): TargetError {
  return new TargetError(
    `the Secret ${namespace}/${name} is immutable and can't be put right: delete it, and it is made again`,
    { class: 'terminal' },
  );
}
