import { resolve } from 'node:path';
import { messageOf, TargetError, UsageError } from '../../contract/errors.ts';
import type { ImportRequest, Skipped } from '../../contract/import.ts';
import type { AnyKind } from '../../contract/kind.ts';
import { requireEmpty, writeFiles } from '../../import/folder.ts';
import { manifestsOf, type ImportedManifest, type Located } from '../../import/manifest.ts';
import { kinds } from '../../kinds/index.ts';
import { printable } from '../../plan/render.ts';
import type { DeclaredConnection } from '../connections.ts';
import { sharing } from '../federations.ts';
import { openToLook, type Looked } from '../looked-at.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import type { Terminal } from '../terminal.ts';

export interface ImportOptions extends Pick<ManifestOptions, 'file' | 'owner' | 'allowAddress'> {
  readonly out: string;
  readonly output: Output;
  /** Namespace of the manifests. */
  readonly namespace: string;
  /** As given to --kind and --name; absent: all. */
  readonly kind?: readonly string[] | undefined;
  readonly name?: readonly string[] | undefined;
}

interface Found {
  readonly manifests: readonly ImportedManifest[];
  readonly skipped: readonly (Skipped & { readonly kind: string; readonly connection: string })[];
}

/** For a NomadCluster, another one that has all that their regions share. */
type Sharing = ReadonlyMap<string, string>;

/** Live objects as manifests, in a new folder. Exit code 1 where a server could not be asked. */
export async function importLive(options: ImportOptions, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const wanted = importable(options.kind ?? []);
  const folder = resolve(process.cwd(), options.out);
  await requireEmpty(folder, options.out);
  const sources = new Set(wanted.map(({ importer }) => importer.from));
  const looked = await openToLook(options, { kinds: sources }, signal);
  try {
    for (const note of looked.notes) terminal.err(note);
    const clusters = looked.connections.filter((c) => c.kind === 'NomadCluster').map((c) => c.name);
    const shared = await sharing(clusters, (name) => looked.io.nomad(name), signal);
    for (const [name, first] of shared)
      terminal.err(
        `NomadCluster ${name} is of one federation with ${first}: what their regions share is imported from there.`,
      );
    const found = await findAll(wanted, looked, shared, options, signal);
    await writeFiles(folder, found.manifests);
    print(found, options, terminal);
    return 0;
  } finally {
    await looked.close();
  }
}

type Importing = AnyKind & Required<Pick<AnyKind, 'importer'>>;

/** @throws UsageError for a kind that there is not, or that no live object can be of. */
function importable(names: readonly string[]): Importing[] {
  const able = kinds.filter((kind): kind is Importing => kind.importer !== undefined);
  const unknown = names.find((name) => !able.some(({ kind }) => kind === name));
  if (unknown !== undefined)
    throw new UsageError(`--kind ${unknown}: give one of ${able.map(({ kind }) => kind).join(', ')}`);
  return names.length === 0 ? able : able.filter(({ kind }) => names.includes(kind));
}

async function findAll(
  wanted: readonly Importing[],
  looked: Looked,
  shared: Sharing,
  options: ImportOptions,
  signal: AbortSignal,
): Promise<Found> {
  const all: Found[] = [];
  for (const kind of wanted) all.push(await findOf(kind, looked, shared, options, signal));
  return { manifests: all.flatMap((f) => f.manifests), skipped: all.flatMap((f) => f.skipped) };
}

/** Those of one kind on all connections: in one folder each manifest has a name of its own. */
async function findOf(
  kind: Importing,
  looked: Looked,
  shared: Sharing,
  options: ImportOptions,
  signal: AbortSignal,
): Promise<Found> {
  const connections = looked.connections.filter((c) => c.kind === kind.importer.from);
  const found: Located[] = [];
  const skipped: Omit<Found['skipped'][number], 'kind'>[] = [];
  for (const connection of connections) {
    const { name } = connection;
    const request: ImportRequest = {
      connection: name,
      owner: options.owner,
      namespace: options.namespace,
      clusters: looked.declared.filter((c) => c.kind === 'NomadCluster'),
      qualifier: connections.length > 1 ? name : undefined,
      now: Date.now(),
      isMeant: matcher(options.name),
    };
    const finding = await kind.importer.find(looked.io, request, signal).catch(explained(kind, connection));
    const own = shared.has(name) ? finding.found.filter(({ isShared }) => isShared !== true) : finding.found;
    found.push(...own.map((importable) => ({ ...importable, connection: name })));
    skipped.push(...finding.skipped.map((s) => ({ ...s, connection: name })));
  }
  const made = manifestsOf(kind, found, options.namespace);
  return {
    manifests: made.manifests,
    skipped: [...skipped, ...made.skipped].map((s) => ({ ...s, kind: kind.kind })),
  };
}

function explained(kind: AnyKind, { kind: connectionKind, name }: DeclaredConnection): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TargetError)) throw error;
    throw new UsageError(`${connectionKind} ${name}: cannot import ${kind.kind}: ${messageOf(error)}`);
  };
}

/** `*` matches any text. */
function matcher(patterns: readonly string[] = ['*']): (name: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`, 's');
  });
  return (name) => expressions.some((expression) => expression.test(name));
}

function print({ manifests, skipped }: Found, { output, out }: ImportOptions, terminal: Terminal): void {
  if (output === 'json') {
    const shown = manifests.map(({ text: _text, ...rest }) => rest);
    terminal.out(JSON.stringify({ manifests: shown, skipped }, null, 2));
    return;
  }
  for (const { kind, connection, liveName, why } of skipped)
    terminal.err(terminal.paintErr('dim', printable(`left out: ${kind} ${liveName} on ${connection}: ${why}`)));
  for (const { file, notes } of manifests)
    for (const note of notes) terminal.err(printable(`look at ${out}/${file}: ${note}`));
  for (const kind of new Set(manifests.map((m) => m.kind)))
    terminal.out(`${kind}: ${String(manifests.filter((m) => m.kind === kind).length)}`);
  const count = String(manifests.length);
  terminal.out(
    manifests.length === 0
      ? `Nothing was found to import into ${out}.`
      : `${count} manifests in ${out}. See that nothing would change (nomad-access plan -f ${out}), then take over what is there (nomad-access apply -f ${out}).`,
  );
}
