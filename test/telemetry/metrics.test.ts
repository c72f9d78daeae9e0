import { describe, expect, it } from 'vitest';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { parseExposition, type Family } from './exposition.ts';
import { cluster, done, refusedConnection, step } from './steps.ts';

const KIND = 'AclPolicy';
const vault = { kind: 'VaultServer', name: 'default' } as const;
const none = { True: 0, False: 0, Unknown: 0 };

async function scrape(metrics: Metrics): Promise<Map<string, Family>> {
  return parseExposition(await metrics.text());
}

/** The value of one series; undefined where there is none. */
function valueOf(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number | undefined {
  const family = [...families].find(
    ([own]) => name === own || (name.startsWith(own) && /^_(bucket|sum|count)$/.test(name.slice(own.length))),
  )?.[1];
  return family?.samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
  )?.value;
}

function seriesWith(families: Map<string, Family>, text: string): string[] {
  return [...families.values()]
    .flatMap((family) => family.samples)
    .filter((sample) => Object.values(sample.labels).includes(text))
    .map((sample) => sample.name);
}

/** One of everything. */
function busy(metrics: Metrics): void {
  const { observer } = metrics;
  observer.queued(KIND, false);
  observer.queued(KIND, true);
  observer.started(KIND, 0.00002);
  observer.driftFound(step());
  observer.stepped(step(), refusedConnection, 0.1);
  observer.stepped(step(), done, 0.1);
  observer.driftCorrected(step(), 0.02);
  observer.finished(KIND, 0.03, 'success');
  observer.resources(KIND, { True: 3, False: 2, Unknown: 1 });
  observer.synced(cluster, true);
  observer.synced(vault, false, 'sealed');
  observer.requested('nomad', 'default', 'get', 200, 0.004);
  observer.requested('nomad', 'default', 'PUT', 0, 0.004);
  observer.requested('vault', 'default', 'LIST', 503, 0.004);
  observer.desired(6, [{ file: 'a', line: 1, column: 1, path: '', message: 'x' }], 5);
  observer.leading(true);
}

