import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, rename, rm, symlink, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { UsageError } from '../../../src/contract/errors.ts';
import type { Desire } from '../../../src/contract/source.ts';
import { kinds } from '../../../src/kinds/index.ts';
import { watchDirectory } from '../../../src/sources/directory/watch.ts';
import { described, Follower, policies, unprivileged } from './following.ts';
import { declared, ENVIRONMENT, errorLine, Folder, manifest, policy } from './loading.ts';

const about = (name: string, text: string): string => policy(name, `description: ${text}`);
const cluster = (name: string, port = 4646): string =>
  manifest('NomadCluster', name, [`address: http://nomad:${String(port)}`, 'auth: {tokenEnv: NOMAD_TOKEN}']);
const both = (...documents: readonly string[]): string => documents.join('---\n');

describe('a change of a file is followed', () => {
  /** Ways in which editors and tools write a file. */
  const ways: Record<string, (path: string, text: string) => Promise<void>> = {
    'written in place': (path, text) => writeFile(path, text),
    'emptied first, and written a moment later': async (path, text) => {
      await truncate(path);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await writeFile(path, text);
    },
    'written beside it and renamed over it': async (path, text) => {
      await writeFile(`${path}.tmp`, text);
      await rename(`${path}.tmp`, path);
    },
    'written beside it under a name of a manifest': async (path, text) => {
      await writeFile(path.replace('a.yaml', '.a.yaml.swp.yaml'), text);
      await rename(path.replace('a.yaml', '.a.yaml.swp.yaml'), path);
    },
    'renamed away as a backup and written anew': async (path, text) => {
      await rename(path, `${path}~`);
      await writeFile(path, text);
      await unlink(`${path}~`);
    },
    'deleted and created': async (path, text) => {
      await unlink(path);
      await writeFile(path, text);
    },
  };

  it.each(Object.entries(ways))('%s, again and again, and nothing is missing in between', async (_, save) => {
    using folder = await new Folder().write({ 'deep/er/a.yaml': about('a', 'first'), 'b.yaml': policy('b') });
    using follower = new Follower(folder);
    expect(described(await follower.next())).toEqual(['b=', 'a=first']);
    for (const text of ['second', 'third', 'fourth']) {
      await save(folder.at('deep/er/a.yaml'), about('a', text));
      await follower.until((desire) => described(desire).includes(`a=${text}`));
    }
    for (const desire of follower.seen) {
      expect(policies(desire)).toEqual(['b', 'a']);
      expect(desire.errors).toEqual([]);
    }
  });

  it('what did not change is not read again: its resources are the same objects', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b.yaml': policy('b') });
    using follower = new Follower(folder);
    const before = await follower.next();
    await folder.write({ 'b.yaml': about('b', 'new') });
    const after = await follower.next();
    expect(described(after)).toEqual(['a=', 'b=new']);
    expect(after.resources[0]).toBe(before.resources[0]);
    expect(after.resources[1]).not.toBe(before.resources[1]);
  });

  it('a file that is touched, or written as it was, says nothing new', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    using follower = new Follower(folder);
    const first = await follower.next();
    await utimes(folder.at('a.yaml'), 1, 1);
    await folder.write({ 'a.yaml': policy('a') });
    await copyFile(folder.at('a.yaml'), folder.at('a.copy'));
    await rename(folder.at('a.copy'), folder.at('a.yaml'));
    await folder.write({ 'b.yaml': policy('b') });
    const second = await follower.next();
    expect(policies(second)).toEqual(['a', 'b']);
    expect(second.resources[0]).toBe(first.resources[0]);
  });

  it('positions are those of the text that was read', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    using follower = new Follower(folder);
    const first = await follower.next();
    await folder.write({ 'a.yaml': `# one line more\n${policy('a')}` });
    const second = await follower.next();
    expect(first.resources[0]?.locate('metadata.name').line).toBe(4);
    expect(second.resources[0]?.locate('metadata.name')).toEqual({ file: 'a.yaml', line: 5, column: 9 });
  });

  it('a root that is a file', async () => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'first'), 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['a.yaml']);
    expect(described(await follower.next())).toEqual(['a=first']);
    await folder.write({ 'b.yaml': about('b', 'nobody asked for it'), 'a.yaml': about('a', 'second') });
    expect(described(await follower.next())).toEqual(['a=second']);
    await folder.write({ 'a.yaml.tmp': about('a', 'third') });
    await rename(folder.at('a.yaml.tmp'), folder.at('a.yaml'));
    expect(described(await follower.until((desire) => desire.errors.length === 0))).toEqual(['a=third']);
  });
});

