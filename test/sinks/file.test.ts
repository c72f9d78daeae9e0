import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileSink } from '../../src/sinks/file.ts';
import { temporaryDirectory } from '../servers/process.ts';

describe('secret files', () => {
  let folder: ReturnType<typeof temporaryDirectory>;

  beforeEach(() => {
    folder = temporaryDirectory('secret-files');
  });
  afterEach(() => {
    folder.remove();
  });

  it('of many that need the same new folder all are written, and the folders are their owner’s alone', async () => {
    const files = fileSink(folder.path);
    await Promise.all(Array.from({ length: 50 }, (_, i) => files.write(`a/b/c/${String(i)}`, 'secret\n')));
    expect(await files.read('a/b/c/49')).toEqual({ content: 'secret\n', mode: 0o600 });
    const folders = ['a', 'a/b', 'a/b/c'].map((path) => statSync(join(folder.path, path)).mode & 0o777);
    expect(folders).toEqual([0o700, 0o700, 0o700]);
  });

  it.skipIf(!existsSync('/proc/self'))(
    'where no folder can be made, the path is told, and nothing spins for ever',
    async () => {
      await expect(fileSink(folder.path).write('/proc/nomad-access/token', 'secret\n')).rejects.toThrow(
        /^cannot write the secret file \/proc\/nomad-access\/token: ENOENT/,
      );
    },
  );

  it('a file in the place of a folder is told', async () => {
    writeFileSync(join(folder.path, 'file'), '');
    const files = fileSink(folder.path);
    await expect(files.write('file/token', 'secret\n')).rejects.toThrow(/^cannot write the secret file file\/token: E/);
    await expect(files.write('file/below/token', 'secret\n')).rejects.toThrow(
      /^cannot write the secret file file\/below/,
    );
  });
});