describe('the metrics', () => {
  it('are Prometheus text, each with its help and type', async () => {
    const metrics = createMetrics({ version: '1.2.3' });
    busy(metrics);
    const families = await scrape(metrics);
    for (const [name, family] of families) expect(family.help, name).not.toBe('');
    expect(families.size).toBeGreaterThan(30);
  });

  it('say what happened', async () => {
    const metrics = createMetrics({ version: '1.2.3', election: 'nomad-access/lock' });
    busy(metrics);
    const families = await scrape(metrics);
    const controller = { controller: KIND };
    const queue = { name: KIND, controller: KIND };
    const expected: [string, Record<string, string>, number][] = [
      ['controller_runtime_reconcile_total', { ...controller, result: 'success' }, 1],
      ['controller_runtime_reconcile_total', { ...controller, result: 'error' }, 0],
      ['controller_runtime_reconcile_errors_total', controller, 0],
      ['controller_runtime_reconcile_time_seconds_bucket', { ...controller, le: '0.05' }, 1],
      ['controller_runtime_reconcile_time_seconds_bucket', { ...controller, le: '0.025' }, 0],
      ['controller_runtime_active_workers', controller, 0],
      ['workqueue_depth', queue, 1],
      ['workqueue_adds_total', queue, 2],
      ['workqueue_retries_total', queue, 1],
      ['workqueue_queue_duration_seconds_bucket', { ...queue, le: '0.0001' }, 1],
      ['workqueue_queue_duration_seconds_bucket', { ...queue, le: '0.00001' }, 0],
      ['workqueue_work_duration_seconds_sum', queue, 0.03],
      ['leader_election_master_status', { name: 'nomad-access/lock' }, 1],
      ['nomad_access_resources', { kind: KIND, ready: 'True' }, 3],
      ['nomad_access_resources', { kind: KIND, ready: 'False' }, 2],
      ['nomad_access_resources', { kind: KIND, ready: 'Unknown' }, 1],
      ['nomad_access_drift_found_total', { kind: KIND }, 1],
      ['nomad_access_drift_corrected_total', { kind: KIND }, 1],
      ['nomad_access_drift_correction_seconds_bucket', { kind: KIND, le: '0.025' }, 1],
      ['nomad_access_drift_correction_seconds_bucket', { kind: KIND, le: '0.01' }, 0],
      ['nomad_access_changes_total', { kind: KIND, action: 'update', result: 'done' }, 1],
      ['nomad_access_changes_total', { kind: KIND, action: 'update', result: 'failed' }, 1],
      ['nomad_access_requests_total', { target: 'nomad', connection: 'default', verb: 'GET', status: '200' }, 1],
      ['nomad_access_requests_total', { target: 'nomad', connection: 'default', verb: 'PUT', status: '0' }, 1],
      ['nomad_access_requests_total', { target: 'vault', connection: 'default', verb: 'LIST', status: '503' }, 1],
      ['nomad_access_request_duration_seconds_count', { target: 'nomad', verb: 'GET' }, 1],
      ['nomad_access_synced', { kind: 'NomadCluster', connection: 'default' }, 1],
      ['nomad_access_synced', { kind: 'VaultServer', connection: 'default' }, 0],
      ['nomad_access_manifest_errors', {}, 1],
      ['nomad_access_resources_declared', {}, 6],
      ['nomad_access_deletions_held', {}, 5],
      ['nomad_access_build_info', { version: '1.2.3' }, 1],
    ];
    expect(expected.map(([name, labels]) => [name, labels, valueOf(families, name, labels)])).toEqual(expected);
    expect(valueOf(families, 'process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  it('have the buckets of controller-runtime, so that its dashboards work', async () => {
    const metrics = createMetrics({ version: '1' });
    busy(metrics);
    const families = await scrape(metrics);
    const bounds = (name: string): (number | undefined)[] =>
      families
        .get(name)
        ?.samples.filter((sample) => sample.name.endsWith('_bucket'))
        .map((sample) => Number(sample.labels['le']?.replace('+Inf', 'Infinity'))) ?? [];
    expect(bounds('workqueue_work_duration_seconds')).toEqual([
      ...[-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3].map((e) => Number(`1e${String(e)}`)),
      Infinity,
    ]);
    const reconcile = bounds('controller_runtime_reconcile_time_seconds');
    expect([reconcile.length, reconcile[0], reconcile[17], reconcile[39]]).toEqual([41, 0.005, 1, 60]);
  });

  it('show the election of a replica that has not led yet', async () => {
    const labels = { name: 'lock' };
    const waiting = await scrape(createMetrics({ version: '1', election: 'lock' }));
    expect(valueOf(waiting, 'leader_election_master_status', labels)).toBe(0);
    const alone = await scrape(createMetrics({ version: '1' }));
    expect(valueOf(alone, 'leader_election_master_status')).toBeUndefined();
  });

  it('take no broken durations and no made-up verbs and statuses', async () => {
    const metrics = createMetrics({ version: '1' });
    metrics.observer.started(KIND, Number.NaN);
    metrics.observer.finished(KIND, -5, 'requeue');
    metrics.observer.driftCorrected(step(), Number.POSITIVE_INFINITY);
    for (let i = 0; i < 100; i++) metrics.observer.requested('nomad', 'a', `VERB${String(i)}`, 10_000 + i, i);
    const families = await scrape(metrics);
    expect(families.get('nomad_access_requests_total')?.samples).toEqual([
      {
        name: 'nomad_access_requests_total',
        labels: { target: 'nomad', connection: 'a', verb: 'OTHER', status: '0' },
        value: 100,
      },
    ]);
    expect(valueOf(families, 'workqueue_work_duration_seconds_sum', { name: KIND })).toBe(0);
  });

  it('never fall below zero, whatever order the calls come in', async () => {
    const metrics = createMetrics({ version: '1' });
    metrics.observer.started(KIND, 0);
    metrics.observer.finished(KIND, 0, 'success');
    metrics.observer.finished(KIND, 0, 'success');
    const families = await scrape(metrics);
    expect(valueOf(families, 'workqueue_depth', { name: KIND })).toBe(0);
    expect(valueOf(families, 'controller_runtime_active_workers', { controller: KIND })).toBe(0);
  });

  it('escape what a connection is called', async () => {
    const metrics = createMetrics({ version: '"\\\n' });
    expect(valueOf(await scrape(metrics), 'nomad_access_build_info', { version: '"\\\n' })).toBe(1);
  });
});

describe('series', () => {
  it('of a connection go with it, and only those of that kind', async () => {
    const metrics = createMetrics({ version: '1' });
    busy(metrics);
    metrics.observer.disconnected(cluster);
    // A reply that was under way.
    metrics.observer.requested('nomad', 'default', 'GET', 200, 0.1);
    const families = await scrape(metrics);
    expect(seriesWith(families, 'default').sort()).toEqual(['nomad_access_requests_total', 'nomad_access_synced']);
    expect(valueOf(families, 'nomad_access_synced', { kind: 'VaultServer' })).toBe(0);
    expect(valueOf(families, 'nomad_access_requests_total', { target: 'nomad' })).toBeUndefined();
  });

  it('of a connection come back with it, from zero', async () => {
    const metrics = createMetrics({ version: '1' });
    busy(metrics);
    metrics.observer.disconnected(cluster);
    metrics.observer.synced(cluster, false);
    metrics.observer.requested('nomad', 'default', 'GET', 200, 0.1);
    const families = await scrape(metrics);
    expect(valueOf(families, 'nomad_access_requests_total', { target: 'nomad', verb: 'GET' })).toBe(1);
    expect(valueOf(families, 'nomad_access_synced', { kind: 'NomadCluster' })).toBe(0);
  });

  it('of a kind go with its last resource, once the last deletion was scraped', async () => {
    const metrics = createMetrics({ version: '1' });
    busy(metrics);
    metrics.observer.started(KIND, 0);
    metrics.observer.resources(KIND, none);
    metrics.observer.stepped(step({ action: 'delete' }), done, 0);
    const during = await scrape(metrics);
    expect(valueOf(during, 'nomad_access_resources', { kind: KIND })).toBeUndefined();
    expect(valueOf(during, 'nomad_access_changes_total', { kind: KIND, action: 'delete' })).toBe(1);
    metrics.observer.finished(KIND, 0, 'success');
    const last = await scrape(metrics);
    expect(valueOf(last, 'controller_runtime_reconcile_total', { controller: KIND, result: 'success' })).toBe(2);
    expect(seriesWith(await scrape(metrics), KIND)).toEqual([]);
  });

  it('of a kind stay where a new resource comes before the scrape', async () => {
    const metrics = createMetrics({ version: '1' });
    metrics.observer.resources(KIND, none);
    metrics.observer.stepped(step(), done, 0);
    metrics.observer.resources(KIND, none);
    metrics.observer.resources(KIND, { ...none, True: 1 });
    await scrape(metrics);
    const families = await scrape(metrics);
    expect(valueOf(families, 'nomad_access_changes_total', { kind: KIND })).toBe(1);
    expect(valueOf(families, 'nomad_access_resources', { kind: KIND, ready: 'True' })).toBe(1);
  });

  it('stay as many over a thousand connections that come and go', async () => {
    const metrics = createMetrics({ version: '1' });
    const before = (await metrics.text()).split('\n').length;
    for (let i = 0; i < 1_000; i++) {
      const connection = { kind: 'NomadCluster', name: `c-${String(i)}` };
      metrics.observer.synced(connection, true);
      metrics.observer.requested('nomad', connection.name, 'GET', 200, 0.1);
      metrics.observer.disconnected(connection);
    }
    expect(seriesWith(await scrape(metrics), 'c-500')).toEqual([]);
    // The durations of GET requests are what is left.
    expect((await metrics.text()).split('\n').length - before).toBeLessThan(25);
  });
});
