import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError } from '../../contract/resource.ts';
import { manifestsIn } from './manifests.ts';
import type { SourceFile } from './places.ts';
import type { SourceText } from './read.ts';
import { validate, type Verdict } from './validate.ts';

/** One declaration of a file. */
export type Declared = Omit<Verdict, 'errors'>;

/** What a file says, looked at by itself. */
export interface Contents {
  readonly file: SourceFile;
  /** Absent where the file could not be read. */
  readonly text?: string;
  readonly declared: readonly Declared[];
  /** What is wrong in this file alone. */
  readonly errors: readonly ManifestError[];
  /** Whether all that the file holds could be understood as YAML. */
  readonly isComplete: boolean;
  /** Documents, items of lists included. */
  readonly count: number;
}

/** @param most how many documents may still come. */
export function contentsOf(source: SourceText, most: number, kinds: readonly AnyKind[]): Contents {
  const declared: Declared[] = [];
  const wrong: ManifestError[] = [];
  const { count, errors, isComplete } = manifestsIn(source, most, (manifest) => {
    const verdict = validate(manifest, kinds);
    for (const error of verdict.errors) wrong.push(error);
    declared.push(slim(verdict));
  });
  return { file: source, text: source.text, declared, errors: [...errors, ...wrong], isComplete, count };
}

/** What is known of a file that can't be read. */
export function unreadable(file: SourceFile, errors: readonly ManifestError[]): Contents {
  return { file, declared: [], errors, isComplete: false, count: 0 };
}

function slim({ kind, name, declaration, resource }: Verdict): Declared {
  if (resource !== undefined) return { kind, name: resource.metadata.name, declaration: resource, resource };
  return { kind, name, declaration };
}
