import { Composer, isScalar, Lexer, Parser, type Document, type ErrorCode, type YAMLError } from 'yaml';
import type { ManifestError, Position } from '../../contract/resource.ts';
import { DEEPEST, tooDeep, toPlain, type Problem } from './plain.ts';
import { Lines, Locator } from './positions.ts';
import type { SourceText } from './read.ts';

/** Tokens that make no sense, in one file, before it is taken for something else than YAML. */
const MOST_ERRORS = 100;
/** Pieces of one file: real manifests have a few words to each, and stay far below. */
const MOST_TOKENS = 2_000_000;
const OPTIONS = { uniqueKeys: false, resolveKnownTags: false, prettyErrors: false, strict: true } as const;

/** Which part of a file a document is. */
export interface Place {
  /** Offsets in the text. */
  readonly start: number;
  readonly end: number;
  /** Of the start. */
  readonly line: number;
}

/** A document that is not empty. */
export interface ParsedDocument {
  readonly value: unknown;
  /** Holds the document's tree. */
  readonly locator: Locator;
  readonly place: Place;
}

export interface FileProblems {
  readonly errors: readonly ManifestError[];
  /** Something could not be read, so nobody knows what it declares. */
  readonly isBroken: boolean;
}

/**
 * Hands over one document after the other, so that only one tree is held at a time.
 * @param most documents at most.
 */
export function parseFile(source: SourceText, most: number, take: (document: ParsedDocument) => void): FileProblems {
  const lines = new Lines(source.text);
  const position = (offset: number): Position => ({ file: source.name, ...lines.at(offset) });
  const problems: Problem[] = [];
  let isBroken = false;
  for (const composed of compose(source.text, most)) {
    const { document, problems: wrong } = composed;
    for (const problem of wrong) problems.push(problem);
    isBroken ||= wrong.length > 0;
    if (document === undefined || wrong.length > 0 || isEmpty(document)) continue;
    const plain = toPlain(document);
    for (const problem of plain.problems) problems.push(problem);
    isBroken ||= !plain.isWhole;
    if (!plain.isWhole) continue;
    const [offset, , end] = document.range;
    const start = offset === 0 ? 0 : source.text.lastIndexOf('\n', offset - 1) + 1;
    const place = { start, end, line: lines.at(start).line };
    const locator = new Locator(document.contents, plain.targets, position);
    take({ value: plain.value, locator, place });
  }
  return { errors: onePerLine(problems, (offset) => position(Math.min(offset, lastOffset(source.text)))), isBroken };
}

/** One mistake often leads to another one beside it. */
function onePerLine(problems: readonly Problem[], position: (offset: number) => Position): ManifestError[] {
  const errors = new Map<Position['line'], ManifestError>();
  for (const { offset, message } of problems) {
    const at = position(offset);
    if (!errors.has(at.line)) errors.set(at.line, { ...at, path: '', message });
  }
  return [...errors.values()];
}

/** Of the last character that can be seen: what is missing at the end is missing there. */
function lastOffset(text: string): number {
  return Math.max(0, text.trimEnd().length - 1);
}

function isEmpty({ contents }: Document.Parsed): boolean {
  return contents === null || (isScalar(contents) && contents.value === null);
}

interface Composed {
  readonly document?: Document.Parsed;
  readonly problems: readonly Problem[];
}

/** What ends the reading of a file. */
class Refused extends Error {
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message);
  }
}

function* compose(text: string, most: number): Generator<Composed> {
  const documents = composer(text);
  for (let count = 0; ; count++) {
    const next = attempt(() => documents.next(), text.length);
    if ('problem' in next) yield { problems: [next.problem] };
    if ('problem' in next || next.value.done === true) return;
    const document = next.value.value;
    if (count === most) {
      yield { problems: [{ offset: document.range[0], message: tooManyDocuments }] };
      return;
    }
    yield { document, problems: [...document.errors, ...document.warnings].map(problemOf) };
  }
}

function attempt<T>(action: () => T, end: number): { value: T } | { problem: Problem } {
  try {
    return { value: action() };
  } catch (error) {
    if (error instanceof Refused) return { problem: { offset: error.offset, message: error.message } };
    return { problem: { offset: end, message: `the YAML parser gave up somewhere in this file` } };
  }
}

/** Token by token, so that a text that is too deep, or no YAML at all, is left before it costs anything. */
function* composer(text: string): Generator<Document.Parsed> {
  const composing = new Composer(OPTIONS);
  const parser = new Parser();
  let errors = 0;
  let tokens = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      if (token.type === 'error' && ++errors > MOST_ERRORS) throw new Refused(token.offset, noYaml);
      yield* composing.next(token);
    }
    if (++tokens > MOST_TOKENS) throw new Refused(parser.offset, tooManyTokens);
    if (parser.stack.length > DEEPEST + 2) throw new Refused(parser.offset, tooDeep);
  }
  for (const token of parser.end()) yield* composing.next(token);
  yield* composing.end(true, text.length);
}

const noYaml = `this is no YAML: more than ${String(MOST_ERRORS)} errors before this place`;
const tooManyTokens = `there are more than ${String(MOST_TOKENS)} words and signs in this file: split it`;
export const tooManyDocuments = 'there are more than 100000 documents: name fewer manifests with -f';

const HINTS: Partial<Record<ErrorCode, string>> = {
  BAD_SCALAR_START: 'put the value in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'put the value in quotes, or give the line the same indentation as its neighbours',
  MULTILINE_IMPLICIT_KEY: 'each key needs ": " behind it',
  TAB_AS_INDENT: 'use spaces',
  TAG_RESOLVE_FAILED: 'tags have no meaning here, and a text that begins with ! needs quotes',
};

/** Errors whose sentences end with a piece of the text. */
const QUOTING: ReadonlySet<ErrorCode> = new Set([
  'UNEXPECTED_TOKEN',
  'TAG_RESOLVE_FAILED',
  'BAD_DIRECTIVE',
  'BAD_ALIAS',
]);

/** The library's sentence, without the piece of the text that it may quote: that could be a secret. */
function problemOf({ code, message, pos }: YAMLError): Problem {
  const sentence = QUOTING.has(code) ? message.replace(/: .*$/s, '') : message;
  const hint = HINTS[code];
  return { offset: pos[0], message: `this is no valid YAML: ${sentence}${hint === undefined ? '' : `; ${hint}`}` };
}

/** Parses one document again, with its positions in the whole file. */
export function locatorAt({ name, text }: SourceText, place: Place): Locator {
  const part = text.slice(place.start, place.end);
  const lines = new Lines(part);
  const position = (offset: number): Position => {
    const { line, column } = lines.at(offset);
    return { file: name, line: place.line - 1 + line, column };
  };
  const [composed] = compose(part, 1);
  const document = composed?.document;
  if (document === undefined) return new Locator(null, new Map(), position);
  return new Locator(document.contents, toPlain(document).targets, position);
}