describe('files and folders come and go', () => {
  it('at any depth', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    using follower = new Follower(folder);
    await follower.untilDeclared('a');
    await folder.write({ 'new/deep/er/b.yaml': policy('b') });
    await follower.untilDeclared('a', 'b');
    await folder.write({ 'new/deep/er/c.yml': policy('c') });
    await follower.untilDeclared('a', 'b', 'c');
    await rm(folder.at('new/deep'), { recursive: true });
    await follower.untilDeclared('a');
    await folder.write({ 'new/deep/er/b.yaml': policy('b') });
    await follower.untilDeclared('a', 'b');
  });

  it('a folder that is moved in with all that it holds, and renamed, loses nothing on the way', async () => {
    using folder = await new Folder().write({ 'root/a.yaml': policy('a'), 'away/deep/b.yaml': policy('b') });
    using follower = new Follower(folder, ['root']);
    await follower.untilDeclared('a');
    await rename(folder.at('away'), folder.at('root/here'));
    await follower.untilDeclared('a', 'b');
    const from = follower.seen.length;
    await rename(folder.at('root/here'), folder.at('root/there'));
    const moved = await follower.until(({ resources }) => resources[1]?.source === 'root/there/deep/b.yaml');
    expect(declared(moved)).toHaveLength(2);
    await folder.write({ 'root/there/deep/b.yaml': about('b', 'new') });
    await follower.until((desire) => described(desire).includes('b=new'));
    for (const desire of follower.seen.slice(from)) expect(policies(desire)).toEqual(['a', 'b']);
  });

  it('a file that vanished keeps its resources for a while', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { vanishMs: 1_000 });
    await follower.next();
    const before = performance.now();
    await unlink(folder.at('b.yaml'));
    await folder.write({ 'a.yaml': about('a', 'new') });
    expect(described(await follower.next()).sort()).toEqual(['a=new', 'b=']);
    expect(policies(await follower.next())).toEqual(['a']);
    expect(performance.now() - before).toBeGreaterThanOrEqual(1_000);
  });

  it('so does a folder', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'x/y/b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { vanishMs: 1_000 });
    await follower.next();
    const before = performance.now();
    await rm(folder.at('x'), { recursive: true });
    const desire = await follower.next();
    expect(desire).toMatchObject({ errors: [], unknown: [] });
    expect(policies(desire)).toEqual(['a']);
    expect(performance.now() - before).toBeGreaterThanOrEqual(1_000);
  });

  it('a file that comes back in time was never gone', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { vanishMs: 3_000 });
    const first = await follower.next();
    await rename(folder.at('b.yaml'), folder.at('b.away'));
    await folder.write({ 'a.yaml': about('a', 'so that the absence was seen') });
    await follower.next();
    await rename(folder.at('b.away'), folder.at('b.yaml'));
    await folder.write({ 'c.yaml': policy('c') });
    const last = await follower.untilDeclared('a', 'b', 'c');
    expect(last.resources.find(({ metadata }) => metadata.name === 'b')).toBe(first.resources[1]);
    for (const desire of follower.seen) expect(policies(desire)).toContain('b');
  });

  it('a document that moves to another file is never gone, in whatever order the two are saved', async () => {
    using folder = await new Folder().write({ 'a.yaml': both(policy('a'), policy('x')), 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { vanishMs: 10_000 });
    const source = ({ resources }: { resources: readonly { metadata: { name: string }; source: string }[] }): unknown =>
      resources.find(({ metadata }) => metadata.name === 'x')?.source;
    expect(source(await follower.next())).toBe('a.yaml');
    await folder.write({ 'a.yaml': about('a', 'without x') });
    expect(described(await follower.next())).toContain('a=without x');
    await folder.write({ 'b.yaml': both(policy('b'), policy('x')) });
    await follower.until((desire) => source(desire) === 'b.yaml');
    await folder.write({ 'c.yaml': policy('x') });
    const twice = await follower.until(({ errors }) => errors.length > 0);
    expect(source(twice)).toBe('b.yaml');
    await folder.write({ 'b.yaml': policy('b') });
    await follower.until((desire) => source(desire) === 'c.yaml' && desire.errors.length === 0);
    for (const desire of follower.seen) expect(policies(desire).sort()).toEqual(['a', 'b', 'x']);
  });

  it('a resource that is renamed gives way at once to the one that has its live object', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('old', 'name: live') });
    using follower = new Follower(folder, ['.'], { vanishMs: 10_000 });
    await follower.next();
    await folder.write({ 'a.yaml': policy('new', 'name: live') });
    const desire = await follower.next();
    expect(policies(desire)).toEqual(['new']);
    expect(desire.errors).toEqual([]);
  });

  it('a folder that is there and empty declares nothing', async () => {
    using folder = await new Folder().write({ 'root/a.yaml': policy('a') });
    using follower = new Follower(folder, ['root']);
    await follower.next();
    await unlink(folder.at('root/a.yaml'));
    expect(await follower.untilDeclared()).toMatchObject({ errors: [], unknown: [], roots: ['root'] });
  });
});

