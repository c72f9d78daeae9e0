import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pLimit from 'p-limit';
import { LiveNomad } from '../e2e/live.ts';
import { manifest } from '../e2e/workspace.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';

/** What trace.mjs notes; times in milliseconds since the process began. */
interface Trace {
  readonly requests: number;
  readonly writes: number;
  readonly reads: Readonly<Record<string, number>>;
  readonly firstWrite: number;
  readonly lastWrite: number;
  readonly total: number;
}

export interface Figures {
  /** Writes a second from the first to the last write, of each round. */
  readonly bare: readonly number[];
  readonly ours: readonly number[];
  /** Ours by bare, round by round. */
  readonly ratios: readonly number[];
  /** Writes of an apply: what is necessary, and no more. */
  readonly writes: readonly number[];
  /** From the start of our process to its first write; milliseconds. */
  readonly beforeFirstWrite: readonly number[];
  readonly noChangePlan: readonly {
    readonly milliseconds: number;
    readonly requests: number;
    readonly reads: Readonly<Record<string, number>>;
  }[];
}

const HERE = import.meta.dirname;
const EXECUTABLE = resolve(HERE, '../../dist/nomad-access.js');

/** First convergence of `count` policies and as many tokens on a real Nomad, beside a bare client, interleaved. */
export async function benchConvergence(count: number, rounds: number): Promise<Figures> {
  const nomad = await startNomad({ client: false });
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-bench-'));
  try {
    const manifests = declare(folder, count);
    const figures = {
      bare: [] as number[],
      ours: [] as number[],
      ratios: [] as number[],
      beforeFirstWrite: [] as number[],
      writes: [] as number[],
      noChangePlan: [] as Figures['noChangePlan'][number][],
    };
    for (let round = 0; round < rounds; round++) {
      const bare = run(nomad, folder, [join(HERE, 'bare.mjs')], count);
      await clear(nomad);
      const ours = run(nomad, folder, [EXECUTABLE, 'apply', '-f', manifests, '-y', '-o', 'json'], count);
      const plan = run(nomad, folder, [EXECUTABLE, 'plan', '-f', manifests, '--detailed-exitcode'], count);
      run(nomad, folder, [EXECUTABLE, 'destroy', '-f', manifests, '-y', '-o', 'json'], count);
      figures.bare.push(rate(bare));
      figures.ours.push(rate(ours));
      figures.ratios.push(rate(ours) / rate(bare));
      figures.beforeFirstWrite.push(ours.firstWrite);
      figures.writes.push(ours.writes);
      figures.noChangePlan.push({ milliseconds: plan.total, requests: plan.requests, reads: plan.reads });
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await nomad.stop();
  }
}

function declare(folder: string, count: number): string {
  const manifests = join(folder, 'manifests');
  mkdirSync(manifests);
  const rules = 'rules: |\n  namespace "default" {\n    policy = "read"\n  }';
  for (let i = 0; i < count; i++) {
    const policy = manifest('AclPolicy', `bench-${String(i)}`, `description: number ${String(i)}\n${rules}`);
    const token = manifest(
      'AclToken',
      `bench-${String(i)}`,
      `policies: [bench-${String(i)}]\nwriteSecretTo: { none: {} }`,
    );
    writeFileSync(join(manifests, `${String(i)}.yaml`), `${policy}---\n${token}`);
  }
  return manifests;
}

function run(nomad: NomadServer, folder: string, args: readonly string[], count: number): Trace {
  const file = join(folder, 'trace.json');
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    NOMAD_ADDR: nomad.address,
    NOMAD_TOKEN: nomad.token,
    TRACE_FILE: file,
    BENCH_COUNT: String(count),
  };
  const done = spawnSync(process.execPath, ['--import', join(HERE, 'trace.mjs'), ...args], {
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  if (done.status !== 0)
    throw new Error(
      `${args.join(' ')} ended with ${String(done.status)}: ${done.stderr.slice(-2000)}${done.stdout.slice(-2000)}`,
    );
  return JSON.parse(readFileSync(file, 'utf8')) as Trace;
}

function rate(trace: Trace): number {
  return trace.writes / ((trace.lastWrite - trace.firstWrite) / 1000);
}

async function clear(nomad: NomadServer): Promise<void> {
  const live = new LiveNomad(nomad);
  const names = (await live.request<{ Name: string }[]>('GET', '/v1/acl/policies')).body.map((p) => p.Name);
  const accessors = (await live.tokens()).filter((t) => t.Name !== 'Bootstrap Token').map((t) => t.AccessorID);
  const paths = [...names.map((name) => `/v1/acl/policy/${name}`), ...accessors.map((id) => `/v1/acl/token/${id}`)];
  const limit = pLimit(32);
  await Promise.all(paths.map((path) => limit(() => live.request('DELETE', path))));
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const spread = (values: readonly number[], digits = 0): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;

if (process.argv[1] === import.meta.filename) {
  const count = Number(process.env['BENCH_COUNT'] ?? 1000);
  const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5);
  const figures = await benchConvergence(count, rounds);
  const plans = figures.noChangePlan;
  console.log(
    `${String(count)} policies + ${String(count)} tokens on a real Nomad; median (min to max) of ${String(rounds)} interleaved rounds`,
  );
  console.log(`bare client, writes/s        ${spread(figures.bare)}`);
  console.log(`nomad-access apply, writes/s ${spread(figures.ours)}`);
  console.log(`ratio                        ${spread(figures.ratios, 2)}`);
  console.log(`writes of an apply           ${spread(figures.writes)}`);
  console.log(`before the first write, ms   ${spread(figures.beforeFirstWrite)}`);
  console.log(`plan without a change, ms    ${spread(plans.map((p) => p.milliseconds))}`);
  console.log(
    `requests of such a plan      ${spread(plans.map((p) => p.requests))}: ${Object.entries(plans[0]?.reads ?? {})
      .map(([path, n]) => `${String(n)} × ${path}`)
      .join(', ')}`,
  );
}
