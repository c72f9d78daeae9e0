import { execFileSync } from 'node:child_process';
import { chmod, mkdir, open, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { declared, Folder, loadText, policy, token } from './loading.ts';

async function link(folder: Folder, name: string, target: string): Promise<void> {
  await mkdir(dirname(folder.at(name)), { recursive: true });
  await symlink(target, folder.at(name));
}

describe('which files are read', () => {
  it('reads yaml, yml and json in all folders, and nothing with a dot in front', async () => {
    using folder = await new Folder().write({
      'a.yaml': policy('a'),
      'deep/er/b.yml': policy('b'),
      'c.json': JSON.stringify({
        apiVersion: 'nomad-access.io/v1alpha1',
        kind: 'AclPolicy',
        metadata: { name: 'c' },
        spec: { rules: 'x' },
      }),
      'README.md': '[',
      '.hidden.yaml': '[',
      '.git/config.yaml': '[',
      '.nomad-access.state.json': '[',
    });
    const desire = await folder.load();
    expect(desire.errors).toEqual([]);
    expect(declared(desire)).toEqual(['AclPolicy/default/a', 'AclPolicy/default/c', 'AclPolicy/default/b']);
    expect(desire.resources.map((r) => r.source)).toEqual([
      'a.yaml',
      'c.json',
      'deep/er/b.yml',
      'environment',
      'environment',
    ]);
    expect(desire.resources.slice(0, 3).map((r) => r.folder)).toEqual([folder.path, folder.path, folder.at('deep/er')]);
    expect(desire.roots).toEqual(['.']);
  });

  it('names roots and sources relative to the inventory, with the whole path where they lie elsewhere', async () => {
    using folder = await new Folder().write({ 'in/a/a.yaml': policy('a'), 'out/b.yaml': policy('b') });
    const desire = await folder.load(['in/a', './in/a/', 'out/b.yaml'], { base: folder.at('in') });
    expect(desire.roots).toEqual(['a', folder.at('out/b.yaml')]);
    expect(desire.resources.slice(0, 2).map((r) => r.source)).toEqual(['a/a.yaml', folder.at('out/b.yaml')]);
  });

  it('reads standard input, whose paths start from the working folder', async () => {
    const desire = await loadText(policy('a'), { cwd: '/tmp', paths: ['-', '-'] });
    expect(declared(desire)).toEqual(['AclPolicy/default/a']);
    expect(desire.resources[0]).toMatchObject({ source: '-', folder: '/tmp' });
    expect(desire.roots).toEqual(['-']);
  });

  it('reports standard input that fails or is missing', async () => {
    const fails = await loadText('', { stdin: () => Promise.reject(new Error('it is closed')) });
    expect(fails.errors).toMatchObject([{ file: '-', message: "can't be read: it is closed" }]);
    using folder = new Folder();
    expect(await folder.errors(['-'])).toEqual(["- : can't be read: there is no standard input"]);
  });

  it('reads a file once, however often and by whatever name it is given', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'b/c.yaml': policy('c') });
    await link(folder, 'link.yaml', 'a.yaml');
    await link(folder, '0-folder', 'b');
    const desire = await folder.load(['a.yaml', '.', 'b', 'b/c.yaml']);
    expect(desire.errors).toEqual([]);
    expect(desire.resources.map((r) => r.source)).toEqual(['a.yaml', 'b/c.yaml', 'environment', 'environment']);
  });

  it('reads a ConfigMap as Kubernetes mounts it', async () => {
    using folder = await new Folder().write({ 'mount/..2026_11_24/x.yaml': policy('x') });
    await link(folder, 'mount/..data', '..2026_11_24');
    await link(folder, 'mount/x.yaml', '..data/x.yaml');
    const desire = await folder.load(['mount']);
    expect(desire.errors).toEqual([]);
    expect(desire.resources[0]).toMatchObject({ source: 'mount/x.yaml', folder: folder.at('mount') });
    expect(declared(desire)).toEqual(['AclPolicy/default/x']);
  });

  it('a file given by its name may have any name, and may be a symlink', async () => {
    using folder = await new Folder().write({ 'in/.x': policy('x'), 'other/y.txt': policy('y') });
    await link(folder, 'in/y', '../other/y.txt');
    expect(declared(await folder.load(['in/.x', 'in/y']))).toEqual(['AclPolicy/default/x', 'AclPolicy/default/y']);
  });
});

