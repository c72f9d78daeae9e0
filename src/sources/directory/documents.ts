import {
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  visit,
  type Document,
  type Node,
} from 'yaml';
import type { ManifestError, Position } from '../../contract/resource.ts';
import type { ManifestFile } from './files.ts';

/** One object of a manifest file, and where its parts stand. */
export interface ManifestDocument {
  readonly file: ManifestFile;
  readonly value: unknown;
  /** Position of the node at a path, or of its nearest ancestor. */
  readonly locate: (path: readonly (string | number)[]) => Position;
  /** Position of a key rather than of its value. */
  readonly locateKey: (path: readonly (string | number)[]) => Position;
}

const MOST_DOCUMENTS = 100_000;
/** Aliases may repeat a text at most so often: a few lines could otherwise stand for terabytes. */
const MOST_ALIASES = 100;
const DEEPEST = 100;

export interface Documents {
  readonly documents: readonly ManifestDocument[];
  readonly errors: readonly ManifestError[];
}

/** The objects in a file: YAML documents, JSON, and the items of a `kind: List`. */
export function parseFile(file: ManifestFile): Documents {
  const tooDeep = nesting(file.text);
  if (tooDeep !== undefined) {
    return {
      documents: [],
      errors: [
        {
          file: file.name,
          line: tooDeep,
          column: 1,
          path: '',
          message: `is nested more than ${String(DEEPEST)} levels deep`,
        },
      ],
    };
  }
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file: file.name, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const parsed = parseAllDocuments(file.text, {
    lineCounter: lines,
    version: '1.2',
    prettyErrors: false,
    uniqueKeys: true,
    strict: true,
  });
  const all = Array.isArray(parsed) ? (parsed as Document.Parsed[]) : [];
  if (all.length > MOST_DOCUMENTS) {
    return {
      documents: [],
      errors: [{ ...position(0), path: '', message: `has more than ${String(MOST_DOCUMENTS)} documents: split it` }],
    };
  }
  const documents: ManifestDocument[] = [];
  const errors: ManifestError[] = [];
  for (const document of all) {
    const wrong = problemsOf(document, position);
    errors.push(...wrong);
    if (wrong.length === 0) documents.push(...objectsIn(file, document, position, errors));
  }
  return { documents, errors };
}

/** Brackets and indentation bound the depth from above; the parser itself recurses. @returns the line that is too deep. */
function nesting(text: string): number | undefined {
  let depth = 0;
  let line = 1;
  let indent = 0;
  let atStart = true;
  let dashes = 0;
  for (const char of text) {
    if (char === '\n') {
      line++;
      indent = dashes = 0;
      atStart = true;
      continue;
    }
    if (atStart && char === ' ') {
      indent++;
      continue;
    }
    if (atStart && char === '-') {
      if (++dashes > DEEPEST) return line;
      continue;
    }
    atStart = char === ' ' && dashes > 0;
    if (indent > DEEPEST * 8) return line;
    if (char === '[' || char === '{') {
      if (++depth > DEEPEST) return line;
    } else if ((char === ']' || char === '}') && depth > 0) depth--;
  }
  return undefined;
}

function problemsOf(document: Document.Parsed, position: (offset: number) => Position): ManifestError[] {
  const problems = [...document.errors, ...document.warnings].map((problem) => ({
    ...position(problem.pos[0]),
    path: '',
    message: `YAML: ${(problem.message.split('\n')[0] ?? '').replace(/ at line \d+.*$/, '')}`,
  }));
  return problems.length > 0 ? problems.slice(0, 5) : aliasProblems(document, position);
}

/** An alias stands for the whole of its anchor: what the aliases add up to is bounded before anything is expanded. */
function aliasProblems(document: Document.Parsed, position: (offset: number) => Position): ManifestError[] {
  let aliases = 0;
  let last = 0;
  visit(document, {
    Alias: (_key, node) => {
      aliases++;
      last = node.range?.[0] ?? last;
      return aliases > MOST_ALIASES ? visit.BREAK : undefined;
    },
  });
  if (aliases > MOST_ALIASES)
    return [
      { ...position(last), path: '', message: `has more than ${String(MOST_ALIASES)} aliases: write the values out` },
    ];
  return [];
}

function objectsIn(
  file: ManifestFile,
  document: Document.Parsed,
  position: (offset: number) => Position,
  errors: ManifestError[],
): ManifestDocument[] {
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    errors.push({
      ...position(document.range[0]),
      path: '',
      message: `YAML: ${error instanceof Error ? error.message : String(error)}`,
    });
    return [];
  }
  if (value === null || value === undefined) return [];
  const start = document.contents?.range[0] ?? 0;
  const at =
    (prefix: readonly (string | number)[], key: boolean) =>
    (path: readonly (string | number)[]): Position =>
      position(offsetOf(document, [...prefix, ...path], key) ?? start);
  const object = (of: unknown, prefix: readonly (string | number)[]): ManifestDocument => ({
    file,
    value: of,
    locate: at(prefix, false),
    locateKey: at(prefix, true),
  });
  const list = value as { kind?: unknown; items?: unknown };
  if (list.kind !== 'List' || !Array.isArray(list.items)) return [object(value, [])];
  return list.items.map((item, i) => object(item, ['items', i]));
}

/** Offset of the node at a path, or of its nearest ancestor that is there. */
function offsetOf(document: Document.Parsed, path: readonly (string | number)[], key: boolean): number | undefined {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0];
  for (const [i, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document) ?? null;
    const pair: unknown = isMap(node)
      ? node.items.find((p) => isPair(p) && isScalar(p.key) && String(p.key.value) === String(part))
      : undefined;
    if (isPair(pair)) {
      const keyOffset = isNode(pair.key) ? pair.key.range?.[0] : undefined;
      const isLast = i === path.length - 1;
      node = isNode(pair.value) ? pair.value : null;
      const isEmpty = isScalar(node) && node.value === null;
      offset =
        (isLast && key) || node === null || isEmpty || isMap(node) || isSeq(node)
          ? (keyOffset ?? offset)
          : (node.range?.[0] ?? keyOffset ?? offset);
      continue;
    }
    const item: unknown = isSeq(node) && typeof part === 'number' ? node.items[part] : undefined;
    if (!isNode(item)) return offset;
    node = item;
    offset = item.range?.[0] ?? offset;
  }
  return offset;
}
