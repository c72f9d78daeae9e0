import { systemClock } from '../../contract/clock.ts';
import { UsageError } from '../../contract/errors.ts';
import type { NomadClusterSpec } from '../../kinds/nomad-cluster/index.ts';
import { printable } from '../../plan/render.ts';
import { connectionsIn, type DeclaredConnection } from '../connections.ts';
import { always, bootstrapPatiently, tokenPlace } from '../bootstrapping.ts';
import { openNomadTokens } from '../opening.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import { validManifests } from '../session.ts';
import type { Terminal } from '../terminal.ts';

export interface BootstrapOptions extends Pick<ManifestOptions, 'file' | 'allowAddress'> {
  readonly output: Output;
}

/** As `-o json` prints it. */
interface Outcome {
  /** metadata.name of the NomadCluster. */
  readonly cluster: string;
  readonly result: 'bootstrapped' | 'bootstrapped before';
  /** Of the token in the place. */
  readonly accessorId: string;
  /** Where the token is. */
  readonly place: string;
}

/**
 * Bootstraps the ACLs of Nomad, once: the named NomadCluster, or those that declare it. Done before with the token in its
 * place is fine; exit code 1 where it was done with another one.
 */
export async function bootstrap(
  options: BootstrapOptions,
  name: string | undefined,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { resources } = await validManifests(options, signal);
  const { env } = process;
  const connections = connectionsIn(resources, env);
  const meant = meantBy(name, connections);
  // Whatever is wrong with one is told before anything is done to another.
  const places = meant.map((connection) => ({ connection, place: tokenPlace(connection, undefined) }));
  const access = { env, allowed: options.allowAddress ?? [], connections };
  const outcomes: Outcome[] = [];
  for (const { connection, place } of places) {
    const nomad = openNomadTokens(connection, access);
    const how = { connection, place, nomad, clock: systemClock, random: Math.random, signal };
    const { accessorId, isNew } = await bootstrapPatiently(how, always).finally(() => nomad.close());
    const result = isNew ? 'bootstrapped' : 'bootstrapped before';
    const outcome: Outcome = { cluster: connection.name, result, accessorId, place: place.name };
    outcomes.push(outcome);
    if (options.output !== 'json') terminal.out(printable(sentence(outcome)));
  }
  if (options.output === 'json') terminal.out(JSON.stringify({ clusters: outcomes }, null, 2));
  return 0;
}

/** @throws UsageError */
function meantBy(name: string | undefined, connections: readonly DeclaredConnection[]): readonly DeclaredConnection[] {
  const clusters = connections.filter((c) => c.kind === 'NomadCluster');
  if (name !== undefined) {
    const found = clusters.filter((c) => c.name === name);
    if (found.length === 0) throw new UsageError(`there is no NomadCluster named ${name} in the manifests`);
    return found;
  }
  const declared = clusters.filter(({ spec }) => (spec as NomadClusterSpec).bootstrap !== undefined);
  if (declared.length > 0) return declared;
  throw new UsageError('no NomadCluster has spec.bootstrap: set it to {}, or give the name of one');
}

function sentence({ cluster, result, accessorId, place }: Outcome): string {
  return result === 'bootstrapped'
    ? `NomadCluster ${cluster}: ACLs are bootstrapped. The management token (accessor ${accessorId}) is in ${place}.`
    : `NomadCluster ${cluster}: nothing to do. ACLs are bootstrapped, and the token in ${place} (accessor ${accessorId}) is known there.`;
}