describe('trees that are swapped', () => {
  async function link(folder: Folder, name: string, target: string): Promise<void> {
    await symlink(target, folder.at(`${name}.new`));
    await rename(folder.at(`${name}.new`), folder.at(name));
  }

  it('a ConfigMap, as Kubernetes mounts and updates it', async () => {
    using folder = await new Folder().write({
      'mount/..one/a.yaml': about('a', 'one'),
      'mount/..one/b.yaml': policy('b'),
    });
    await link(folder, 'mount/..data', '..one');
    await symlink('..data/a.yaml', folder.at('mount/a.yaml'));
    await symlink('..data/b.yaml', folder.at('mount/b.yaml'));
    using follower = new Follower(folder, ['mount'], { rootsMs: 60_000 });
    expect(described(await follower.next())).toEqual(['a=one', 'b=']);
    for (const [old, next] of [
      ['one', 'two'],
      ['two', 'three'],
    ] as const) {
      await folder.write({ [`mount/..${next}/a.yaml`]: about('a', next), [`mount/..${next}/b.yaml`]: policy('b') });
      await link(folder, 'mount/..data', `..${next}`);
      await rm(folder.at(`mount/..${old}`), { recursive: true });
      const desire = await follower.until((seen) => described(seen).includes(`a=${next}`));
      expect(desire.resources[0]).toMatchObject({ source: 'mount/a.yaml', folder: folder.at('mount') });
    }
    for (const desire of follower.seen) {
      expect(policies(desire)).toEqual(['a', 'b']);
      expect(desire.errors).toEqual([]);
    }
  });

  it('a file within a ConfigMap, and one that is written behind its link', async () => {
    using folder = await new Folder().write({
      'm/..one/a.yaml': about('a', 'one'),
      'm/..two/a.yaml': about('a', 'two'),
    });
    await link(folder, 'm/..data', '..one');
    await symlink('..data/a.yaml', folder.at('m/a.yaml'));
    using follower = new Follower(folder, ['m/a.yaml'], { rootsMs: 60_000 });
    expect(described(await follower.next())).toEqual(['a=one']);
    await link(folder, 'm/..data', '..two');
    expect(described(await follower.next())).toEqual(['a=two']);
    await folder.write({ 'm/..two/a.yaml': about('a', 'three') });
    expect(described(await follower.next())).toEqual(['a=three']);
  });

  it.each([
    ['the root is the link', 'current', 60_000, true],
    ['the link is above the root', 'current/manifests', 50, true],
    ['the old one stays', 'current/manifests', 50, false],
  ])('a checkout of git-sync: %s', async (_, root, rootsMs, isDeleted) => {
    using folder = await new Folder().write({
      'trees/one/manifests/a.yaml': about('a', 'one'),
      'trees/one/manifests/b.yaml': policy('b'),
      'trees/two/manifests/a.yaml': about('a', 'two'),
      'trees/two/manifests/c.yaml': policy('c'),
      'trees/two/manifests/deep/d.yaml': policy('d'),
    });
    await link(folder, 'current', 'trees/one');
    using follower = new Follower(folder, [root], { rootsMs });
    expect(described(await follower.next())).toEqual(['a=one', 'b=']);
    await link(folder, 'current', 'trees/two');
    if (isDeleted) await rm(folder.at('trees/one'), { recursive: true });
    await follower.until((desire) => described(desire).sort().join() === 'a=two,c=,d=');
    await folder.write({ 'trees/two/manifests/deep/d.yaml': about('d', 'new') });
    await follower.until((desire) => described(desire).includes('d=new'));
    await folder.write({ 'trees/two/manifests/a.yaml': about('a', 'new') });
    await follower.until((desire) => described(desire).includes('a=new'));
    for (const { errors } of follower.seen) expect(errors).toEqual([]);
  });

  it('a root that is deleted and made again', async () => {
    using folder = await new Folder().write({ 'root/deep/a.yaml': about('a', 'one') });
    using follower = new Follower(folder, ['root'], { rootsMs: 50 });
    await follower.next();
    await rm(folder.at('root'), { recursive: true });
    await folder.write({ 'root/deep/a.yaml': about('a', 'two') });
    await follower.until((desire) => described(desire).includes('a=two') && desire.errors.length === 0);
    await folder.write({ 'root/deep/a.yaml': about('a', 'three') });
    await follower.until((desire) => described(desire).includes('a=three'));
    for (const desire of follower.seen) expect(policies(desire)).toEqual(['a']);
  });
});

