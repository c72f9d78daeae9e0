import { isAbsolute, relative, sep } from 'node:path';
import type { AnyKind } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import type { Desire } from '../../contract/source.ts';
import { checkTogether } from './claims.ts';
import { parseFile } from './documents.ts';
import { readFiles, type FileOptions } from './files.ts';
import { validate } from './validate.ts';

export interface LoadOptions extends FileOptions {
  readonly kinds: readonly AnyKind[];
  /** Owner's name of the installation: part of the live names of tokens. */
  readonly owner: string;
  /** Connections of the environment: declared as `default` where none of the kind is. */
  readonly environment: readonly { readonly kind: string; readonly spec: unknown }[];
}

/** More errors than a person can use. */
const MOST_ERRORS = 100;

/** The resources that files and folders declare, and everything that is wrong with them. It asks no server, and throws nothing for bad input. */
export async function loadDirectory(options: LoadOptions): Promise<Desire> {
  const { files, errors: unread, roots } = await readFiles(options);
  const errors: ManifestError[] = [...unread];
  const declared: Resource[] = [];
  for (const file of files) {
    const parsed = parseFile(file);
    errors.push(...parsed.errors);
    for (const document of parsed.documents) {
      const { resource, errors: wrong } = validate(document, options.kinds);
      errors.push(...wrong);
      if (resource !== undefined) declared.push(resource);
    }
  }
  const resources = [...declared, ...fromEnvironment(declared, options)];
  if (errors.length === 0) {
    const rootOf = new Map(files.map((file) => [file.name, file.root]));
    errors.push(
      ...checkTogether(resources, {
        ...options,
        rootOf: (source) => rootOf.get(source),
        pathName: (path) => pathName(options.base, path),
      }),
    );
  }
  return { resources, errors: inOrder(errors), roots };
}

function fromEnvironment(declared: readonly Resource[], options: LoadOptions): Resource[] {
  return options.environment
    .filter(({ kind }) => !declared.some((r) => r.kind === kind))
    .flatMap(({ kind, spec }) => {
      const found = options.kinds.find((k) => k.kind === kind);
      if (found === undefined) return [];
      return [
        {
          kind,
          metadata: { name: 'default', namespace: '', annotations: {} },
          spec: found.spec.parse(spec),
          source: 'environment',
          folder: options.cwd,
          locate: () => ({ file: 'environment', line: 1, column: 1 }),
        },
      ];
    });
}

function pathName(base: string, absolute: string): string {
  const name = relative(base, absolute);
  return name === '..' || name.startsWith(`..${sep}`) || isAbsolute(name) ? absolute : name.split(sep).join('/');
}

function inOrder(errors: readonly ManifestError[]): ManifestError[] {
  const sorted = [...errors].sort((a, b) =>
    a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column,
  );
  const [last] = sorted.slice(MOST_ERRORS);
  if (last === undefined) return sorted;
  const rest = `and ${String(sorted.length - MOST_ERRORS)} more errors`;
  return [
    ...sorted.slice(0, MOST_ERRORS),
    { file: last.file, line: last.line, column: last.column, path: '', message: rest },
  ];
}
