import type { ManifestError } from '../../contract/resource.ts';
import { parseFile, tooManyDocuments, type ParsedDocument } from './documents.ts';
import { isRecord } from './plain.ts';
import { pathText, type Path } from './positions.ts';
import type { SourceText } from './read.ts';

/** Documents in all files, items of lists included. */
export const MOST_DOCUMENTS = 100_000;

const TOP: Path = [];

/** One declaration: a document, or an item of a `kind: List`. */
export interface Manifest {
  readonly source: SourceText;
  readonly document: ParsedDocument;
  /** Where in the document it stands. */
  readonly at: Path;
  readonly value: unknown;
}

export interface ManifestsRead {
  readonly count: number;
  readonly errors: readonly ManifestError[];
  /** Whether all that the file holds could be read. */
  readonly isComplete: boolean;
}

/** Hands over one manifest after the other. @param most how many may still come. */
export function manifestsIn(source: SourceText, most: number, take: (manifest: Manifest) => void): ManifestsRead {
  const wrong: ManifestError[] = [];
  let count = 0;
  const expand = (manifest: Manifest): void => {
    const { value, at } = manifest;
    if (isRecord(value) && value['kind'] === 'List') {
      wrong.push(...listErrors(manifest, value));
      const items: readonly unknown[] = Array.isArray(value['items']) ? value['items'] : [];
      for (const [i, item] of items.entries()) expand({ ...manifest, at: [...at, 'items', i], value: item });
    } else if (++count <= most) take(manifest);
    else if (count === most + 1) wrong.push(errorAt(manifest, [], tooManyDocuments));
  };
  const { errors, isBroken } = parseFile(source, most, (document) => {
    expand({ source, document, at: TOP, value: document.value });
  });
  return { count, errors: [...errors, ...wrong], isComplete: !isBroken && wrong.length === 0 };
}

function listErrors(manifest: Manifest, { apiVersion, items }: Record<string, unknown>): ManifestError[] {
  const errors: ManifestError[] = [];
  if (apiVersion !== 'v1') errors.push(errorAt(manifest, ['apiVersion'], 'of a List must be v1'));
  if (!Array.isArray(items)) errors.push(errorAt(manifest, ['items'], 'of a List must be a list of manifests'));
  return errors;
}

function errorAt({ document, at }: Manifest, path: Path, message: string): ManifestError {
  return { ...document.locator.value([...at, ...path]), path: pathText(path), message };
}