describe('a broken file', () => {
  const broken: Record<string, string | Uint8Array> = {
    'no YAML': `${policy('a')}broken: [\n`,
    'half of it': policy('a').slice(0, 60),
    'against the schema': policy('a', 'colour: red'),
    'one good and one bad document': both(about('a', 'new'), policy('x', 'colour: red')),
    'no UTF-8': Buffer.from(`# M\u00fcller\n${policy('a')}`, 'latin1'),
    'too large': `${policy('a')}${'#'.repeat(4 * 1024 * 1024)}`,
    'a secret that would leave the folder': manifest('AclToken', 'a', [
      'policies: [x]',
      'writeSecretTo: {file: {path: ../out}}',
    ]),
    'a connection that is not declared': policy('a', 'nomadRef: nowhere'),
    'the same twice': both(about('a', 'new'), policy('a')),
    'a name that another file has': both(policy('a'), policy('b')),
    'a live object that another file has': policy('a', 'name: b'),
  };

  it.each(Object.entries(broken))('%s: it stays as it was, and the others go on', async (_, content) => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'good'), 'b.yaml': policy('b') });
    using follower = new Follower(folder);
    const first = await follower.next();
    await folder.write({ 'a.yaml': content });
    const held = await follower.next();
    expect(held.errors.map(({ file }) => file)).toEqual(['a.yaml']);
    expect(held.resources).toEqual(first.resources);
    expect(held.unknown).toEqual([]);
    await folder.write({ 'b.yaml': about('b', 'new') });
    const next = await follower.next();
    expect(described(next)).toEqual(['a=good', 'b=new']);
    expect(next.errors).toEqual(held.errors);
    await folder.write({ 'a.yaml': about('a', 'mended') });
    const last = await follower.next();
    expect(described(last)).toEqual(['a=mended', 'b=new']);
    expect(last.errors).toEqual([]);
  });

  it('that may not be read stays as it was', async () => {
    using _ = unprivileged();
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b.yaml': policy('b') });
    using follower = new Follower(folder);
    const first = await follower.next();
    await chmod(folder.at('a.yaml'), 0);
    const held = await follower.next();
    expect(held.errors.map(errorLine)).toEqual(['a.yaml : may not be read by this user: change its permissions']);
    expect(held).toMatchObject({ resources: first.resources, unknown: [] });
    await chmod(folder.at('a.yaml'), 0o600);
    const last = await follower.next();
    expect(last).toEqual(first);
  });

  const neverRead = [
    'no YAML',
    'against the schema',
    'no UTF-8',
    'a connection that is not declared',
    'the same twice',
  ];
  it.each(neverRead)('%s from the start: nobody knows what it declares', async (kind) => {
    using folder = await new Folder().write({
      'a.yaml': broken[kind] ?? '',
      'b.yaml': policy('b'),
      'c.yaml': cluster('default'),
    });
    using follower = new Follower(folder);
    const first = await follower.next();
    expect(first.unknown).toEqual(['a.yaml']);
    expect(first.errors.map(({ file }) => file)).toContain('a.yaml');
    expect(policies(first).filter((name) => name !== 'a')).toEqual(['b']);
    await folder.write({ 'a.yaml': policy('a') });
    expect(await follower.untilDeclared('a', 'b')).toMatchObject({ unknown: [] });
  });

  it('that vanishes unread is unknown until it is given up', async () => {
    using folder = await new Folder().write({ 'a.yaml': 'a: [', 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { vanishMs: 1_000 });
    await follower.next();
    const before = performance.now();
    await unlink(folder.at('a.yaml'));
    expect(await follower.next()).toMatchObject({ errors: [], unknown: ['a.yaml'] });
    expect(await follower.next()).toMatchObject({ errors: [], unknown: [] });
    expect(performance.now() - before).toBeGreaterThanOrEqual(1_000);
  });

  it('a line that is half written for a while is not taken for the whole', async () => {
    using folder = await new Folder().write({ 'a.yaml': both(policy('a'), policy('b')) });
    using follower = new Follower(folder, ['.'], { settleMs: 1_000 });
    await follower.next();
    await writeFile(folder.at('a.yaml'), '');
    for (const piece of [about('a', 'new'), '---\n', policy('b'), '---\n', policy('c')]) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      await writeFile(folder.at('a.yaml'), piece, { flag: 'a' });
    }
    const desire = await follower.next();
    expect(described(desire)).toEqual(['a=new', 'b=', 'c=']);
  });
});

