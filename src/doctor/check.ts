import type { Resource } from '../contract/resource.ts';
import type { NomadApi, VaultApi } from '../contract/target.ts';

export type Severity = 'error' | 'warning' | 'ok';

/** What a check found out about one thing. */
export interface Found {
  readonly severity: Severity;
  /** What it is about, as its server calls it: `token/ACCESSOR`, `role/auth/jwt-nomad/workloads`; empty for the server as a whole. */
  readonly object: string;
  /** What is wrong, in a sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly advice: string;
}

/** As `doctor -o json` prints it. */
export interface Finding extends Found {
  readonly check: string;
  /** Kind and name, such as `NomadCluster/default`. */
  readonly connection: string;
}

/** What a server answers to anybody. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  /** The server's clock against ours: positive where it is ahead; milliseconds. Undefined where it did not tell. */
  readonly aheadMs: number | undefined;
}

interface Patient {
  readonly name: string;
  /** Asks without a token, once. @throws Error where nobody answers. */
  readonly probe: (path: string, signal: AbortSignal) => Promise<Answer>;
  /** Why there is no token to ask with, where there is none: then `api` refuses everything. */
  readonly trouble: string | undefined;
}
export interface NomadPatient extends Patient {
  readonly kind: 'NomadCluster';
  readonly api: NomadApi;
  /** Whether its ACLs were ever bootstrapped; undefined where that can't be told. */
  readonly wasBootstrapped: (signal: AbortSignal) => Promise<boolean | undefined>;
}
export interface VaultPatient extends Patient {
  readonly kind: 'VaultServer';
  readonly api: VaultApi & {
    /** @returns the whole reply. @throws TargetError */
    leased<T>(method: 'GET' | 'PUT', path: string, data?: unknown, signal?: AbortSignal): Promise<T>;
  };
}

/** Everything around one check. */
export interface Setting {
  readonly nomads: readonly NomadPatient[];
  readonly vaults: readonly VaultPatient[];
  /** What is declared beside connections; empty where only connections are looked at. */
  readonly resources: readonly Resource[];
  /** Whether tokens may be made, to be revoked at once. */
  readonly makeToken: boolean;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface CheckOf<P extends Patient> {
  readonly name: string;
  /** What may be said where it finds nothing. */
  readonly fine: string;
  /** Where it finds an error, nothing more can be found out about that server. */
  readonly isBasic?: boolean;
  /** The kinds that it is for: a refusal counts only where one of them is declared, or nothing at all. */
  readonly concerns?: readonly string[];
  /** Makes tokens and revokes them at once: only where that was asked for. All others change nothing. */
  readonly makesTokens?: boolean;
  /** @returns what is not as it should be. @throws TargetError where it could not find out */
  look(patient: P, setting: Setting): Promise<readonly Found[]>;
}
export type NomadCheck = CheckOf<NomadPatient>;
export type VaultCheck = CheckOf<VaultPatient>;

export const problem = (object: string, message: string, advice: string): Found => ({
  severity: 'error',
  object,
  message,
  advice,
});
export const warning = (object: string, message: string, advice: string): Found => ({
  ...problem(object, message, advice),
  severity: 'warning',
});

/** Some names, and how many more. */
export function some(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${String(names.length - most)} more` : shown;
}
