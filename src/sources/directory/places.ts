import { relative, sep } from 'node:path';
import type { ManifestError, Position } from '../../contract/resource.ts';

/** A file of manifests, or standard input. */
export interface SourceFile {
  /** As it is called in messages and in the inventory: relative to the inventory's folder, with slashes. */
  readonly name: string;
  /** Absolute; empty for standard input. */
  readonly path: string;
  /** Folder that relative paths in the manifest start from; absolute. */
  readonly folder: string;
  /** Folder that was given to -f, or that holds the file given to -f; absolute. */
  readonly root: string;
}

/** What a path is called: relative to `base` where it lies below that, with slashes; `.` for `base` itself. */
export function nameIn(base: string, absolute: string): string {
  const name = relative(base, absolute);
  return isOutside(name) ? absolute : name.split(sep).join('/') || '.';
}

/** Whether `path` is `folder` or lies below it; both absolute. */
export function isWithin(folder: string, path: string): boolean {
  return !isOutside(relative(folder, path));
}

function isOutside(relativePath: string): boolean {
  return relativePath === '..' || relativePath.startsWith(`..${sep}`);
}

/** What is wrong with a file as a whole. */
export function fileError(file: string, message: string, at: Omit<Position, 'file'> = {}): ManifestError {
  return { file, ...at, path: '', message };
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** A failure of the file system in plain words. */
export function fileProblem(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'there is no such file or folder';
    case 'ENOTDIR':
      return 'a part of the path is no folder';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user: change its permissions';
    case 'ELOOP':
      return 'is a symlink that leads back to itself';
    case 'ENAMETOOLONG':
      return 'the path is too long';
    default:
      return `can't be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