describe('a file that is being written', () => {
  /** As if these were always changed a millisecond ago. */
  function busy(...paths: readonly string[]): Disposable {
    const latest = (): number => Math.max(...paths.map((path) => statSync(path).ctimeMs));
    const spy = vi.spyOn(Date, 'now').mockImplementation(() => Math.ceil(latest()) + 1);
    return {
      [Symbol.dispose]: () => {
        spy.mockRestore();
      },
    };
  }

  it('is left as it was for so long, while the others are followed', async () => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'old'), 'b.yaml': policy('b') });
    using follower = new Follower(folder, ['.'], { settleMs: 20 });
    await follower.next();
    await folder.write({ 'a.yaml': about('a', 'half') });
    {
      using _ = busy(folder.at('a.yaml'));
      await new Promise((resolve) => setTimeout(resolve, 10));
      await folder.write({ 'b.yaml': about('b', 'new') });
      expect(described(await follower.next())).toEqual(['a=old', 'b=new']);
      await folder.write({ 'b.yaml': about('b', 'newer') });
      expect(described(await follower.next())).toEqual(['a=old', 'b=newer']);
    }
    expect(described(await follower.next())).toEqual(['a=half', 'b=newer']);
  });

  it('when we start is waited for: nothing is taken for gone because it is not yet there', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    using follower = new Follower(folder, ['.'], { settleMs: 200 });
    const first = follower.next();
    {
      using _ = busy(folder.at('a.yaml'));
      await new Promise((resolve) => setTimeout(resolve, 400));
      await folder.write({ 'a.yaml': both(policy('a'), policy('b')) });
    }
    expect(policies(await first)).toEqual(['a', 'b']);
  });

  it('may declare a connection: none of the environment takes its place', async () => {
    using folder = await new Folder().write({ 'c.yaml': cluster('default'), 'p.yaml': policy('p') });
    using follower = new Follower(folder, ['.'], { settleMs: 20, vanishMs: 50 });
    await follower.next();
    {
      await folder.write({ 'd.yaml': cluster('default') });
      using _ = busy(folder.at('d.yaml'));
      await unlink(folder.at('c.yaml'));
      const without = await follower.until(({ resources }) => resources.every(({ source }) => source !== 'c.yaml'));
      expect(without.resources.filter(({ kind }) => kind === 'NomadCluster')).toEqual([]);
      expect(without.errors.map(({ file }) => file)).toEqual(['environment']);
      expect(policies(without)).toEqual(['p']);
    }
    const last = await follower.next();
    expect(last.resources[0]).toMatchObject({ kind: 'NomadCluster', source: 'd.yaml' });
    expect(last.errors).toEqual([]);
  });
});

describe('a conflict', () => {
  /** Live names of the policies. */
  const names = ({ resources }: Desire): string[] =>
    resources
      .filter(({ kind }) => kind === 'AclPolicy')
      .map(({ metadata, spec }) => (spec as { name?: string }).name ?? metadata.name);

  it('is the fault of who came later, whatever the files are called', async () => {
    using folder = await new Folder().write({ 'b.yaml': about('x', 'first') });
    using follower = new Follower(folder);
    const first = await follower.next();
    await folder.write({ 'a.yaml': both(about('x', 'second'), policy('other')) });
    const desire = await follower.next();
    expect(desire.errors.map(errorLine)).toEqual([
      'a.yaml:4:9 metadata.name: AclPolicy default/x is declared already at b.yaml:4:9: remove one of the two',
    ]);
    expect(described(desire)).toEqual(['other=', 'x=first']);
    expect(desire.resources).toContain(first.resources[0]);
    expect(desire.unknown).toEqual(['a.yaml']);
    await unlink(folder.at('b.yaml'));
    const solved = await follower.until(({ errors }) => errors.length === 0);
    expect(described(solved)).toEqual(['x=second', 'other=']);
    expect(solved.unknown).toEqual([]);
  });

  it('over a live object leaves it to who had it', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b.yaml': policy('b', 'name: live') });
    using follower = new Follower(folder);
    await follower.next();
    await folder.write({ 'a.yaml': policy('a', 'name: live') });
    const desire = await follower.next();
    expect(desire.errors.map(({ file, path }) => [file, path])).toEqual([['a.yaml', 'spec.name']]);
    expect(names(desire)).toEqual(['a', 'live']);
  });

  it('with a file that is wrong in itself is none', async () => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'old'), 'b.yaml': about('b', 'old') });
    using follower = new Follower(folder, ['.'], { settleMs: 200 });
    await follower.next();
    await folder.write({
      'a.yaml': both(policy('a', 'nomadRef: nowhere'), policy('x')),
      'b.yaml': both(about('b', 'new'), policy('x')),
    });
    const desire = await follower.next();
    expect(desire.errors.map(({ file, path }) => [file, path])).toEqual([['a.yaml', 'spec.nomadRef']]);
    expect(described(desire)).toEqual(['a=old', 'b=new', 'x=']);
  });

  it('of two that exchange a name is none', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a', 'name: one'), 'b.yaml': policy('b', 'name: two') });
    using follower = new Follower(folder, ['.'], { settleMs: 200 });
    await follower.next();
    await folder.write({ 'a.yaml': policy('a', 'name: two'), 'b.yaml': policy('b', 'name: one') });
    const desire = await follower.next();
    expect(desire.errors).toEqual([]);
    expect(names(desire)).toEqual(['two', 'one']);
  });

  it('that a connection makes leaves out the later one, of which nothing is deleted', async () => {
    using folder = await new Folder().write({
      'clusters.yaml': both(cluster('one', 1), cluster('two', 2)),
      'p.yaml': policy('p', 'nomadRef: one'),
      'q.yaml': both(policy('q', 'nomadRef: two', 'name: p'), policy('r', 'nomadRef: two')),
    });
    using follower = new Follower(folder);
    expect(policies(await follower.next())).toEqual(['p', 'q', 'r']);
    await folder.write({ 'clusters.yaml': both(cluster('one', 1), cluster('two', 1)) });
    const desire = await follower.next();
    expect(desire.errors.map(({ file, path }) => [file, path])).toEqual([['q.yaml', 'spec.name']]);
    expect(policies(desire)).toEqual(['p', 'r']);
    expect(desire.unknown).toEqual(['q.yaml']);
  });
});

