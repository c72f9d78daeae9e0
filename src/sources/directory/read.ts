import { readFile, stat } from 'node:fs/promises';
import type { ManifestError } from '../../contract/resource.ts';
import { STDIN } from './files.ts';
import { fileError, fileProblem, type SourceFile } from './places.ts';

const MEGABYTE = 1024 * 1024;
const LARGEST_FILE = 4 * MEGABYTE;
const LARGEST_TOTAL = 64 * MEGABYTE;
/** Files read at a time. */
const AT_ONCE = 16;

export interface SourceText extends SourceFile {
  readonly text: string;
}

export interface Texts {
  readonly texts: readonly SourceText[];
  readonly errors: readonly ManifestError[];
}

/** Reads the files, in their order; what is too large is not read at all. */
export async function readFiles(
  files: readonly SourceFile[],
  stdin: (() => Promise<string>) | undefined,
): Promise<Texts> {
  const errors: ManifestError[] = [];
  const readable = withinLimits(files, await each(files, sizeOf), errors);
  const contents = await each(readable, (file) => textOf(file, stdin));
  const texts: SourceText[] = [];
  for (const [i, file] of readable.entries()) {
    const text = contents[i] ?? '';
    if (typeof text === 'string') texts.push({ ...file, text });
    else errors.push(text);
  }
  return { texts, errors };
}

/** The files that may be read. @param sizes in bytes, or what is wrong with the file. */
export function withinLimits(
  files: readonly SourceFile[],
  sizes: readonly (number | string)[],
  errors: ManifestError[],
): SourceFile[] {
  const readable: SourceFile[] = [];
  let total = 0;
  for (const [i, file] of files.entries()) {
    const size = sizes[i] ?? 0;
    if (typeof size === 'string') errors.push(fileError(file.name, size));
    else if (size > LARGEST_FILE) errors.push(fileError(file.name, tooLarge(size)));
    else if ((total += size) > LARGEST_TOTAL) {
      const message = 'the manifests are more than 64 MB together: name fewer with -f';
      errors.push(fileError(file.name, message));
      return readable;
    } else readable.push(file);
  }
  return readable;
}

function tooLarge(size: number): string {
  const megabytes = (size / MEGABYTE).toFixed(1);
  return `has ${megabytes} MB, and a file of manifests may have 4 MB: split it`;
}

/** @returns bytes, or what is wrong. */
async function sizeOf(file: SourceFile): Promise<number | string> {
  if (file.name === STDIN) return 0;
  try {
    return (await stat(file.path)).size;
  } catch (error) {
    return fileProblem(error);
  }
}

/** The text of a file, or why there is none. */
export async function textOf(file: SourceFile, stdin?: () => Promise<string>): Promise<string | ManifestError> {
  return checked(file.name, await contentOf(file, stdin));
}

async function contentOf(
  file: SourceFile,
  stdin: (() => Promise<string>) | undefined,
): Promise<string | Buffer | Error> {
  try {
    if (file.name !== STDIN) return await readFile(file.path);
    if (stdin === undefined) throw new Error('there is no standard input');
    return await stdin();
  } catch (error) {
    return new Error(fileProblem(error));
  }
}

function checked(name: string, content: string | Buffer | Error): string | ManifestError {
  if (content instanceof Error) return fileError(name, content.message);
  const size = typeof content === 'string' ? Buffer.byteLength(content) : content.length;
  if (size > LARGEST_FILE) return fileError(name, tooLarge(size));
  const text = typeof content === 'string' ? content.replace(/^\uFEFF/, '') : decoded(content);
  if (text === undefined) return fileError(name, notUtf8, { line: firstBadLine(content), column: 1 });
  const nul = text.indexOf('\0');
  if (nul < 0) return text;
  const before = text.slice(0, nul).split('\n');
  const message = 'holds a NUL character: manifests are text';
  return fileError(name, message, { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 });
}

const notUtf8 = 'is not UTF-8: save it as UTF-8';

/** Takes a byte order mark away. */
function decoded(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** No character of UTF-8 has a line feed among its bytes, so lines can be looked at one by one. */
function firstBadLine(content: string | Buffer): number {
  const bytes = Buffer.from(content);
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(10, start);
    const next = end < 0 ? bytes.length : end + 1;
    if (decoded(bytes.subarray(start, next)) === undefined) return line;
    start = next;
  }
  return 1;
}

/** Like Promise.all, with few at a time. */
export async function each<T, R>(items: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await action(items[i] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  return results;
}
