import type { Clock } from '../contract/clock.ts';
import type { Credential } from '../contract/credential.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import { denied, textIn, withoutCredential, type CredentialName, type Found } from './credential-text.ts';
import { followSecret, type Secret } from './follow-secret.ts';
import { SharedLook } from './shared-look.ts';

export interface SecretCredentialOptions {
  readonly api: KubernetesApi;
  readonly ref: { readonly namespace: string; readonly name: string; readonly key: string };
  readonly name: CredentialName;
  readonly clock: Clock;
  /** Told when there is another text, or other trouble. */
  readonly onChange: () => void;
}

/** Before a refused credential is looked for again; milliseconds. */
const PAUSE_MS = 1_000;
/** How long opening waits for the first answer; milliseconds. */
const FIRST_MS = 10_000;

/** What a key of a Kubernetes Secret holds at any time: followed, so that a rotated credential is used from the next request on. */
export class SecretCredential implements Credential {
  readonly #options: SecretCredentialOptions;
  readonly #ended = new AbortController();
  readonly #looks: SharedLook;
  #found: Found;
  /** How often we were told of it. */
  #news = 0;

  private constructor(options: SecretCredentialOptions) {
    this.#options = options;
    this.#looks = new SharedLook(options.clock, PAUSE_MS, () => this.#look());
    this.#found = { trouble: { error: `${this.#secret}: not read yet`, reason: 'Unavailable' } };
  }

  /** Waits for what is there now, if that does not take too long. */
  static async open(options: SecretCredentialOptions): Promise<SecretCredential> {
    const credential = new SecretCredential(options);
    await new Promise<void>((done) => {
      const cancel = options.clock.after(FIRST_MS, done);
      void credential.#follow(() => {
        cancel();
        done();
      });
    });
    return credential;
  }

  get trouble(): Credential['trouble'] {
    return 'trouble' in this.#found ? this.#found.trouble : undefined;
  }

  token(): string {
    if ('trouble' in this.#found) throw withoutCredential(this.#found.trouble);
    return this.#found.text;
  }

  /** The news of a rotation may still be on its way. */
  async replaced(refused: string): Promise<boolean> {
    if ('text' in this.#found && this.#found.text !== refused) return true;
    await this.#looks.again();
    return 'text' in this.#found && this.#found.text !== refused;
  }

  close(): Promise<void> {
    this.#ended.abort();
    return Promise.resolve();
  }

  get #secret(): string {
    const { namespace, name } = this.#options.ref;
    return `Secret ${namespace}/${name}`;
  }

  /** @param first called when something is known, be it trouble. */
  async #follow(first: () => void): Promise<void> {
    const { api, ref } = this.#options;
    const take = (secret: Secret | undefined): void => {
      this.#take(secret);
      first();
    };
    const trouble = (why: string | undefined): void => {
      if (why === undefined || this.#news > 0) return;
      // What was read before still counts; here nothing was.
      this.#set({ trouble: { error: `${this.#secret} can't be read: ${why}`, reason: 'Unavailable' } });
      first();
    };
    await followSecret(api, ref, { told: take, trouble }, this.#ended.signal);
  }

  /** Beside what is followed, which may come later. What comes meanwhile is newer than the answer may be. */
  async #look(): Promise<void> {
    const { api, ref } = this.#options;
    const news = this.#news;
    const path = `/api/v1/namespaces/${ref.namespace}/secrets/${ref.name}`;
    const secret = await api.get<Secret>(path, this.#ended.signal).catch(() => 'unknown' as const);
    if (secret !== 'unknown' && news === this.#news) this.#set(this.#foundIn(secret));
  }

  #take(secret: Secret | undefined): void {
    this.#news++;
    this.#set(this.#foundIn(secret));
  }

  #foundIn(secret: Secret | undefined): Found {
    const { ref, name } = this.#options;
    const content = secret?.data?.[ref.key];
    if (content !== undefined)
      return textIn(Buffer.from(content, 'base64').toString('utf8'), `key "${ref.key}" of ${this.#secret}`, name);
    const command = `kubectl create secret generic ${ref.name} -n ${ref.namespace} --from-file=${ref.key}=FILE`;
    return denied(
      secret === undefined
        ? `there is no ${this.#secret}, whose key "${ref.key}" must hold the ${name}: create it (${command})`
        : `${this.#secret} has no key "${ref.key}", which must hold the ${name}: add it, or correct the key in spec.auth`,
    );
  }

  #set(found: Found): void {
    if (this.#ended.signal.aborted) return;
    const isSame = JSON.stringify(found) === JSON.stringify(this.#found);
    this.#found = found;
    if (!isSame) this.#options.onChange();
  }
}
