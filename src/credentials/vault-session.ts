import type { Clock } from '../contract/clock.ts';
import type { Credential, VaultLease, VaultTokens } from '../contract/credential.ts';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { Unreadable } from '../plan/step.ts';
import { withoutCredential } from './credential-text.ts';
import { SharedLook } from './shared-look.ts';
import { backoffMs, renewalMs } from './renewal.ts';

export interface VaultLogin {
  /** `auth/kubernetes/login` */
  readonly path: string;
  /** What is sent there: made anew for each login. @throws TargetError where it can't be had. */
  readonly body: () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  /** Part of the body; closed together with the session. */
  readonly from?: Credential | undefined;
}

export interface VaultSessionOptions {
  readonly login: VaultLogin;
  readonly vault: VaultTokens;
  readonly clock: Clock;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** How long opening waits for the first login; milliseconds. */
  readonly firstMs: number;
  /** Told when there is another token, or other trouble. */
  readonly onChange: () => void;
}

/** The token that we have now. */
interface Held {
  readonly token: string;
  /** As it was when we logged in. */
  readonly ttlSeconds: number;
  /** Monotonic. */
  readonly endsAt: number;
  /** Whether a renewal makes it last longer. */
  readonly mayGrow: boolean;
}

/** Before a token that was found alive is looked up again because a request was refused; milliseconds. */
const PAUSE_MS = 1_000;
/** How long the end waits for Vault; milliseconds. */
const REVOKE_MS = 5_000;

/**
 * A login at Vault, kept up: renewed while that makes the token last longer, replaced before it ends, and at once where
 * it was revoked.
 */
export class VaultSession implements Credential {
  readonly #options: VaultSessionOptions;
  readonly #ended = new AbortController();
  readonly #looks: SharedLook;
  #held: Held | undefined;
  #trouble: Unreadable | undefined;
  #login: Promise<boolean> | undefined;
  #failures = 0;
  /** Monotonic: when there is something to do. */
  #dueAt = 0;
  #wake = new AbortController();
  #kept: Promise<void> = Promise.resolve();

  private constructor(options: VaultSessionOptions) {
    this.#options = options;
    this.#looks = new SharedLook(options.clock, PAUSE_MS, () => this.#verify());
    this.#trouble = { error: `${options.login.path}: the login is under way`, reason: 'Unavailable' };
  }

  /** Logs in. It is a session also where that failed: it tries again, and says so in `trouble`. */
  static async open(options: VaultSessionOptions): Promise<VaultSession> {
    const session = new VaultSession(options);
    await new Promise<void>((done) => {
      const cancel = options.clock.after(options.firstMs, done);
      void session.#logIn().then(() => {
        cancel();
        done();
        session.#kept = session.#keep();
      });
    });
    return session;
  }

  get trouble(): Unreadable | undefined {
    return this.#trouble;
  }

  token(): string {
    if (this.#held !== undefined) return this.#held.token;
    throw withoutCredential(this.#trouble ?? { error: 'not logged in', reason: 'Unavailable' });
  }

  async replaced(refused: string): Promise<boolean> {
    if (this.#held?.token === refused) await this.#looks.again();
    return this.#held !== undefined && this.#held.token !== refused;
  }

  /** What the login needs has changed: where it failed, it is tried again now. */
  retry(): void {
    if (this.#held !== undefined) return;
    this.#dueAt = 0;
    this.#wake.abort();
  }

  async close(): Promise<void> {
    this.#ended.abort();
    this.#wake.abort();
    await this.#kept;
    await this.#login;
    const { vault } = this.#options;
    if (this.#held !== undefined)
      await vault.revoke(this.#held.token, AbortSignal.timeout(REVOKE_MS)).catch(() => undefined);
    this.#held = undefined;
    await vault.close();
    await this.#options.login.from?.close();
  }

  async #keep(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#ended.signal.aborted) {
      const wait = this.#dueAt - clock.monotonic();
      if (wait > 0) {
        this.#wake = new AbortController();
        await clock.sleep(wait, this.#wake.signal).catch(() => undefined);
        continue;
      }
      if (this.#held?.mayGrow === true) await this.#renew(this.#held);
      else await this.#logIn();
    }
  }

  async #renew(held: Held): Promise<void> {
    const { vault, clock } = this.#options;
    try {
      this.#hold(await vault.renew(held.token, this.#ended.signal), held.ttlSeconds);
    } catch (error) {
      const isPassing = error instanceof TargetError && error.class === 'transient';
      if (isPassing && clock.monotonic() < held.endsAt) this.#laterAgain();
      else await this.#logIn();
    }
  }

  /** One for all that need it. @returns whether it worked. Never throws. */
  #logIn(): Promise<boolean> {
    this.#login ??= this.#tryLogIn().finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  async #tryLogIn(): Promise<boolean> {
    const { login, vault } = this.#options;
    try {
      const lease = await vault.login(login.path, await login.body(), this.#ended.signal);
      this.#hold(lease, lease.ttlSeconds);
      return true;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  #hold({ token, ttlSeconds, isRenewable }: VaultLease, firstSeconds: number): void {
    const { clock, random } = this.#options;
    const now = clock.monotonic();
    const isNew = this.#held?.token !== token;
    const isForever = ttlSeconds === 0 && firstSeconds === 0;
    const mayGrow = isRenewable && ttlSeconds >= firstSeconds;
    this.#held = {
      token,
      ttlSeconds: firstSeconds,
      endsAt: isForever ? Infinity : now + ttlSeconds * 1000,
      mayGrow,
    };
    this.#dueAt = isForever ? now + FOREVER_MS : now + renewalMs(ttlSeconds, random);
    this.#failures = 0;
    this.#trouble = undefined;
    if (isNew) this.#options.onChange();
  }

  /** A login failed: the token that we have is used as long as it lasts. */
  #lose(error: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.#laterAgain();
    if (this.#held !== undefined && this.#options.clock.monotonic() < this.#held.endsAt) return;
    const isPassing = error instanceof TargetError && error.class === 'transient';
    const before = this.#trouble?.error;
    this.#held = undefined;
    this.#trouble = { error: messageOf(error), reason: isPassing ? 'Unavailable' : 'Denied' };
    if (before !== this.#trouble.error) this.#options.onChange();
  }

  #laterAgain(): void {
    const { clock, random } = this.#options;
    this.#dueAt = clock.monotonic() + backoffMs(++this.#failures, random);
  }

  /** After a refusal: whether our token is alive, and another one where it is not. */
  async #verify(): Promise<void> {
    const held = this.#held;
    if (held === undefined) return;
    const found = await this.#options.vault.lookup(held.token, this.#ended.signal).catch(() => 'unknown');
    if (found !== undefined || this.#held !== held) return;
    this.#held = { ...held, endsAt: 0 };
    await this.#logIn();
  }
}

/** A timer takes no more. */
const FOREVER_MS = 2 ** 31 - 1;
