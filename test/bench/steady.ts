import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startGateway, type Gateway } from '../e2e/gateway.ts';
import { readySeries } from '../e2e/operators.ts';
import { cpuSeconds, startOperator, type RunningOperator } from '../e2e/running.ts';
import { integration } from '../e2e/workspace.ts';
import { startNomad } from '../servers/nomad.ts';
import { startVault } from '../servers/vault.ts';
import { declare } from './declaring.ts';
import { line } from './figures.ts';
import { askFor } from './tracing.ts';

/**
 * What an operator costs when nothing changes: requests counted by proxies before a real Nomad and a real Vault, CPU, and what
 * is left of the heap when all garbage is collected. BENCH_COUNT resources for BENCH_SECONDS, beside a tenth of them.
 */

const count = Number(process.env['BENCH_COUNT'] ?? 10_000);
const seconds = Number(process.env['BENCH_SECONDS'] ?? 600);
/** One resource of so many is a VaultJwtIntegration, with a mount, a policy and a role of its own; the others are pairs of policy and token. */
const INTEGRATION_EVERY = 500;
/** Until it has converged, and its connections have settled. */
const CONVERGED_MS = 120_000;

interface Subject {
  readonly count: number;
  readonly operator: RunningOperator;
  readonly nomadWay: Gateway;
  readonly vaultWay: Gateway;
  readonly heapFile: string;
}

interface Usage {
  readonly cpu: number;
  readonly heap: number;
}

const folder = mkdtempSync(join(tmpdir(), 'nomad-access-steady-'));
const [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
try {
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
  await Promise.all([nomad.stop(), vault.stop()]);
}

async function measure(): Promise<void> {
  const few = await converged(Math.round(count / 10));
  const half = await converged(Math.round(count / 2));
  const heapOfHalf = await heapOf(half);
  await end(half);
  const many = await converged(count);
  const subjects = [few, many];
  for (const { nomadWay, vaultWay } of subjects) for (const way of [nomadWay, vaultWay]) way.forget();
  const before = await Promise.all(subjects.map(usageOf));
  await sleep(seconds * 1000);
  const after = await Promise.all(subjects.map(usageOf));

  console.log(`nothing changes for ${String(seconds)} s`);
  for (const [i, subject] of subjects.entries()) {
    const { nomadWay, vaultWay } = subject;
    const [began, ended] = [before[i], after[i]];
    if (began === undefined || ended === undefined) continue;
    console.log(`${String(subject.count)} resources`);
    line('writes', nomadWay.writes().length + vaultWay.writes().length);
    line('requests to Nomad', requests(nomadWay));
    line('requests to Vault, a second', (vaultWay.passed.length / seconds).toFixed(1));
    line('CPU, percent of one core', ((100 * (ended.cpu - began.cpu)) / seconds).toFixed(2));
    line('heap at the beginning and at the end, MB', `${megabytes(began.heap)}, ${megabytes(ended.heap)}`);
  }
  const [heapOfFew = NaN, heapOfMany = NaN] = after.map(({ heap }) => heap);
  line(`heap with ${String(few.count)} resources, MB`, megabytes(heapOfFew));
  line(`heap with ${String(half.count)} resources, MB`, megabytes(heapOfHalf));
  line(`heap with ${String(many.count)} resources, MB`, megabytes(heapOfMany));
  line('bytes for each resource more', ((heapOfMany - heapOfFew) / (many.count - few.count)).toFixed(0));
  for (const subject of subjects) await end(subject);
}

async function end({ operator, nomadWay, vaultWay }: Subject): Promise<void> {
  await operator.stop();
  await Promise.all([nomadWay.close(), vaultWay.close()]);
}

/** An operator with that many resources, when all of them are ready. */
async function converged(resources: number): Promise<Subject> {
  const [nomadWay, vaultWay] = await Promise.all([startGateway(nomad.address), startGateway(vault.address)]);
  const owner = `steady-${String(resources)}`;
  const integrations = Math.max(1, Math.round(resources / INTEGRATION_EVERY));
  const pairs = Math.round((resources - integrations) / 2);
  const place = join(folder, owner);
  mkdirSync(place);
  const manifests = declare(place, pairs, undefined, [], owner);
  const paths = Array.from({ length: integrations }, (_, i) => `${owner}-jwt-${String(i)}`);
  writeFileSync(join(manifests, 'integrations.yaml'), paths.map(integration).join('---\n'));
  const heapFile = join(place, 'heap.json');
  const env = {
    PATH: process.env['PATH'],
    HOME: place,
    NOMAD_ADDR: nomadWay.address,
    NOMAD_TOKEN: nomad.token,
    VAULT_ADDR: vaultWay.address,
    VAULT_TOKEN: vault.token,
    HEAP_FILE: heapFile,
  };
  const operator = await startOperator(['-f', manifests, '--owner', owner], env, {
    node: ['--expose-gc', '--import', join(import.meta.dirname, 'heap.mjs')],
    logFile: join(place, 'operator.log'),
  });
  await operator.until(readySeries('AclPolicy'), pairs, CONVERGED_MS);
  await operator.until(readySeries('AclToken'), pairs, CONVERGED_MS);
  await operator.until(readySeries('VaultJwtIntegration'), integrations, CONVERGED_MS);
  return { count: resources, operator, nomadWay, vaultWay, heapFile };
}

async function usageOf(subject: Subject): Promise<Usage> {
  const heap = await heapOf(subject);
  return { cpu: cpuSeconds(subject.operator.pid), heap };
}

/** Bytes that are left when all garbage is collected. */
async function heapOf({ operator, heapFile }: Subject): Promise<number> {
  return Number(await askFor(heapFile, operator));
}

/** Those to one path together, without the query. */
function requests({ passed }: Gateway): string {
  const byPath = new Map<string, number>();
  for (const { path } of passed) {
    const [plain = ''] = path.split('?');
    byPath.set(plain, (byPath.get(plain) ?? 0) + 1);
  }
  const each = [...byPath].sort().map(([path, n]) => `${String(n)} × ${path}`);
  return `${String(passed.length)} (${each.join(', ')})`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
