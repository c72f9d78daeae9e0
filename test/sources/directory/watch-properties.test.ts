import { mkdir, readdir, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Desire } from '../../../src/contract/source.ts';
import { Follower } from './following.ts';
import { Folder, policy } from './loading.ts';

type Operation = (folder: Folder, name: () => string) => Promise<void>;

const file = fc.constantFrom('a.yaml', 'b.yml', 'x/a.yaml', 'x/c.yaml', 'x/y/a.yaml', 'x/y/z/d.json.yaml', 'w/a.yaml');
const tree = fc.constantFrom('x', 'x/y', 'x/y/z', 'w');

async function write(folder: Folder, path: string, count: number, name: () => string): Promise<void> {
  await mkdir(dirname(folder.at(path)), { recursive: true });
  await writeFile(folder.at(path), Array.from({ length: count }, () => policy(name())).join('---\n'));
}

/** What can't be done with the tree as it is, is not done. */
const tried = (operation: Operation): Operation => {
  return (folder, name) => operation(folder, name).catch(() => undefined);
};

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(file, fc.nat(3)).map(([path, count]) => tried((folder, name) => write(folder, path, count, name))),
  fc.tuple(file, fc.nat(3)).map(([path, count]) =>
    tried(async (folder, name) => {
      await write(folder, `.new/${path}`, count, name);
      await rename(folder.at(`.new/${path}`), folder.at(path));
    }),
  ),
  file.map((path) => tried((folder) => unlink(folder.at(path)))),
  file.map((path) => tried((folder) => utimes(folder.at(path), 1, 1))),
  fc.tuple(file, file).map(([from, to]) => tried((folder) => rename(folder.at(from), folder.at(to)))),
  tree.map((path) => tried((folder) => rm(folder.at(path), { recursive: true }))),
  fc.tuple(tree, tree).map(([from, to]) => tried((folder) => rename(folder.at(from), folder.at(to)))),
  // A link that leads somewhere, from outside of what it leads to.
  tree.map((path) =>
    tried(async (folder) => {
      await readdir(folder.at(path));
      await symlink(path, folder.at('.link'));
      await rename(folder.at('.link'), folder.at('link'));
    }),
  ),
  fc.integer({ min: 1, max: 80 }).map((ms): Operation => async () => {
    await setTimeout(ms);
  }),
);

const text = ({ resources, errors, unknown, roots }: Desire): unknown => ({
  resources: resources.map((resource) => [resource, resource.locate('spec.rules')]),
  errors,
  unknown,
  roots,
});

it('whatever is done to files, in the end that is declared what is declared in them', () =>
  fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
      using folder = await new Folder().write({ 'a.yaml': policy('first') });
      using follower = new Follower(folder, ['.'], { settleMs: 10, vanishMs: 50 });
      await follower.next();
      let count = 0;
      const name = (): string => `p${String(++count)}`;
      for (const operate of operations) await operate(folder, name);
      // A link that is left without its end is a mistake, and no mistakes are made here.
      const links = await folder.errors();
      if (links.length > 0) await unlink(folder.at('link'));
      await folder.write({ 'last.yaml': policy('last') });
      const fresh = JSON.stringify(text(await folder.load()));
      const last = await follower.until((desire) => JSON.stringify(text(desire)) === fresh);
      expect(last.errors).toEqual([]);
    }),
    { numRuns: 40 },
  ));
