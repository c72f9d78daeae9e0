import { one } from './choice.ts';
import { equal } from './equal.ts';
import { isRecorded, type Happenings } from './happening.ts';
import { onNomad, onVault } from './others.ts';
import type { Simulation } from './simulation.ts';

/** Where tokens' secrets go in the schedules, and what becomes of them there. A place is called as the inventory calls it. */

type Items = Readonly<Record<string, unknown>>;
interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
}

interface Engine {
  /** What stands at each path: of version 1 itself, of version 2 beside its metadata. */
  readonly state: Readonly<Record<string, { readonly data?: Items | null }>>;
}

const FOREIGN = { password: 'precious' };
const SCRIBBLE = 'scribble';
const SCRIBBLED = { secret_id: SCRIBBLE };

/** @param choice chooses a kind of sink, and one of two places. */
export function sinkSpec(name: string, choice: number): Readonly<Record<string, unknown>> {
  const last = `${name}-${String(choice % 2)}`;
  const all = [
    { none: {} },
    { file: { path: `/sinks/${last}` } },
    { vaultKv: { path: `ci/${last}` } },
    { vaultKv: { mount: 'kv', path: `ci/${last}` } },
    { nomadVariable: { path: `ci/${last}` } },
  ];
  return all[(choice >> 1) % all.length] ?? {};
}

export const sinkHappenings: Happenings = {
  foreignSinkEdit: async (s, c) => {
    for (const place of one([...heldSecrets(s).keys()], c))
      if (place.startsWith('/') || isRecorded(s, place)) await scribble(s, place);
  },
  foreignSinkDelete: async (s, c) => {
    for (const place of one([...heldSecrets(s).keys()], c)) await remove(s, place, (c >> 8) % 2 === 0);
  },
};

/** What others have beside ours, and an engine of version 1. */
export async function prepareSinks(s: Simulation): Promise<void> {
  s.files.set('/sinks/foreign', { content: 'precious', mode: 0o644 });
  await onVault(s, 'POST', 'sys/mounts/kv', { type: 'kv', options: { version: '1' } });
  await onVault(s, 'POST', 'kv/ci/foreign', FOREIGN);
  await onVault(s, 'POST', 'secret/data/ci/foreign', { data: FOREIGN });
  await putVariable(s, 'default/ci/foreign', FOREIGN);
}

export function checkForeignSinks(s: Simulation): void {
  const at = standing(s);
  equal('the foreign file', s.files.get('/sinks/foreign'), { content: 'precious', mode: 0o644 });
  for (const place of ['kv/ci/foreign', 'secret/ci/foreign', 'default/ci/foreign'])
    equal(`what is foreign at ${place}`, at.get(place), text(FOREIGN));
}

/** What stands in each place, but where others are; the same text for the same content. */
export function heldSecrets(s: Simulation): Map<string, string> {
  return new Map([...standing(s)].filter(([place]) => !place.endsWith('/foreign')));
}

/** The place that a token's spec names, and what it shall hold. */
export function declaredAt(
  { file, vaultKv, nomadVariable }: SinkSpec,
  token: Token | undefined,
): { readonly place: string; readonly content: string } | undefined {
  const { AccessorID = '', SecretID = '' } = token ?? {};
  const items = text({ accessor_id: AccessorID, secret_id: SecretID });
  if (file) return { place: file.path, content: `${SecretID}\n` };
  if (vaultKv) return { place: `${vaultKv.mount ?? 'secret'}/${vaultKv.path}`, content: items };
  return nomadVariable && { place: `default/${nomadVariable.path}`, content: items };
}

export interface SinkSpec {
  readonly file?: { readonly path: string };
  readonly vaultKv?: { readonly mount?: string; readonly path: string };
  readonly nomadVariable?: { readonly path: string };
}

/** Whether it is what somebody else has written. */
export function isScribble(content: string | undefined): boolean {
  return content === `${SCRIBBLE}\n` || content === text(SCRIBBLED);
}

/** Somebody writes over what is in a place of ours. */
async function scribble(s: Simulation, place: string): Promise<void> {
  if (place.startsWith('/')) s.files.set(place, { content: `${SCRIBBLE}\n`, mode: 0o600 });
  else if (place.startsWith('default/')) await putVariable(s, place, SCRIBBLED);
  else if (place.startsWith('kv/')) await onVault(s, 'POST', place, SCRIBBLED);
  else await onVault(s, 'POST', place.replace('/', '/data/'), { data: SCRIBBLED });
}

/** @param isWhole in version 2: not just the newest version. */
async function remove(s: Simulation, place: string, isWhole: boolean): Promise<void> {
  if (place.startsWith('/')) s.files.delete(place);
  else if (place.startsWith('default/')) await onNomad(s, 'DELETE', variable(place));
  else if (place.startsWith('kv/')) await onVault(s, 'DELETE', place);
  else await onVault(s, 'DELETE', place.replace('/', isWhole ? '/metadata/' : '/data/'));
}

function standing(s: Simulation): Map<string, string> {
  const { secrets } = s.vault.snapshot() as { secrets: Readonly<Record<string, Engine>> };
  const below = (mount: string, dataOf: (entry: { data?: Items | null }) => unknown): [string, string][] =>
    Object.entries(secrets[mount]?.state ?? {}).map(([path, entry]) => [`${mount}/${path}`, text(dataOf(entry))]);
  return new Map([
    ...[...s.files].map(([path, { content }]): [string, string] => [path, content]),
    ...below('kv', (entry) => entry),
    ...below('secret', ({ data }) => data),
    ...s.nomad.variables.all().map((v): [string, string] => [`${v.Namespace}/${v.Path}`, text(v.Items)]),
  ]);
}

function text(items: unknown): string {
  if (items === null || typeof items !== 'object') return 'nothing';
  return JSON.stringify(Object.entries(items).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function putVariable(s: Simulation, place: string, items: Items): Promise<unknown> {
  return onNomad(s, 'PUT', variable(place), { Items: items });
}

function variable(place: string): string {
  return `var/${place.slice(place.indexOf('/') + 1)}`;
}
