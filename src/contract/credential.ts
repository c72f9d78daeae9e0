import type { Unreadable } from '../plan/step.ts';
import type { Fields } from '../plan/value.ts';

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

/** A token that is given for a time. */
export interface Lease {
  readonly token: string;
  /** 0: it never ends. */
  readonly ttlSeconds: number;
  /** Whether a renewal may make it last longer. */
  readonly isRenewable: boolean;
  /** What it is renewed and revoked by, where that is not the token itself: a lease ID of Vault's, an accessor ID of Nomad's. */
  readonly id?: string;
}

/** What Vault does with the tokens themselves. One try each: whoever asks tries again. */
export interface VaultTokens {
  /** @param path `auth/kubernetes/login` @throws TargetError */
  login(path: string, body: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Lease>;
  /** @throws TargetError */
  renew(token: string, signal: AbortSignal): Promise<Lease>;
  /** @returns undefined where Vault knows no such token (any more). @throws TargetError */
  lookup(token: string, signal: AbortSignal): Promise<Lease | undefined>;
  /** @throws TargetError */
  revoke(token: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What Nomad says to a request to bootstrap its ACLs: `invalid` where it would have, but the SecretID is no UUID. */
export type BootstrapReply = 'done' | 'done before' | 'invalid';

/** What Nomad does with the tokens that we act by. One try each. */
export interface NomadTokens {
  /**
   * Asks for the first management token of the cluster, with a SecretID that was chosen by whoever asks.
   * @throws TargetError, which never repeats the SecretID; `transient` where there is no leader (yet).
   */
  bootstrap(secretId: string, signal: AbortSignal): Promise<BootstrapReply>;
  /** @param method name of an auth method @param jwt what it takes @throws TargetError, which never repeats the JWT. */
  login(method: string, jwt: string, signal: AbortSignal): Promise<Lease>;
  /** Until the region knows a token: one that another region made comes there later. @throws TargetError after a while. */
  arrived(token: string, signal: AbortSignal): Promise<void>;
  /** @returns undefined where Nomad knows no such token (any more), or it has ended. @throws TargetError */
  lookup(token: string, signal: AbortSignal): Promise<{ readonly accessorId: string } | undefined>;
  /** Deletes the token, with its own right. @throws TargetError */
  remove(lease: Lease, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Leases of Vault's secrets engine for Nomad. One try each. */
export interface NomadLeases {
  /** @param path `nomad/creds/operator` @throws TargetError */
  issue(path: string, signal: AbortSignal): Promise<Lease>;
  /** @throws TargetError */
  renew(lease: Lease, signal: AbortSignal): Promise<Lease>;
  /** @throws TargetError */
  revoke(lease: Lease, signal: AbortSignal): Promise<void>;
}

/** A live object without which a connection gets no credential. */
export interface LoginNeed {
  /** The connection that the object is on: another one where Vault gives a token for Nomad. */
  readonly connection: string;
  readonly type: string;
  /** Without one, any object of the type will do that has the fields. */
  readonly name?: string;
  /** What the object must hold for that. */
  readonly fields: Fields;
}

/** Where the first management token of a cluster is kept. What is there is never written over. */
export interface TokenPlace {
  /** For messages: `/etc/nomad/token`, `key "token" of Secret nomad/management` */
  readonly name: string;
  /** @returns undefined where there is nothing. @throws TargetError where there is something, but no token. */
  read(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Whole or not at all, and to last.
   * @returns false where something was there already: then nothing was written.
   * @throws TargetError
   */
  create(token: string, signal: AbortSignal): Promise<boolean>;
}
