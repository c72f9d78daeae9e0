import type { Unreadable } from '../plan/step.ts';

/**
 * Who we are to a server, as of now: a token that may be replaced, renewed or lost while requests are sent. Never logged
 * and never part of a message.
 */
export interface Credential {
  /** Why there is none now, and what to do; undefined: there is one. Told of by the `onChange` that it was opened with. */
  readonly trouble: Unreadable | undefined;
  /** What to send now. @throws TargetError while there is trouble. */
  token(): string;
  /**
   * The server refused a request that carried this token. Looks whether it is the token's fault, and gets another one.
   * @returns whether there is another one now, with which the request is worth repeating. Never throws.
   */
  replaced(refused: string): Promise<boolean>;
  /** Ends what follows or renews it. A token that was only ours is revoked, if that takes no long time. */
  close(): Promise<void>;
}

/** What a credential is opened with. */
export interface CredentialOptions {
  /** For messages: `NomadCluster default`. */
  readonly of: string;
  /** Told when `trouble` is not what it was. */
  readonly onChange: () => void;
}
