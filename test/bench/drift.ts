import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NomadClient } from '../../src/targets/nomad/client.ts';
import type { NomadEvent } from '../../src/contract/target.ts';
import { LiveNomad } from '../e2e/live.ts';
import type { NomadServer } from '../servers/nomad.ts';
import { RULES } from './declaring.ts';
import { startOperator } from '../e2e/running.ts';

/** Milliseconds from the answer to a foreign write to the event that tells of its correction, one for each change. */
export type Corrections = readonly number[];

/** A correction that takes longer has failed. */
const LONGEST_MS = 20_000;

/** Foreign changes: edits and deletions of policies and tokens, each of another object. */
const KINDS = ['edit a policy', 'delete a policy', 'edit a token', 'delete a token'] as const;

/** The same changes, once with a bare client that writes back and once with the operator. */
export async function benchDrift(
  nomad: NomadServer,
  manifests: string,
  env: Readonly<Record<string, string | undefined>>,
  count: number,
  changes: number,
): Promise<{ readonly bare: Corrections; readonly ours: Corrections }> {
  const bareClient = spawn(process.execPath, [join(import.meta.dirname, 'bare-drift.mjs')], {
    env: { ...env, BENCH_COUNT: String(count) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await untilReady(bareClient.stderr);
  const bare = await measure(nomad, changes, (name) => name);
  bareClient.kill('SIGKILL');
  await once(bareClient, 'close');
  await clear(nomad);
  const operator = await startOperator(['-f', manifests], env);
  await operator.until('nomad_access_resources{kind="AclToken",ready="True"}', count);
  const ours = await measure(nomad, changes, (name) => name.replace(/ \[na:.*/, ''));
  await operator.stop();
  return { bare, ours };
}

async function untilReady(stream: NodeJS.ReadableStream): Promise<void> {
  for await (const chunk of stream) if (String(chunk).includes('ready')) return;
  throw new Error('the bare client ended');
}

/** @param nameOf the declared name in a token's live name. */
async function measure(nomad: NomadServer, changes: number, nameOf: (live: string) => string): Promise<number[]> {
  const live = new LiveNomad(nomad);
  const client = new NomadClient({ address: nomad.address, token: nomad.token, maxConnections: 4 });
  const stop = new AbortController();
  const waiting = new Map<string, (at: number) => void>();
  const lists = await Promise.all([client.list('/v1/acl/policies'), client.list('/v1/acl/tokens')]);
  const since = Math.max(...lists.map(({ index }) => index));
  let listening: Promise<void> | undefined;
  await new Promise<void>((stands) => {
    listening = listen(client, stop.signal, stands, (event) => {
      const key = event.Index > since ? correctedBy(event, nameOf) : undefined;
      if (key !== undefined) waiting.get(key)?.(performance.now());
    });
  });
  const accessors = new Map((await live.tokens()).map((t) => [nameOf(t.Name), t.AccessorID]));
  const took: number[] = [];
  for (let i = 0; i < changes; i++) {
    const kind = KINDS[i % KINDS.length] ?? KINDS[0];
    const name = `bench-${String(i)}`;
    const corrected = within(
      LONGEST_MS,
      `${kind} ${name}: not put back`,
      new Promise<number>((done) => waiting.set(`${kind.split(' ').at(-1) ?? ''} ${name}`, done)),
    );
    await change(live, kind, name, accessors.get(name) ?? '');
    const answered = performance.now();
    took.push(Math.max(0, (await corrected) - answered));
    waiting.clear();
  }
  stop.abort();
  await listening;
  await client.close();
  return took;
}

async function within<T>(ms: number, failure: string, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).then(
    () => {
      throw new Error(failure);
    },
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

async function listen(
  client: NomadClient,
  signal: AbortSignal,
  stands: () => void,
  heard: (event: NomadEvent) => void,
): Promise<void> {
  for await (const events of client.events(['ACLPolicy', 'ACLToken'], signal)) {
    stands();
    for (const event of events) heard(event);
  }
}

function correctedBy({ Topic, Type, Key, Payload }: NomadEvent, nameOf: (live: string) => string): string | undefined {
  if (Type.endsWith('Deleted')) return undefined;
  if (Topic === 'ACLPolicy') {
    return (Payload as { ACLPolicy: { Rules: string } }).ACLPolicy.Rules === RULES ? `policy ${Key}` : undefined;
  }
  const { Name, Policies } = (Payload as { ACLToken: { Name: string; Policies: string[] | null } }).ACLToken;
  const name = nameOf(Name);
  return Policies?.[0] === name ? `token ${name}` : undefined;
}

async function change(live: LiveNomad, kind: (typeof KINDS)[number], name: string, accessor: string): Promise<void> {
  const policy = `/v1/acl/policy/${name}`;
  if (kind === 'edit a policy') await live.request('PUT', policy, { Name: name, Rules: 'node { policy = "write" }' });
  else if (kind === 'delete a policy') await live.request('DELETE', policy);
  else if (kind === 'delete a token') await live.request('DELETE', `/v1/acl/token/${accessor}`);
  else {
    const whole = await live.token(accessor);
    await live.request('PUT', `/v1/acl/token/${accessor}`, { ...whole, Policies: ['elsewhere'] });
  }
}

/** Deletes all policies and all tokens but the bootstrap token. */
export async function clear(nomad: NomadServer): Promise<void> {
  const live = new LiveNomad(nomad);
  const names = (await live.request<{ Name: string }[]>('GET', '/v1/acl/policies')).body.map((p) => p.Name);
  const accessors = (await live.tokens()).filter((t) => t.Name !== 'Bootstrap Token').map((t) => t.AccessorID);
  const paths = [...names.map((name) => `/v1/acl/policy/${name}`), ...accessors.map((id) => `/v1/acl/token/${id}`)];
  const worker = async (): Promise<void> => {
    for (let path = paths.pop(); path !== undefined; path = paths.pop()) await live.request('DELETE', path);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}