describe('files that are refused', () => {
  it('a path that does not exist', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a') });
    expect(await folder.errors(['.', 'missing', 'a.yaml/b'])).toEqual([
      'a.yaml/b : a part of the path is no folder',
      'missing : there is no such file or folder',
    ]);
  });

  it('symlinks that leave the folder, naming both ends', async () => {
    using folder = await new Folder().write({ 'outside/x.yaml': policy('x'), 'root/a.yaml': policy('a') });
    await link(folder, 'root/x.yaml', '../outside/x.yaml');
    await link(folder, 'root/deep/folder', '../../outside');
    const outside = folder.at('outside');
    const leaves = `is a symlink that leaves ${folder.at('root')}: it leads to ${outside}`;
    expect(await folder.errors(['root'])).toEqual([`root/deep/folder : ${leaves}`, `root/x.yaml : ${leaves}/x.yaml`]);
  });

  it('symlinks that lead nowhere or in circles', async () => {
    using folder = await new Folder().write({ 'root/a.yaml': policy('a') });
    await link(folder, 'root/dangling.yaml', 'gone.yaml');
    await link(folder, 'root/loop.yaml', 'pool.yaml');
    await link(folder, 'root/pool.yaml', 'loop.yaml');
    await link(folder, 'root/deep/up', '..');
    await link(folder, 'root/self', '.');
    const back = `is a symlink that leads back to ${folder.at('root')}, which holds it`;
    expect(await folder.errors(['root'])).toEqual([
      'root/dangling.yaml : is a symlink to gone.yaml, which does not exist',
      `root/deep/up : ${back}`,
      'root/loop.yaml : is a symlink that leads back to itself',
      'root/pool.yaml : is a symlink that leads back to itself',
      `root/self : ${back}`,
    ]);
    expect(await folder.errors(['root/dangling.yaml'])).toEqual([
      'root/dangling.yaml : is a symlink to gone.yaml, which does not exist',
    ]);
  });

  it('a fifo, found or given', async () => {
    using folder = new Folder();
    execFileSync('mkfifo', [folder.at('x.yaml')]);
    const refusal = [
      'x.yaml : is no regular file: manifests are read from files, folders and, with -f -, standard input',
    ];
    expect(await folder.errors()).toEqual(refusal);
    expect(await folder.errors(['x.yaml'])).toEqual(refusal);
    await link(folder, 'y.yaml', 'x.yaml');
    expect(await folder.errors(['y.yaml'])).toHaveLength(1);
  });

  it.skipIf(process.getuid?.() === 0)('what may not be read', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('a'), 'closed/b.yaml': policy('b') });
    await chmod(folder.at('a.yaml'), 0);
    await chmod(folder.at('closed'), 0);
    const errors = await folder.errors();
    await chmod(folder.at('closed'), 0o700);
    expect(errors).toEqual([
      'a.yaml : may not be read by this user: change its permissions',
      'closed : may not be read by this user: change its permissions',
    ]);
  });

  it('100 MB, without reading them', async () => {
    using folder = await new Folder().write({ 'a.yaml': '' });
    await truncate(folder.at('a.yaml'), 100 * 1024 * 1024);
    const before = process.memoryUsage.rss();
    expect(await folder.errors()).toEqual(['a.yaml : has 100.0 MB, and a file of manifests may have 4 MB: split it']);
    expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 1024 * 1024);
  });

  it('4 MB are read, a byte more is not, nor on standard input', async () => {
    using folder = await new Folder().write({
      'a.yaml': policy('a') + '#'.repeat(4 * 1024 * 1024 - policy('a').length),
    });
    expect(await folder.errors()).toEqual([]);
    const file = await open(folder.at('a.yaml'), 'a');
    await file.write('#');
    await file.close();
    expect(await folder.errors()).toHaveLength(1);
    expect((await loadText('#'.repeat(4 * 1024 * 1024 + 1))).errors).toHaveLength(1);
  });

  it('more than 64 MB together', async () => {
    using folder = new Folder();
    const comment = Buffer.alloc(4 * 1024 * 1024, '#');
    for (let i = 10; i < 27; i++) await writeFile(folder.at(`${String(i)}.yaml`), comment);
    expect(await folder.errors()).toEqual(['26.yaml : the manifests are more than 64 MB together: name fewer with -f']);
  });

  it('more than 100,000 documents', async () => {
    using folder = await new Folder().write({
      'a.yaml': 'a\n---\n'.repeat(60_000),
      'b.yaml': 'a\n---\n'.repeat(60_000),
    });
    const errors = await folder.errors();
    expect(errors.filter((error) => error.includes('more than 100000 documents'))).toHaveLength(1);
  });

  it('more than 100,000 items in a list', async () => {
    const { errors } = await loadText(`apiVersion: v1\nkind: List\nitems: [${'a,'.repeat(100_001)}]`);
    expect(errors.filter(({ message }) => message.includes('more than 100000 documents'))).toHaveLength(1);
  });

  it('bytes that are no UTF-8, with their line', async () => {
    using folder = await new Folder().write({
      'latin1.yaml': Buffer.from('# ok\n# ü\n# M\u00fcller\n', 'latin1'),
      'utf16.yaml': Buffer.from(`\uFEFF${policy('a')}`, 'utf16le'),
    });
    expect(await folder.errors()).toEqual([
      'latin1.yaml:2:1 : is not UTF-8: save it as UTF-8',
      'utf16.yaml:1:1 : is not UTF-8: save it as UTF-8',
    ]);
  });

  it('a NUL character, with its place', async () => {
    using folder = await new Folder().write({ 'a.yaml': 'a: b\nc: d\0e\n' });
    expect(await folder.errors()).toEqual(['a.yaml:2:5 : holds a NUL character: manifests are text']);
  });

  it('a byte order mark does no harm, and moves no column', async () => {
    using folder = await new Folder().write({ 'a.yaml': `\uFEFF${policy('a')}` });
    const { errors, resources } = await folder.load();
    expect(errors).toEqual([]);
    expect(resources[0]?.locate('apiVersion')).toEqual({ file: 'a.yaml', line: 1, column: 13 });
    expect((await loadText(`\uFEFF${policy('a')}`)).errors).toEqual([]);
  });
});