describe('connections', () => {
  it('one that is removed: who refers to it is told, and stays', async () => {
    using folder = await new Folder().write({ 'c.yaml': cluster('prod'), 'p.yaml': policy('p', 'nomadRef: prod') });
    using follower = new Follower(folder);
    await follower.next();
    await unlink(folder.at('c.yaml'));
    const desire = await follower.next();
    expect(desire.errors.map(errorLine)).toEqual([
      expect.stringMatching(/^p\.yaml:7:13 spec\.nomadRef: no NomadCluster called "prod" is declared/),
    ]);
    expect(policies(desire)).toEqual(['p']);
    await folder.write({ 'c.yaml': cluster('prod') });
    expect((await follower.next()).errors).toEqual([]);
  });

  it('one that is removed: of a file with a mistake, only what stands in it now is told', async () => {
    using folder = await new Folder().write({ 'c.yaml': cluster('prod'), 'p.yaml': policy('p', 'nomadRef: prod') });
    using follower = new Follower(folder);
    await follower.next();
    await folder.write({ 'p.yaml': policy('p', 'colour: red') });
    await follower.next();
    await unlink(folder.at('c.yaml'));
    const desire = await follower.next();
    expect(desire.resources.map(({ source }) => source)).not.toContain('c.yaml');
    expect(policies(desire)).toEqual(['p']);
    expect(desire.errors.map(({ path }) => path)).toEqual(['spec.colour']);
  });

  it('one of the environment never stands in for one that can not be read at present', async () => {
    using folder = await new Folder().write({ 'c.yaml': `${cluster('default')}broken: [`, 'p.yaml': policy('p') });
    using follower = new Follower(folder);
    const first = await follower.next();
    const address = (desire: typeof first): unknown[] =>
      desire.resources.flatMap(({ kind, spec }) =>
        kind === 'NomadCluster' ? [(spec as { address: string }).address] : [],
      );
    expect(address(first)).toEqual([]);
    expect(first.unknown).toEqual(['c.yaml', 'p.yaml']);
    expect(first.errors.map(({ file }) => file)).toEqual(['c.yaml', 'environment']);
    await folder.write({ 'c.yaml': cluster('default') });
    await follower.until(({ errors }) => errors.length === 0);
    await unlink(folder.at('c.yaml'));
    await folder.write({ 'p.yaml': about('p', 'so that the absence was seen') });
    await follower.next();
    await folder.write({ 'd.yaml': cluster('default') });
    await follower.until(({ resources }) => resources.some(({ source }) => source === 'd.yaml'));
    for (const desire of follower.seen.slice(1)) expect(address(desire)).toEqual(['http://nomad:4646']);
  });

  it('one of the environment is there although a policy is broken', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a', 'colour: red'), 'p.yaml': policy('p') });
    using follower = new Follower(folder);
    const desire = await follower.next();
    expect(desire.resources.map(({ kind }) => kind)).toEqual(['AclPolicy', 'NomadCluster', 'VaultServer']);
  });
});

