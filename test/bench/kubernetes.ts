import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from '../e2e/cluster.ts';
import { cleanEnvironment, runCommand } from '../servers/command.ts';
import { startOperator, type RunningOperator } from '../e2e/running.ts';
import { readySeries } from '../e2e/operators.ts';
import { isApart, line, ratios, setApart, spread } from './figures.ts';
import { askFor } from './tracing.ts';

/**
 * From the first AclPolicy created to the last one Ready, on a real kube-apiserver and Nomad, beside a bare client that does the
 * same writes. BENCH_KUBERNETES policies, BENCH_ROUNDS rounds; servers and clients on a core each, unless BENCH_SHARED=1.
 */

const count = Number(process.env['BENCH_KUBERNETES'] ?? 1000);
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5);
/** Requests at once of the bare client: the best of them counts. */
const CONCURRENCIES = [8, 16, 32, 64];
/** Of the client that only creates. */
const CREATING = 32;

interface Span {
  readonly first: number;
  readonly last: number;
}

interface Traced {
  readonly lastStatus: number;
  readonly writes: Readonly<Record<string, number>>;
  readonly heapUsed: number;
}

const cluster = await Cluster.start();
const folder = mkdtempSync(join(tmpdir(), 'nomad-access-bench-'));
const env = {
  ...cleanEnvironment({ HOME: folder }),
  KUBE_ADDR: cluster.kubernetes.address,
  KUBE_TOKEN: cluster.kubernetes.adminToken,
  KUBE_CA: cluster.kubernetes.caFile,
  NOMAD_ADDR: cluster.nomad.address,
  NOMAD_TOKEN: cluster.nomad.token,
  BENCH_COUNT: String(count),
  TRACE_FILE: join(folder, 'trace.json'),
};
try {
  if (isApart) setApart([cluster.kubernetes.pid, cluster.kubernetes.etcdPid, cluster.nomad.pid]);
  const cores = isApart ? 'servers and clients on a core each' : 'servers and clients share the cores';
  console.log(
    `${String(count)} AclPolicies on a real kube-apiserver, ${cores}; median (min to max) of ${String(rounds)} rounds`,
  );
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
  await cluster.stop();
}

async function measure(): Promise<void> {
  const best = await bestConcurrency();
  const [bare, ours]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    bare.push(rate(await client('whole', best)));
    await wipe();
    ours.push(rate(await operated(round === rounds - 1)));
    await wipe();
  }
  line('from created to Ready, objects/s', spread(ours));
  line(`  bare client, ${String(best)} at once, objects/s`, spread(bare));
  line('  ratio', ratios(ours, bare));
}

async function bestConcurrency(): Promise<number> {
  const rates: [number, number][] = [];
  // The first one only warms the servers up.
  for (const atOnce of [32, ...CONCURRENCIES]) {
    rates.push([atOnce, rate(await client('whole', atOnce))]);
    await wipe();
  }
  return rates.slice(1).sort((a, b) => b[1] - a[1])[0]?.[0] ?? 32;
}

/** Creates them while an operator runs. @param isLast also restarts it, and tells what that writes and how large it is. */
async function operated(isLast: boolean): Promise<Span> {
  await cluster.connect();
  const operator = await start();
  const base = await ask(operator);
  const { first } = await client('create', CREATING);
  await operator.until(readySeries('AclPolicy'), count);
  await settled();
  const { lastStatus, heapUsed, writes } = await ask(operator);
  if (isLast) {
    line('  writes of the operator', text(writes));
    line('  heap, MB; bytes a resource', `${mb(heapUsed)}; ${((heapUsed - base.heapUsed) / count).toFixed(0)}`);
  }
  await end(operator);
  if (isLast) await restart();
  return { first, last: lastStatus };
}

async function restart(): Promise<void> {
  const operator = await start();
  await operator.until(readySeries('AclPolicy'), count);
  // Whatever it has to save is saved by the second renewal of its Lease.
  const renewals = 'nomad_access_requests_total{target="kubernetes",connection="api-server",verb="PUT",status="200"}';
  while ((await operator.metric(renewals)) < 3) await sleep(200);
  line('  writes of a restart', text((await ask(operator)).writes));
  await end(operator);
}

/** @throws Error where not everything was saved. */
async function end(operator: RunningOperator): Promise<void> {
  const code = await operator.stop();
  if (code !== 0) throw new Error(`the operator ended with ${String(code)}: ${operator.log().slice(-2000)}`);
}

async function start(): Promise<RunningOperator> {
  const kubeconfig = await cluster.kubeconfig();
  const node = ['--expose-gc', '--import', join(import.meta.dirname, 'trace-kubernetes.mjs')];
  const options = ['--source', 'kubernetes', '--kubeconfig', kubeconfig];
  const operator = await startOperator(options, env, { node, logFile: join(folder, 'operator.log') });
  await untilLeading(operator);
  return operator;
}

async function untilLeading(operator: RunningOperator): Promise<void> {
  while (!/^leader_election_master_status\{[^}]*\} 1$/m.test((await operator.get('/metrics')).text)) await sleep(50);
}

/** Until every status stands. */
async function settled(): Promise<void> {
  for (;;) {
    const path = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
    const states = (await cluster.kubectl('get', 'aclpolicies', '-o', `jsonpath=${path}`)).trim().split('\n');
    if (states.length === count && states.every((state) => state === 'True')) return;
    await sleep(100);
  }
}

async function client(what: 'create' | 'whole' | 'wipe', atOnce: number): Promise<Span> {
  const script = join(import.meta.dirname, 'bare-kubernetes.mjs');
  const { code, stdout, stderr } = await runCommand(process.execPath, [script, what], {
    env: { ...env, BENCH_AT_ONCE: String(atOnce) },
  });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Span;
}

/** Nothing is declared, recorded or live. */
async function wipe(): Promise<void> {
  await client('wipe', CREATING);
  await cluster.clear();
}

async function ask(operator: RunningOperator): Promise<Traced> {
  return JSON.parse(await askFor(env.TRACE_FILE, operator)) as Traced;
}

function rate({ first, last }: Span): number {
  return count / ((last - first) / 1000);
}

function text(writes: Traced['writes']): string {
  const parts = Object.entries(writes).map(([subject, n]) => `${String(n)} × ${subject}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
