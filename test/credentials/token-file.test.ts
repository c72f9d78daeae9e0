import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tokenFile } from '../../src/credentials/token-file.ts';
import { temporaryDirectory } from '../servers/process.ts';

const { signal } = new AbortController();

describe('the file of a first management token', () => {
  let folder: ReturnType<typeof temporaryDirectory>;
  let path: string;

  beforeEach(() => {
    folder = temporaryDirectory('token-file');
    path = join(folder.path, 'a/b/token');
  });
  afterEach(() => {
    folder.remove();
  });

  it('is its owner’s alone, with the folders that were made for it', async () => {
    expect(await tokenFile(path).read(signal)).toBeUndefined();
    expect(await tokenFile(path).create('the-token', signal)).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('the-token\n');
    expect([path, join(path, '..'), join(path, '../..')].map((p) => statSync(p).mode & 0o777)).toEqual([
      0o600, 0o700, 0o700,
    ]);
    expect(await tokenFile(path).read(signal)).toBe('the-token');
    expect(readdirSync(join(folder.path, 'a/b'))).toEqual(['token']);
  });

  it('of many who write it at once one does, and all read what that one wrote', async () => {
    const tokens = Array.from({ length: 50 }, (_, i) => `token-${String(i)}`);
    const written = await Promise.all(tokens.map((token) => tokenFile(path).create(token, signal)));
    expect(written.filter(Boolean)).toHaveLength(1);
    expect(await tokenFile(path).read(signal)).toBe(tokens[written.indexOf(true)]);
    expect(readdirSync(join(folder.path, 'a/b'))).toEqual(['token']);
  });

  it.each(['', 'another\n'])('what is there already stays: %j', async (content) => {
    mkdirSync(join(folder.path, 'a/b'), { recursive: true });
    writeFileSync(path, content);
    expect(await tokenFile(path).create('the-token', signal)).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe(content);
  });

  it('a link that leads to nothing is not followed: no token is written elsewhere', async () => {
    mkdirSync(join(folder.path, 'a/b'), { recursive: true });
    const elsewhere = join(folder.path, 'elsewhere');
    symlinkSync(elsewhere, path);
    expect(await tokenFile(path).create('the-token', signal)).toBe(false);
    expect(existsSync(elsewhere)).toBe(false);
  });

  it('a folder in its place, or a file in that of its folder, is told by its path', async () => {
    mkdirSync(path, { recursive: true });
    await expect(tokenFile(path).read(signal)).rejects.toMatchObject({
      class: 'denied',
      message: expect.stringContaining(path) as string,
    });
    writeFileSync(join(folder.path, 'file'), '');
    const below = join(folder.path, 'file/token');
    await expect(tokenFile(below).create('the-token', signal)).rejects.toMatchObject({
      class: 'denied',
      message: expect.stringMatching(/cannot create the token file .*file\/token/) as string,
    });
  });
});
