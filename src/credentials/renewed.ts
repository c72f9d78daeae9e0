import { untilAborted, type Clock } from '../contract/clock.ts';
import type { Credential, Lease, VaultTokens } from '../contract/credential.ts';
import { TargetError } from '../contract/errors.ts';
import { backoffMs, LONGEST_SLEEP_MS, renewalMs } from './renewal.ts';

export interface RenewedOptions {
  readonly vault: VaultTokens;
  readonly clock: Clock;
  /** Between 0 and 1. */
  readonly random: () => number;
}

/** A token of Vault's that somebody else made, renewed while that makes it last longer. It is not revoked at the end. */
export class RenewedCredential implements Credential {
  readonly #of: Credential;
  readonly #options: RenewedOptions;
  readonly #ended = new AbortController();
  readonly #kept: Promise<void>;
  #wake = new AbortController();

  constructor(of: Credential, options: RenewedOptions) {
    this.#of = of;
    this.#options = options;
    this.#kept = this.#keep();
  }

  get trouble(): Credential['trouble'] {
    return this.#of.trouble;
  }

  token(): string {
    return this.#of.token();
  }

  replaced(refused: string): Promise<boolean> {
    return this.#of.replaced(refused);
  }

  /** There may be another token. */
  changed(): void {
    this.#wake.abort();
  }

  async close(): Promise<void> {
    this.#ended.abort();
    this.#wake.abort();
    await this.#kept;
    await this.#options.vault.close();
    await this.#of.close();
  }

  async #keep(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      this.#wake = new AbortController();
      if (this.#of.trouble === undefined) await this.#renewing(this.#of.token(), this.#wake.signal);
      await untilAborted(this.#wake.signal);
    }
  }

  /** Returns when the token is another one, or ends whatever we do. */
  async #renewing(token: string, changed: AbortSignal): Promise<void> {
    const { vault, clock, random } = this.#options;
    const signal = AbortSignal.any([changed, this.#ended.signal]);
    let renewed: Lease | undefined;
    let failures = 0;
    const ask = async (): Promise<Lease | undefined> =>
      isLookedUp ? vault.renew(token, signal) : vault.lookup(token, signal);
    let isLookedUp = false;
    while (!signal.aborted) {
      try {
        const lease = await ask();
        if (lease === undefined || !lease.isRenewable || lease.ttlSeconds === 0) return;
        if (renewed !== undefined && lease.ttlSeconds < renewed.ttlSeconds) return;
        if (isLookedUp) renewed ??= lease;
        isLookedUp = true;
        failures = 0;
        await clock
          .sleep(Math.min(renewalMs(lease.ttlSeconds, random), LONGEST_SLEEP_MS), signal)
          .catch(() => undefined);
      } catch (error) {
        if (!(error instanceof TargetError) || error.class !== 'transient') return;
        await clock.sleep(backoffMs(++failures, random), signal).catch(() => undefined);
      }
    }
  }
}
