import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { errorLine, load } from './loading.ts';

const FOLDER = join(import.meta.dirname, 'bad-manifests');
const EXPECTATION = /^# expect: line (\d+), (\S*): (.+)$/gm;

interface Expectation {
  readonly line: number;
  readonly path: string;
  readonly message: string;
}

function expectationsOf(text: string): Expectation[] {
  return [...text.matchAll(EXPECTATION)].map(([, line, path = '', message = '']) => ({
    line: Number(line),
    path,
    message,
  }));
}

const files = readdirSync(FOLDER).sort();

describe('bad manifests', () => {
  it.each(files)('%s', async (file) => {
    const expected = expectationsOf(readFileSync(join(FOLDER, file), 'utf8'));
    expect(expected).not.toEqual([]);
    const { errors } = await load([file], FOLDER);
    expect(errors.map(errorLine)).toEqual(
      expected.map(
        ({ path, message }) => expect.stringMatching(`${literally(` ${path}: `)}.*${literally(message)}`) as unknown,
      ),
    );
    expect(errors.map((error) => [error.file, error.line])).toEqual(expected.map(({ line }) => [file, line]));
  });

  it('all of them together are what each of them is', async () => {
    const { errors } = await load(['.'], FOLDER);
    const broken = new Set(errors.map((error) => error.file));
    expect(files.filter((file) => !broken.has(file) && !file.startsWith('reference-'))).toEqual([]);
  });

  it('no message shows what was written where a secret belongs', async () => {
    const { errors } = await load(['.'], FOLDER);
    expect(errors.filter(({ message }) => /hunter2|2f9a1c44/.test(message))).toEqual([]);
  });
});

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
