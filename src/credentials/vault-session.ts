import type { Clock } from '../contract/clock.ts';
import type { Credential, VaultLease, VaultTokens } from '../contract/credential.ts';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { Unreadable } from '../plan/step.ts';
import { withoutCredential } from './credential-text.ts';
import { SharedLook } from './shared-look.ts';
import { backoffMs, LONGEST_SLEEP_MS, renewalMs } from './renewal.ts';

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
  /** Our tokens may not look themselves up. */
  #isBlind = false;
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
    if (this.#held === undefined) this.#planFor(0);
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
        await clock.sleep(Math.min(wait, LONGEST_SLEEP_MS), this.#wake.signal).catch(() => undefined);
        continue;
      }
      if (this.#held?.mayGrow === true) await this.#renew(this.#held);
      else await this.#logIn();
    }
  }

  /** Past its longest time Vault answers 500: whatever fails, a login is tried. Until that works we use what we have. */
  async #renew(held: Held): Promise<void> {
    try {
      const lease = await this.#options.vault.renew(held.token, this.#ended.signal);
      // Meanwhile it may have been found revoked, and replaced.
      if (this.#held === held) this.#hold(lease, held.ttlSeconds);
    } catch {
      await this.#logIn();
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
    // What can't be made longer must be replaced in time, and Vault tells whole seconds only.
    const sure = mayGrow ? ttlSeconds : Math.max(ttlSeconds - 1, ttlSeconds / 4);
    this.#planFor(isForever ? Infinity : now + renewalMs(sure, random));
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
    this.#planFor(clock.monotonic() + backoffMs(++this.#failures, random));
  }

  #planFor(dueAt: number): void {
    this.#dueAt = dueAt;
    this.#wake.abort();
  }

  /**
   * After a refusal: whether our token is alive, and another one where it is not. Old versions of Vault refuse to look up a
   * token that is gone in the same words as one without the right to be looked up: then the next one is as unknown.
   */
  async #verify(): Promise<void> {
    const held = this.#held;
    if (held === undefined || this.#isBlind || (await this.#isKnown(held))) return;
    if (this.#held === held) this.#held = { ...held, endsAt: 0 };
    if (await this.#logIn()) this.#isBlind = !(await this.#isKnown(this.#held));
  }

  async #isKnown(held: Held | undefined): Promise<boolean> {
    if (held === undefined) return true;
    const found = await this.#options.vault.lookup(held.token, this.#ended.signal).catch(() => 'unknown');
    return found !== undefined;
  }
}