describe('folders that can not be read', () => {
  const gone = 'there is no such file or folder';

  it('a root that never was there is unknown; it is read when it comes', async () => {
    using folder = await new Folder().write({ 'a/a.yaml': both(cluster('default'), policy('a')) });
    using follower = new Follower(folder, ['a', 'b/deep'], { rootsMs: 50 });
    const first = await follower.next();
    expect(first).toMatchObject({ unknown: ['b/deep'], roots: ['a', 'b/deep'] });
    expect(first.errors.map(errorLine)).toEqual([`b/deep : ${gone}`]);
    await folder.write({ 'b/deep/b.yaml': policy('b') });
    expect(await follower.untilDeclared('a', 'b')).toMatchObject({ unknown: [] });
  });

  it.each(['a folder', 'a file'])('a root that vanished keeps all that it declared: %s', async (kind) => {
    using folder = await new Folder().write({ 'root/a.yaml': policy('a'), 'other/b.yaml': policy('b') });
    const root = kind === 'a file' ? 'root/a.yaml' : 'root';
    using follower = new Follower(folder, [root, 'other'], { rootsMs: 50, vanishMs: 50 });
    const first = await follower.next();
    await rename(folder.at(root), folder.at('away'));
    const held = await follower.next();
    expect(held.errors.map(errorLine)).toEqual([`${root} : ${gone}`]);
    expect(held.unknown).toEqual([]);
    expect(held.resources).toHaveLength(first.resources.length);
    await folder.write({ 'other/b.yaml': about('b', 'longer than it takes for a file to vanish') });
    await follower.until((desire) => described(desire).includes('b=longer than it takes for a file to vanish'));
    await unlink(folder.at('other/b.yaml'));
    const last = await follower.until((desire) => !policies(desire).includes('b'));
    expect(policies(last)).toEqual(['a']);
    await rename(folder.at('away'), folder.at(root));
    await follower.untilDeclared('a');
  });

  it('a folder that may not be read keeps what it declared, or is unknown if it never was', async () => {
    using _ = unprivileged();
    using folder = await new Folder().write({
      'x/a.yaml': policy('a'),
      'y/b.yaml': policy('b'),
      'c.yaml': both(cluster('default'), policy('c')),
    });
    await chmod(folder.at('y'), 0);
    using follower = new Follower(folder, ['.'], { vanishMs: 50 });
    const first = await follower.next();
    expect(policies(first)).toEqual(['c', 'a']);
    expect(first.unknown).toEqual(['y']);
    await chmod(folder.at('x'), 0);
    const second = await follower.next();
    expect(policies(second).sort()).toEqual(['a', 'c']);
    expect(second.unknown).toEqual(['y']);
    expect(second.errors.map(({ file }) => file)).toEqual(['x', 'y']);
    await chmod(folder.at('x'), 0o700);
    await chmod(folder.at('y'), 0o700);
    expect(await follower.untilDeclared('a', 'b', 'c')).toMatchObject({ unknown: [] });
  });

  it('a root that may not be read, and what was unknown in it', async () => {
    using _ = unprivileged();
    using folder = await new Folder().write({
      'root/a.yaml': both(cluster('default'), policy('a')),
      'root/y/b.yaml': policy('b'),
      'root/c.yaml': '[',
    });
    await chmod(folder.at('root/y'), 0);
    using follower = new Follower(folder, ['root'], { rootsMs: 50, vanishMs: 50 });
    await follower.next();
    await chmod(folder.at('root'), 0);
    const held = await follower.until(({ errors }) => errors[0]?.file === 'root');
    expect(policies(held)).toEqual(['a']);
    expect(held.unknown).toEqual(['root/c.yaml', 'root/y']);
    await chmod(folder.at('root'), 0o700);
    await chmod(folder.at('root/y'), 0o700);
    await follower.until((desire) => policies(desire).includes('b'));
  });

  it('a link that leads nowhere keeps what it led to', async () => {
    using folder = await new Folder().write({ 'root/.real/a.yaml': policy('a') });
    await symlink('.real', folder.at('root/link'));
    using follower = new Follower(folder, ['root'], { vanishMs: 50 });
    const first = await follower.next();
    await rename(folder.at('root/.real'), folder.at('root/.away'));
    const held = await follower.next();
    expect(held.errors.map(({ file }) => file)).toEqual(['root/link']);
    expect(held).toMatchObject({ resources: first.resources, unknown: [] });
    await rename(folder.at('root/.away'), folder.at('root/.real'));
    await follower.untilDeclared('a');
  });
});

