import type { Io } from './target.ts';

/** A NomadCluster that objects may refer to. */
export interface KnownCluster {
  readonly name: string;
  readonly address: string;
}

/** Where live objects are looked for, and which. */
export interface ImportRequest {
  /** The connection that is looked at. */
  readonly connection: string;
  /** Owner's name of the installation (`--owner`), and the namespace that the manifests are for: who made what carries a marker. */
  readonly owner: string;
  readonly namespace: string;
  readonly clusters: readonly KnownCluster[];
  /** What tells the names of its manifests from those of other connections that are imported with it; undefined where there is none. */
  readonly qualifier: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Whether an object of that live name is asked for; others need not be read. */
  readonly isMeant: (liveName: string) => boolean;
}

/** A live object, or several that are one resource, as a declaration. */
export interface Importable {
  /** What it is called on the server; for a person, and as the manifest's name where nothing else is needed. */
  readonly liveName: string;
  /** The name that the manifest must have, where only that one makes it the object's. */
  readonly metadataName?: string;
  /** Tells it from others of that name, in a few characters. */
  readonly distinction?: string;
  /** With the name as `spec[field]`, where metadata.name does not say it; undefined where it is always in the spec. */
  readonly nameField?: 'name' | 'path';
  /** Everything that the server has: what is a default anyway is left out of the manifest. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** Whether all regions of a federation have it: then it is imported from one of them. */
  readonly isShared?: boolean;
  /** What a reader of the manifest must know or complete, a sentence each. */
  readonly notes: readonly string[];
}

/** A live object of which no manifest is made. */
export interface Skipped {
  readonly liveName: string;
  /** One sentence. */
  readonly why: string;
}

export interface ImportFinding {
  readonly found: readonly Importable[];
  readonly skipped: readonly Skipped[];
}

/** How the live objects that a kind stands for are found, whoever made them. */
export interface Importer {
  readonly from: 'NomadCluster' | 'VaultServer';
  /** Bounded only by the number of objects that are meant. Changes nothing. @throws TargetError */
  find(io: Pick<Io, 'nomad' | 'vault'>, request: ImportRequest, signal: AbortSignal): Promise<ImportFinding>;
}

/** The nearest name that a manifest may have: lower-case letters, digits, dashes and dots. */
export function manifestNameOf(liveName: string): string {
  const name = liveName
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/[-.]*\.[-.]*/g, '.')
    .slice(0, 200)
    .replace(/^[-.]+|[-.]+$/g, '');
  return name === '' ? 'unnamed' : name;
}

/** The name, or where that is taken, the first number behind it that is free. */
export function unlike(name: string, taken: { has(name: string): boolean }): string {
  if (!taken.has(name)) return name;
  let number = 2;
  while (taken.has(`${name}-${String(number)}`)) number++;
  return `${name}-${String(number)}`;
}
