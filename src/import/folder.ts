import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf, UsageError } from '../contract/errors.ts';

/** Makes sure that nothing is there that could be overwritten. @throws UsageError */
export async function requireEmpty(folder: string, name: string): Promise<void> {
  const entries = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new UsageError(`${name}: ${messageOf(error)}`);
  });
  if (entries.length > 0) throw new UsageError(`${name} is not empty: name a new folder, nothing is overwritten`);
}

/** @throws UsageError where a file can't be written, or is there already. */
export async function writeFiles(
  folder: string,
  files: readonly { readonly file: string; readonly text: string }[],
): Promise<void> {
  if (files.length === 0) return;
  try {
    await mkdir(folder, { recursive: true });
    for (const parent of new Set(files.map(({ file }) => dirname(file))))
      await mkdir(join(folder, parent), { recursive: true });
    for (const { file, text } of files) await writeFile(join(folder, file), text, { flag: 'wx' });
  } catch (error) {
    throw new UsageError(`cannot write manifests: ${messageOf(error)}`);
  }
}
