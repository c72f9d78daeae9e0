import type { Clock } from '../contract/clock.ts';
import type { Credential, Lease } from '../contract/credential.ts';
import { messageOf, TargetError } from '../contract/errors.ts';
import type { Unreadable } from '../plan/step.ts';
import { withoutCredential } from './credential-text.ts';
import { SharedLook } from './shared-look.ts';
import { backoffMs, LONGEST_SLEEP_MS, renewalMs } from './renewal.ts';

/** Who gives tokens that end. Each does one try: whoever asks tries again. */
export interface Issuer {
  /** For messages: `auth/kubernetes/login` */
  readonly name: string;
  /** A new token. @throws TargetError */
  issue(signal: AbortSignal): Promise<Lease>;
  /** Until a new token can be used. @throws TargetError where it takes too long. */
  arrived?(lease: Lease, signal: AbortSignal): Promise<void>;
  /** Asked only of what is renewable. @throws TargetError */
  renew(lease: Lease, signal: AbortSignal): Promise<Lease>;
  /** Whether the token is alive. @throws TargetError where that can't be told. */
  isKnown(lease: Lease, signal: AbortSignal): Promise<boolean>;
  /** @throws TargetError */
  revoke(lease: Lease, signal: AbortSignal): Promise<void>;
  /** Whether one that was replaced is revoked at once: those that are left to end by themselves pile up. */
  readonly revokesReplaced: boolean;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly issuer: Issuer;
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
  readonly lease: Lease;
  /** As it was when we logged in. */
  readonly ttlSeconds: number;
  /** Monotonic. */
  readonly endsAt: number;
  /** Whether a renewal makes it last longer. */
  readonly mayGrow: boolean;
}

/** Before a token that was found alive is looked up again because a request was refused; milliseconds. */
const PAUSE_MS = 1_000;
/** How long the end waits for the issuer; milliseconds. */
const REVOKE_MS = 5_000;

/**
 * A login, kept up: the token is renewed while that makes it last longer, replaced before it ends, and at once where it
 * was revoked.
 */
export class Session implements Credential {
  readonly #options: SessionOptions;
  readonly #ended = new AbortController();
  readonly #looks: SharedLook;
  #held: Held | undefined;
  #trouble: Unreadable | undefined;
  #login: Promise<boolean> | undefined;
  #failures = 0;
  /** Our tokens may not look themselves up. */
  #isBlind = false;
  /** Until all that were replaced are revoked. */
  #revoking: Promise<unknown> = Promise.resolve();
  /** Monotonic: when there is something to do. */
  #dueAt = 0;
  #wake = new AbortController();
  #kept: Promise<void> = Promise.resolve();

  private constructor(options: SessionOptions) {
    this.#options = options;
    this.#looks = new SharedLook(options.clock, PAUSE_MS, () => this.#verify());
    this.#trouble = { error: `${options.issuer.name}: the login is under way`, reason: 'Unavailable' };
  }

  /** Logs in. It is a session also where that failed: it tries again, and says so in `trouble`. */
  static async open(options: SessionOptions): Promise<Session> {
    const session = new Session(options);
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
    if (this.#held !== undefined) return this.#held.lease.token;
    throw withoutCredential(this.#trouble ?? { error: 'not logged in', reason: 'Unavailable' });
  }

  async replaced(refused: string): Promise<boolean> {
    if (this.#held?.lease.token === refused) await this.#looks.again();
    return this.#held !== undefined && this.#held.lease.token !== refused;
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
    if (this.#held !== undefined) await this.#revoke(this.#held.lease);
    this.#held = undefined;
    await this.#revoking;
    await this.#options.issuer.close();
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
      const lease = await this.#options.issuer.renew(held.lease, this.#ended.signal);
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
    const { issuer } = this.#options;
    try {
      const lease = await issuer.issue(this.#ended.signal);
      await issuer.arrived?.(lease, this.#ended.signal).catch((error: unknown) => {
        this.#revoking = this.#revoke(lease);
        throw error;
      });
      const before = this.#held?.lease;
      this.#hold(lease, lease.ttlSeconds);
      if (issuer.revokesReplaced && before !== undefined) this.#revoking = this.#revoke(before);
      return true;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  /** Once it is of no more use. A token that is lost already, or can't be revoked now, ends by itself. */
  async #revoke(lease: Lease): Promise<void> {
    await Promise.all([
      this.#revoking,
      this.#options.issuer.revoke(lease, AbortSignal.timeout(REVOKE_MS)).catch(() => undefined),
    ]);
  }

  #hold(lease: Lease, firstSeconds: number): void {
    const { clock, random } = this.#options;
    const now = clock.monotonic();
    const { ttlSeconds, isRenewable } = lease;
    const isNew = this.#held?.lease.token !== lease.token;
    const isForever = ttlSeconds === 0 && firstSeconds === 0;
    const mayGrow = isRenewable && ttlSeconds >= firstSeconds;
    this.#held = {
      lease,
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
    return this.#options.issuer.isKnown(held.lease, this.#ended.signal).catch(() => true);
  }
}
