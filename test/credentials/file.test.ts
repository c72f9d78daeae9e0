import { mkdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { FileCredential } from '../../src/credentials/file.ts';
import { VirtualClock } from '../faults/virtual-clock.ts';
import { temporaryDirectory } from '../servers/process.ts';

describe('a token in a file', () => {
  const folder = temporaryDirectory('token-file');
  const path = join(folder.path, 'token');
  let clock: VirtualClock;
  let changes: number;

  beforeEach(() => {
    rmSync(path, { force: true });
    clock = new VirtualClock();
    changes = 0;
  });
  afterAll(() => {
    folder.remove();
  });

  const open = (): Promise<FileCredential> =>
    FileCredential.open({
      path,
      name: 'token',
      hint: 'spec.auth.tokenFile',
      clock: clock.ofProcess(() => true),
      onChange: () => changes++,
    });

  /** Uses it, so that a look that is due begins. */
  const used = (credential: FileCredential): (() => string) => {
    return () => {
      try {
        return credential.token();
      } catch (error) {
        return String(error);
      }
    };
  };

  it('is used as it is now a few seconds after it was replaced, and read no more often than that', async () => {
    writeFileSync(path, 'old\n');
    const credential = await open();
    writeFileSync(path, 'new\n');
    await clock.runUntil(4_999);
    expect(credential.token()).toBe('old');
    await clock.runUntil(5_000);
    await expect.poll(used(credential)).toBe('new');
    expect(changes).toBe(1);
  });

  it('is read at once when the old one is refused', async () => {
    writeFileSync(path, 'old');
    const credential = await open();
    expect(await credential.replaced('old')).toBe(false);
    writeFileSync(path, 'new');
    expect(await credential.replaced('old'), 'it was looked at a moment ago').toBe(false);
    await clock.runUntil(1_000);
    expect(await credential.replaced('old')).toBe(true);
    expect(credential.token()).toBe('new');
    expect(await credential.replaced('old'), 'there is another one already').toBe(true);
  });

  it('is kept while its file is being rewritten or is gone', async () => {
    writeFileSync(path, 'old');
    const credential = await open();
    for (const disturb of [
      () => {
        writeFileSync(path, '');
      },
      () => {
        unlinkSync(path);
      },
    ]) {
      disturb();
      await clock.runUntil(clock.monotonic() + 1_000);
      expect(await credential.replaced('old')).toBe(false);
      expect([credential.token(), credential.trouble, changes]).toEqual(['old', undefined, 0]);
    }
  });

  it('is followed through the links of a mounted Secret', async () => {
    for (const version of ['1', '2']) {
      mkdirSync(join(folder.path, version));
      writeFileSync(join(folder.path, version, 'token'), `token-${version}`);
    }
    const link = (to: string): void => {
      rmSync(join(folder.path, '..data'), { force: true });
      symlinkSync(to, join(folder.path, '..data'));
    };
    link('1');
    symlinkSync('..data/token', path);
    const credential = await open();
    link('2');
    expect(await credential.replaced('token-1')).toBe(true);
    expect(credential.token()).toBe('token-2');
  });

  it('that is not there is waited for, and the refusal names the field', async () => {
    const credential = await open();
    expect(credential.trouble?.error).toMatch(/^there is no token \(spec\.auth\.tokenFile\): ENOENT/);
    expect(() => credential.token()).toThrow('there is no token');
    writeFileSync(path, 'here');
    await clock.runUntil(5_000);
    await expect.poll(used(credential)).toBe('here');
    expect([credential.trouble, changes]).toEqual([undefined, 1]);
  });

  it.each([
    ['', 'is empty: it must hold the token'],
    ['hunter2 and more', 'holds no token'],
    ['hunter2\nhunter2', 'holds no token'],
    ['{\n  "hunter2": ""\n}', 'holds no token'],
  ])('%j is none, and is not repeated', async (content, message) => {
    writeFileSync(path, content);
    const { trouble } = await open();
    expect(trouble?.error).toContain(message);
    expect(trouble?.error).not.toContain('hunter2');
  });

  it('is not looked at any more once it is closed', async () => {
    const credential = await open();
    await credential.close();
    writeFileSync(path, 'here');
    await clock.runUntil(60_000);
    expect(changes).toBe(0);
    expect(credential.trouble).toBeDefined();
  });
});
