import { createHash } from 'node:crypto';
import type { VariablesApi } from './variables.ts';

/**
 * What the kinds may ask of the servers. The targets implement it: connection limits, retries inside a request,
 * and the translation of every failure into a TargetError are theirs.
 */

/** A reply of Nomad; `index` is X-Nomad-Index, 0 where the server sent none. */
export interface NomadReply<T> {
  readonly body: T;
  readonly index: number;
}

/** A list of Nomad as it stood at `index`. */
export interface NomadList<T> {
  readonly items: readonly T[];
  readonly index: number;
}

/** A change that Nomad's event stream tells of. `Type` ends in Upserted or Deleted. */
export interface NomadEvent {
  readonly Topic: string;
  readonly Type: string;
  /** A policy's name, a token's accessor ID. */
  readonly Key: string;
  readonly Index: number;
  readonly Payload: unknown;
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One Nomad region's HTTP API. Paths begin with `/v1/`. */
export interface NomadApi {
  /** Where it is reached, without a trailing slash: `http://127.0.0.1:4646`. */
  readonly address: string;
  /** @returns undefined for 404. @throws TargetError */
  get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<NomadReply<T> | undefined>;
  /** Every page of a list; the index is that of the first one. @throws TargetError */
  list<T>(path: string, query?: Query, signal?: AbortSignal): Promise<NomadList<T>>;
  /** Idempotent: tried again after a lost reply. @throws TargetError */
  put<T>(path: string, body: unknown, signal?: AbortSignal): Promise<NomadReply<T>>;
  /** Not idempotent: a lost reply is an error with `ambiguous`. @throws TargetError */
  post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<NomadReply<T>>;
  /** Idempotent. @returns the index of the deletion; 0 where the object was gone already. @throws TargetError */
  delete(path: string, signal?: AbortSignal): Promise<number>;
  /** The regions of the federation, as of a minute ago at most; one where there is none. @throws TargetError */
  regions(signal?: AbortSignal): Promise<readonly string[]>;
  /**
   * Waits until an object that was written or deleted is so in the region of this connection: what all regions share is
   * written in the authoritative one, and comes to the others a moment later, under an index of its own in each.
   * @param isSo of the object's body, undefined where there is none.
   * @returns undefined, without a request, where there is but one region.
   * @throws TargetError; also where it does not come within 20 s.
   */
  arrival<T>(
    path: string,
    isSo: (body: T | undefined) => boolean,
    signal?: AbortSignal,
  ): Promise<{ readonly body: T | undefined; readonly index: number } | undefined>;
  /** Waits until every other region that answers knows an object that all of them have, or 5 s are over. Never throws. */
  everywhere(path: string): Promise<void>;
  /**
   * The event stream: the events of each line, none for a heartbeat. The first line, a heartbeat, says that the
   * subscription stands; then what the buffer of the server still holds is told again. It ends when the stream does.
   * @param from nothing older than this index is told again; 0, the default, for all of it. Where it is ahead of the server's, the last event is.
   * @throws TargetError; also where Nomad answers 200 and then nothing, as it does to a token without the right.
   */
  events(topics: readonly string[], signal: AbortSignal, from?: number): AsyncIterable<readonly NomadEvent[]>;
  /** Waits until a list has moved beyond an index (a blocking query). @returns its index then. @throws TargetError */
  moved(path: string, index: number, signal: AbortSignal): Promise<number>;
}

/** One Vault (and Enterprise namespace). Paths are relative to `/v1/`, without a leading slash. */
export interface VaultApi {
  readonly address: string;
  /** The Enterprise namespace that every request names, if any. */
  readonly namespace: string | undefined;
  /** @returns the reply's `data`, or undefined for 404. @throws TargetError */
  read<T>(path: string, signal?: AbortSignal): Promise<T | undefined>;
  /** @returns the names under the path; empty for 404. @throws TargetError */
  list(path: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** @throws TargetError with every error that Vault named. */
  write(path: string, data: unknown, signal?: AbortSignal): Promise<void>;
  /** Idempotent; a missing object is no error. @throws TargetError */
  delete(path: string, signal?: AbortSignal): Promise<void>;
  /** The same server and credential, with every request in another namespace; undefined: the root. */
  in(namespace: string | undefined): VaultApi;
}

/** Secret files on the machine that runs us: the `file` sink. Paths are absolute. */
export interface FileApi {
  /** @returns undefined where there is no file. @throws TargetError, also where the path is no regular file. */
  read(path: string): Promise<{ readonly content: string; readonly mode: number } | undefined>;
  /** Atomic, mode 0600, parents 0700. @throws TargetError */
  write(path: string, content: string): Promise<void>;
  /** @throws TargetError; a missing file is no error. */
  remove(path: string): Promise<void>;
  /** Removes what a write that was interrupted may have left beside the file, and not the file. @throws TargetError */
  discard(path: string): Promise<void>;
}

/** A Kubernetes Secret, without what it holds. */
export interface StoredSecret {
  readonly uid: string;
  /** Another one after every write of anybody. */
  readonly resourceVersion: string;
  /** Key → `digestOf` what is there. */
  readonly digests: Readonly<Record<string, string>>;
  /** The AclToken that our label and annotation say it is written for; undefined where one of them is missing. */
  readonly writtenFor: string | undefined;
  /** The uids of its owners: Kubernetes deletes it once none of them is there any more. */
  readonly owners: readonly string[];
}

/** What we have in a Secret. Everything else in it stays as it is. */
export interface SecretContent {
  readonly namespace: string;
  readonly name: string;
  /** null: the key goes. */
  readonly data: Readonly<Record<string, string | null>>;
  /** The AclToken that it is written for. */
  readonly writtenFor: string;
  /** The uid of that AclToken, which shall own it; undefined where it shall outlive it. */
  readonly owner: string | undefined;
}

/** Secrets of a Kubernetes API server: the `kubernetesSecret` sink. */
export interface KubernetesSecretApi {
  /** Sees what `write` and `remove` have done. @returns undefined where there is none. @throws TargetError */
  read(namespace: string, name: string, signal?: AbortSignal): Promise<StoredSecret | undefined>;
  /**
   * Makes a Secret, or changes the one that was read.
   * @param was undefined: there was none.
   * @throws TargetError; `transient` with status 409 where it is not, or no longer, what was read: then nothing is written.
   */
  write(content: SecretContent, was: Pick<StoredSecret, 'resourceVersion'> | undefined): Promise<StoredSecret>;
  /** Removes the Secret of that uid; one that is gone is no error, and another one of that name stays. @throws TargetError */
  remove(namespace: string, name: string, uid: string): Promise<void>;
}

/** Where a secret stands that somebody else made, and that a kind sends to a server. */
export type SecretPlace =
  | { readonly from: 'kubernetes'; readonly namespace: string; readonly name: string; readonly key: string }
  /** Both of the manifest that names it. @param folder absolute. @param path relative to it. */
  | { readonly from: 'file'; readonly folder: string; readonly path: string }
  | { readonly from: 'variable'; readonly name: string };

/** What a variable must be called by whose secret manifests may have us send: they must not get at any other one. */
export const SECRET_VARIABLE_PREFIX = 'NOMAD_ACCESS_SECRET_';

/** Secrets that kinds send to servers. */
export interface SecretSourceApi {
  /**
   * As it stands now, without outer white space; never empty.
   * @throws TargetError `dependency` where there is none, or it is none that may be sent; `transient` where that is not known.
   */
  read(place: SecretPlace, signal?: AbortSignal): Promise<string>;
}

/** Tells one random secret from another, and does not tell what it is. */
export function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** Secrets on their way from the create that made them to their sink; in memory only, each handed over once. */
export interface SecretHandover {
  put(accessorId: string, secretId: string): void;
  take(accessorId: string): string | undefined;
}

/** Everything outside that a kind can reach. */
export interface Io {
  /** @throws TargetError `dependency` where no such connection exists or its credential could not be had. */
  nomad(connection: string): NomadApi;
  /** The variables of that Nomad. @throws as `nomad` */
  variables(connection: string): VariablesApi;
  vault(connection: string): VaultApi;
  readonly files: FileApi;
  readonly kubernetesSecrets: KubernetesSecretApi;
  readonly secretSources: SecretSourceApi;
  readonly secrets: SecretHandover;
}
