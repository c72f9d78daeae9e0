import { resolve } from 'node:path';
import type { Waiting } from '../contract/clock.ts';
import type { NomadTokens, TokenPlace } from '../contract/credential.ts';
import { messageOf, TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import { bootstrapped, type Bootstrapped } from '../credentials/bootstrap.ts';
import { backoffMs } from '../credentials/renewal.ts';
import { tokenFile } from '../credentials/token-file.ts';
import { tokenSecret } from '../credentials/token-secret.ts';
import type { DeclaredConnection } from './connections.ts';

/** Whether the Nomad of a NomadCluster may be bootstrapped, its token going to the place of that name. */
export type MayBootstrap = (cluster: string, place: string) => Promise<boolean>;

/** For what is told beforehand what to do. */
export const always: MayBootstrap = () => Promise.resolve(true);

/** How long a command waits for a Nomad that has no leader yet, or does not answer; milliseconds. */
const PATIENCE_MS = 30_000;

/** Where a NomadCluster's management token is, or goes. @throws UsageError where it comes from a place that can't be written. */
export function tokenPlace(
  { name, folder, spec: { auth } }: DeclaredConnection,
  kubernetes: KubernetesApi | undefined,
): TokenPlace {
  const { tokenFile: file, tokenSecretRef } = auth;
  const field = `NomadCluster ${name}: spec.auth`;
  if (tokenSecretRef !== undefined) {
    if (kubernetes !== undefined) return tokenSecret(kubernetes, tokenSecretRef);
    throw new UsageError(`${field}.tokenSecretRef needs the Kubernetes source; use tokenFile`);
  }
  if (file === undefined) throw new UsageError(`${field} names no place that a token can be written to: use tokenFile`);
  if (kubernetes === undefined) return tokenFile(resolve(folder, file));
  throw new UsageError(`${field}.tokenFile would end with the pod: to bootstrap from Kubernetes, use tokenSecretRef`);
}

export interface PatientBootstrap {
  readonly clock: Waiting;
  readonly connection: DeclaredConnection;
  readonly place: TokenPlace;
  readonly nomad: NomadTokens;
  /** Between 0 and 1. */
  readonly random: () => number;
  readonly signal?: AbortSignal;
}

/** For commands that end: what may pass is waited for a while. @throws UsageError, TargetError, the signal's reason */
export async function bootstrapPatiently(
  { connection, place, nomad, clock, random, signal = new AbortController().signal }: PatientBootstrap,
  mayBegin: MayBootstrap,
): Promise<Bootstrapped> {
  const { name } = connection;
  const end = clock.monotonic() + PATIENCE_MS;
  let answer: Promise<boolean> | undefined;
  const ask = (): Promise<boolean> => (answer ??= mayBegin(name, place.name));
  for (let failures = 1; ; failures++) {
    try {
      return await bootstrapped({ nomad, place, mayBegin: ask, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TargetError)) throw error;
      const isOver = clock.monotonic() > end;
      if (error.class !== 'transient' || isOver) throw new UsageError(`NomadCluster ${name}: ${messageOf(error)}`);
      await clock.sleep(backoffMs(failures, random), signal);
    }
  }
}