describe('secret files', () => {
  it('the same resource in two files: the second one is told where the first one is', async () => {
    using folder = await new Folder().write({ 'a.yaml': policy('same'), 'b/c.yaml': `\n${policy('same')}` });
    expect(await folder.errors()).toEqual([
      'b/c.yaml:5:9 metadata.name: AclPolicy default/same is declared already at a.yaml:4:9: remove one of the two',
    ]);
  });

  it('a relative path is within the root where it passes no symlink out of it', async () => {
    using folder = await new Folder().write({ 'root/deep/a.yaml': token('a', '../a.token'), 'outside/x': '' });
    expect(await folder.errors(['root'])).toEqual([]);
    expect(await folder.errors(['root/deep'])).toHaveLength(1);
    await link(folder, 'root/.out', '../outside');
    await folder.write({ 'root/b.yaml': token('b', '.out/new/b.token') });
    expect(await folder.errors(['root'])).toEqual([
      `root/b.yaml:7:32 spec.writeSecretTo.file.path: must not lead out of ${folder.at('root')}: write an absolute path if that is meant`,
    ]);
  });

  it('an absolute path may lie anywhere', async () => {
    using folder = await new Folder().write({ 'root/a.yaml': token('a', '/run/secrets/a') });
    expect(await folder.errors(['root'])).toEqual([]);
  });

  it('what is no regular file is refused', async () => {
    using folder = await new Folder().write({
      'a.yaml': token('a', 'folder'),
      'folder/x': '',
      'b.yaml': token('b', 'b.token'),
    });
    await link(folder, 'b.token', 'folder/x');
    const message =
      'spec.writeSecretTo.file.path: exists already and is no regular file: remove it, or name another one';
    expect(await folder.errors()).toEqual([`a.yaml:7:32 ${message}`, `b.yaml:7:32 ${message}`]);
  });

  it('two tokens write to one file, by different ways', async () => {
    using folder = await new Folder().write({
      'a.yaml': token('a', 'real/x'),
      'b.yaml': token('b', 'link/x'),
      'real/y': '',
    });
    await link(folder, 'link', 'real');
    expect(await folder.errors()).toEqual([
      `b.yaml:7:32 spec.writeSecretTo.file.path: stands for file ${folder.at('link/x')}, and so does AclToken default/a at a.yaml:4:9: only one resource can`,
    ]);
  });
});
