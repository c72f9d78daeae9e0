import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNomad } from '../servers/nomad.ts';
import { benchApply, benchRun, type Rates } from './convergence.ts';
import { declare } from './declaring.ts';
import { benchDrift, clear } from './drift.ts';
import { benchImport } from './importing.ts';
import { isApart, line, ratios, setApart, spread } from './figures.ts';

/**
 * Figures beside their raw ceilings, in one run on one real Nomad. BENCH_COUNT policies and as many tokens, BENCH_ROUNDS rounds;
 * BENCH_SHARED=1 leaves server and client to share the cores.
 */

const count = Number(process.env['BENCH_COUNT'] ?? 1000);
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5);
const changes = Math.min(500, count);

const nomad = await startNomad({ client: false });
if (isApart) setApart([nomad.pid]);
const folder = mkdtempSync(join(tmpdir(), 'nomad-access-bench-'));
const env = {
  PATH: process.env['PATH'],
  HOME: folder,
  NOMAD_ADDR: nomad.address,
  NOMAD_TOKEN: nomad.token,
  TRACE_FILE: join(folder, 'trace.json'),
  BENCH_COUNT: String(count),
};
try {
  const both = `${String(count)} policies + ${String(count)} tokens`;
  const cores = isApart ? 'server and client on a core each' : 'server and client share the cores';
  console.log(`${both} on a real Nomad, ${cores}; median (min to max) of ${String(rounds)} rounds`);
  printApply();
  printImport();
  await printRun();
  await printDrift();
} finally {
  rmSync(folder, { recursive: true, force: true });
  await nomad.stop();
}

function printApply(): void {
  const figures = benchApply(folder, env, count, rounds);
  const plans = figures.noChangePlan;
  printRates('nomad-access apply', figures);
  line('writes of an apply', spread(figures.writes));
  line('before the first write, ms', spread(figures.beforeFirstWrite));
  line('plan without a change, ms', spread(plans.map((p) => p.total)));
  const reads = Object.entries(plans[0]?.reads ?? {}).map(([path, n]) => `${String(n)} × ${path}`);
  line('requests of such a plan', `${spread(plans.map((p) => p.requests))}: ${reads.join(', ')}`);
}

function printImport(): void {
  const { bare, ours, requests } = benchImport(folder, env, rounds);
  line('nomad-access import, ms', spread(ours));
  line('  bare client that reads it, ms', spread(bare));
  line('  requests', spread(requests));
}

async function printRun(): Promise<void> {
  const figures = await benchRun(folder, env, count, rounds);
  printRates('nomad-access run, all new', figures.create);
  printRates('nomad-access run, all changed', figures.update);
  printRates('nomad-access run, all removed', figures.destroy);
  line('before the first write, ms', spread(figures.beforeFirstWrite));
}

async function printDrift(): Promise<void> {
  await clear(nomad);
  const { bare, ours } = await benchDrift(nomad, declare(folder, count), env, count, changes);
  console.log(`${String(changes)} foreign changes: ms from the answer to the foreign write to its correction`);
  for (const [name, took] of [
    ['bare client that writes back', bare],
    ['nomad-access run', ours],
  ] as const)
    line(name, `median ${quantile(took, 0.5)}, 99th percentile ${quantile(took, 0.99)}, most ${quantile(took, 1)}`);
}

function printRates(name: string, { bare, ours }: Rates): void {
  line(`${name}, objects/s`, spread(ours));
  line('  bare client, objects/s', spread(bare));
  line('  ratio', ratios(ours, bare));
}

function quantile(values: readonly number[], q: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN).toFixed(1);
}
