import { UsageError } from '../../contract/errors.ts';
import { createTelemetry, serveOperations, type LogFormat, type LogLevel } from '../../telemetry/index.ts';
import { placesOf, placeText, type ManifestOptions } from '../options.ts';
import { runDirectory } from '../run-directory.ts';
import { openCluster, runKubernetes, type KubernetesOptions } from '../run-kubernetes.ts';
import { VERSION } from '../version.ts';

export interface RunOptions extends ManifestOptions, KubernetesOptions {
  readonly source: 'directory' | 'kubernetes';
  readonly listen: string;
  readonly allowMassDelete: boolean;
  readonly logFormat: LogFormat;
  readonly logLevel: LogLevel;
}

/** Options that only make sense with one of the sources. */
const OF_SOURCE = {
  directory: ['file', 'state', 'acceptAddressChange'],
  kubernetes: ['namespace', 'kubeconfig', 'context', 'leaseNamespace'],
} as const;

/** The operator: follows what is declared and the live servers, and keeps them equal until it is stopped. */
export async function run(options: RunOptions, stop: AbortSignal): Promise<number> {
  refuseMixed(options);
  const source = await sourceOf(options);
  const telemetry = createTelemetry({
    version: VERSION,
    ...(source.election !== undefined && { election: source.election }),
    log: { format: options.logFormat, level: options.logLevel },
  });
  const server = await serveOperations({ listen: options.listen, telemetry });
  telemetry.log.info(`nomad-access ${VERSION} runs; ${server.url}/metrics`);
  try {
    await source.run(telemetry.observer, stop);
    telemetry.log.info('stopped: what was begun is done and saved');
    return 0;
  } catch (error) {
    if (stop.aborted && error === stop.reason) return 0;
    if (error instanceof UsageError) telemetry.log.error(error.message);
    throw error;
  } finally {
    await server.close();
  }
}

interface Source {
  /** What replicas elect their leader by; undefined where there is but one. */
  readonly election: string | undefined;
  readonly run: (observer: ReturnType<typeof createTelemetry>['observer'], stop: AbortSignal) => Promise<void>;
}

async function sourceOf(options: RunOptions): Promise<Source> {
  if (options.source === 'kubernetes') {
    const cluster = await openCluster(options);
    return { election: cluster.election, run: (observer, stop) => runKubernetes({ options, cluster, observer, stop }) };
  }
  if ((options.file ?? []).length === 0)
    throw new UsageError('which manifests? Give -f FOLDER, or --source kubernetes for those of an API server');
  const places = await placesOf(options, process.cwd());
  return {
    election: places.state.in === 'nomad' ? placeText(places.state) : undefined,
    run: (observer, stop) => runDirectory({ options, places, observer, stop }),
  };
}

/** @throws UsageError */
function refuseMixed(options: RunOptions): void {
  const others = options.source === 'directory' ? OF_SOURCE.kubernetes : OF_SOURCE.directory;
  const given = others.find((name) => options[name] !== undefined);
  if (given === undefined) return;
  const flag = `--${given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new UsageError(
    options.source === 'directory'
      ? `${flag} needs --source kubernetes`
      : `${flag} makes no sense with --source kubernetes, where manifests come from the API server`,
  );
}
