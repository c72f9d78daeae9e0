import type { Unreadable } from '../plan/step.ts';

/**
 * Who we are to a server, as of now: a text that may be replaced, renewed or lost while requests are sent. Never logged
 * and never part of a message.
 */
export interface Credential {
  /** Why there is none now, and what to do; undefined: there is one. */
  readonly trouble: Unreadable | undefined;
  /** What to send now. @throws TargetError while there is trouble. */
  token(): string;
  /**
   * The server refused a request that carried this. Looks whether that is the credential's fault, and gets another one.
   * @returns whether there is another one now, with which the request is worth repeating. Never throws.
   */
  replaced(refused: string): Promise<boolean>;
  /** Ends what follows or renews it. A token that was only ours is revoked, if that takes no long time. Never throws. */
  close(): Promise<void>;
}

/** A token that stays what it is. */
export function fixedCredential(token: string): Credential {
  return {
    trouble: undefined,
    token: () => token,
    replaced: () => Promise.resolve(false),
    close: () => Promise.resolve(),
  };
}

/** A token of Vault's, with the time that it has. */
export interface VaultLease {
  readonly token: string;
  /** 0: it never ends. */
  readonly ttlSeconds: number;
  readonly isRenewable: boolean;
}

/** What Vault does with the tokens themselves. One try each: whoever asks tries again. */
export interface VaultTokens {
  /** @param path `auth/kubernetes/login` @throws TargetError */
  login(path: string, body: Readonly<Record<string, string>>, signal: AbortSignal): Promise<VaultLease>;
  /** @throws TargetError */
  renew(token: string, signal: AbortSignal): Promise<VaultLease>;
  /** @returns undefined where Vault knows no such token (any more). @throws TargetError */
  lookup(token: string, signal: AbortSignal): Promise<VaultLease | undefined>;
  /** @throws TargetError */
  revoke(token: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