describe('where nobody tells of a change', () => {
  const deaf = (): never => {
    throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), { code: 'ENOSPC' });
  };

  it('folders that can not be listened to are looked at again and again, and that is said once', async () => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'one'), 'b/b.yaml': policy('b') });
    const warnings: string[] = [];
    const watch = { listen: deaf, deafRescanMs: 30, onWarning: (message: string) => warnings.push(message) };
    using follower = new Follower(folder, ['.'], watch);
    await follower.next();
    for (const text of ['two', 'three']) {
      await folder.write({ 'a.yaml': about('a', text) });
      expect(described(await follower.next())).toEqual([`a=${text}`, 'b=']);
    }
    expect(warnings).toEqual([expect.stringMatching(/ENOSPC.*raise fs\.inotify\.max_user_watches/)]);
  });

  it('everything is looked at from time to time', async () => {
    using folder = await new Folder().write({ 'a.yaml': about('a', 'one') });
    const listen = (): { close(): void } => ({ close: () => undefined });
    using follower = new Follower(folder, ['.'], { listen, rescanMs: 30 });
    await follower.next();
    await folder.write({ 'a.yaml': about('a', 'two') });
    expect(described(await follower.next())).toEqual(['a=two']);
  });
});

describe('limits', () => {
  it('files beyond them stay as they were', async () => {
    using folder = await new Folder().write({ 'z.yaml': policy('z') });
    using follower = new Follower(folder);
    await follower.next();
    const comment = Buffer.alloc(4 * 1024 * 1024, '#');
    await mkdir(folder.at('.new'));
    for (let i = 10; i < 26; i++) await writeFile(folder.at(`.new/${String(i)}.yaml`), comment);
    await rename(folder.at('.new'), folder.at('new'));
    const held = await follower.until(({ errors }) => errors.length > 0);
    expect(held.errors.map(errorLine)).toEqual([
      'z.yaml : the manifests are more than 64 MB together: name fewer with -f',
    ]);
    expect(policies(held)).toEqual(['z']);
    await rm(folder.at('new'), { recursive: true });
    await follower.untilDeclared('z');
  });

  it('so do documents', async () => {
    using folder = await new Folder().write({ 'z.yaml': policy('z') });
    using follower = new Follower(folder);
    await follower.next();
    await folder.write({ 'a.yaml': 'a\n---\n'.repeat(100_000) });
    const held = await follower.until(({ errors }) => errors.length > 0);
    expect(held.errors.at(-1)).toMatchObject({ file: 'z.yaml', message: expect.stringContaining('100000') as string });
    expect(policies(held)).toEqual(['z']);
  });
});

describe('the end', () => {
  it('standard input is refused: it has no later state', () => {
    using folder = new Folder();
    expect(() => new Follower(folder, ['.', '-'])).toThrow(UsageError);
    expect(() => new Follower(folder, ['-'])).toThrow(/standard input can't be followed/);
  });

  const listeners = (): number => process.getActiveResourcesInfo().filter((name) => name === 'FSEventWrap').length;

  it('comes at once with the signal, whether or not somebody waits, and nothing is listened to any more', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b/b.yaml': policy('b') });
    const before = listeners();
    const waiting = new Follower(folder);
    const busy = new Follower(folder);
    await Promise.all([waiting.next(), busy.next()]);
    expect(listeners()).toBeGreaterThan(before);
    const done = waiting.isDone();
    busy.abort();
    waiting.abort();
    await expect.poll(listeners).toBe(before);
    expect(await done).toBe(true);
    expect(await busy.isDone()).toBe(true);
    expect(await new Follower(folder, ['.'], { signal: AbortSignal.abort() }).isDone()).toBe(true);
    expect(listeners()).toBe(before);
  });

  it('also comes when the views are no longer taken', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    const before = listeners();
    const options = { kinds, paths: ['.'], base: folder.path, cwd: folder.path, owner: 'x', environment: ENVIRONMENT };
    for await (const desire of watchDirectory(options, { signal: new AbortController().signal })) {
      expect(listeners()).toBeGreaterThan(before);
      expect(policies(desire)).toEqual(['a']);
      break;
    }
    await expect.poll(listeners).toBe(before);
  });

  it('keeps no process alive', async () => {
    using folder = await new Folder().write({ 'a.yaml': both(cluster('default'), policy('a')) });
    const at = (path: string): string =>
      JSON.stringify(pathToFileURL(resolve(import.meta.dirname, '../../../src', path)));
    const program = `
      import { kinds } from ${at('kinds/index.ts')};
      import { watchDirectory } from ${at('sources/directory/watch.ts')};
      const base = ${JSON.stringify(folder.path)};
      const abort = new AbortController();
      const options = { kinds, paths: ['.'], base, cwd: base, owner: 'x', environment: [] };
      const views = watchDirectory(options, { signal: abort.signal });
      console.log((await views.next()).value.resources.length);
      void views.next().then(({ done }) => console.log(done));
      setTimeout(() => abort.abort(), 50);`;
    const child = promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      timeout: 30_000,
    });
    expect((await child).stdout).toBe('2\ntrue\n');
  });
});
