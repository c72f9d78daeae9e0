import { readlink } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, parse, sep } from 'node:path';

/** As many as Linux follows. */
const MOST_LINKS = 40;

/**
 * Every symlink that is passed on the way from a path to what it stands for, and the end of the way, whether or not there is
 * anything.
 * @param path of which the folder is real.
 */
export async function wayOf(path: string): Promise<string[]> {
  const way: string[] = [];
  const rest = [basename(path)];
  let at = dirname(path);
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    const next = join(at, part);
    const target = part === '..' || part === '.' ? undefined : await targetOf(next);
    if (target === undefined) at = next;
    else if (way.push(next) > MOST_LINKS) return way;
    else {
      if (isAbsolute(target)) at = parse(target).root;
      rest.unshift(...target.split(sep).filter((name) => name !== ''));
    }
  }
  return [...way, at];
}

async function targetOf(path: string): Promise<string | undefined> {
  return readlink(path).catch(() => undefined);
}
