import type { Clock } from '../contract/clock.ts';
import { TargetError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import type { SecretPlace, SecretSourceApi } from '../contract/target.ts';
import { followSecret, type Secret } from './follow-secret.ts';
import { noSecret, secretText } from './secret-text.ts';

export interface FollowedSecretsOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** Told when what stands at a place that was read is not what it was. */
  readonly onChange: (place: SecretPlace) => void;
}

type Place = Extract<SecretPlace, { from: 'kubernetes' }>;

interface Followed {
  readonly stop: AbortController;
  /** Resolved once it is known what there is, or that it can't be known. */
  readonly told: Promise<void>;
  isTold: boolean;
  /** undefined: not known yet. */
  found: { readonly secret: Secret | undefined } | undefined;
  trouble: string | undefined;
  /** By key: who has read it. */
  readonly places: Map<string, Place>;
  /** Monotonic milliseconds. */
  readAt: number;
}

/** How long the first answer is waited for; milliseconds. */
const FIRST_MS = 10_000;
/** What nobody has read for so long is not followed any more; milliseconds. */
const UNUSED_MS = 3_600_000;

/**
 * Secrets of Kubernetes that kinds send to servers: each one that was asked for is followed by itself, so that a change is
 * told at once and the others of its namespace are nobody's business.
 *
 * Guarantees: nothing of a Secret is kept but in memory, and only while it is followed; trouble hides nothing that is known.
 */
export class FollowedSecrets implements SecretSourceApi {
  readonly #options: FollowedSecretsOptions;
  readonly #followed = new Map<string, Followed>();
  #isClosed = false;

  constructor(options: FollowedSecretsOptions) {
    this.#options = options;
  }

  async read(place: SecretPlace): Promise<string> {
    if (place.from !== 'kubernetes') throw noSecret('files and environment variables need the directory source');
    const followed = this.#follow(place);
    followed.places.set(place.key, place);
    await followed.told;
    const { found, trouble = 'no answer yet' } = followed;
    const secret = `Secret ${place.namespace}/${place.name}`;
    if (found === undefined) throw new TargetError(`${secret} can't be read: ${trouble}`, { class: 'transient' });
    const content = found.secret?.data?.[place.key];
    if (content !== undefined) return secretText(Buffer.from(content, 'base64'), `key "${place.key}" of ${secret}`);
    if (found.secret === undefined) throw noSecret(`there is no ${secret}: create it, with the key "${place.key}"`);
    throw noSecret(`${secret} has no key "${place.key}": add it, or correct the key in the spec`);
  }

  close(): void {
    this.#isClosed = true;
    for (const { stop } of this.#followed.values()) stop.abort();
    this.#followed.clear();
  }

  #follow(place: Place): Followed {
    const now = this.#options.clock.monotonic();
    for (const [id, { readAt, stop }] of this.#followed) {
      if (now - readAt < UNUSED_MS) continue;
      stop.abort();
      this.#followed.delete(id);
    }
    const id = `${place.namespace}/${place.name}`;
    const known = this.#followed.get(id);
    const followed = known ?? this.#start(place);
    followed.readAt = now;
    if (known === undefined) this.#followed.set(id, followed);
    return followed;
  }

  #start(place: Place): Followed {
    const { api, clock } = this.#options;
    const stop = new AbortController();
    if (this.#isClosed) stop.abort();
    let done: () => void = () => undefined;
    const told = new Promise<void>((resolve) => {
      done = resolve;
    });
    const followed: Followed = {
      stop,
      told,
      isTold: false,
      found: undefined,
      trouble: undefined,
      places: new Map(),
      readAt: 0,
    };
    const tell = (): void => {
      followed.isTold = true;
      done();
    };
    const cancel = clock.after(FIRST_MS, tell);
    void followSecret(
      api,
      place,
      {
        told: (secret) => {
          this.#take(followed, secret);
          tell();
        },
        trouble: (why) => {
          followed.trouble = why;
          if (why !== undefined) tell();
        },
      },
      stop.signal,
    ).finally(() => {
      cancel();
      tell();
    });
    return followed;
  }

  #take(followed: Followed, secret: Secret | undefined): void {
    const before = followed.found;
    followed.found = { secret };
    // Whoever reads it waits for this, and needs not be told.
    if (!followed.isTold) return;
    for (const [key, place] of followed.places) {
      if (before?.secret?.data?.[key] !== secret?.data?.[key]) this.#options.onChange(place);
    }
  }
}
