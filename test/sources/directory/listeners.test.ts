import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { listen, Listeners } from '../../../src/sources/directory/listeners.ts';
import { Folder } from './loading.ts';

/** Listens to one folder, and waits for what is told. */
class Listening {
  told = 0;
  #wake: () => void = () => undefined;
  readonly #listeners = new Listeners(() => {
    this.told++;
    this.#wake();
  }, listen);

  async start(folder: string): Promise<void> {
    this.#listeners.begin();
    await this.#listeners.folder(folder);
    this.#listeners.end();
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  [Symbol.dispose](): void {
    this.#listeners.close();
  }
}

describe('changes that matter', () => {
  it('a secret or a state file that is written beside the manifests is none', async () => {
    using folder = new Folder();
    using listening = new Listening();
    await listening.start(folder.path);
    for (let i = 0; i < 50; i++) {
      await folder.write({ [`${String(i)}.token.tmp`]: 'secret', '.state.json': '{}' });
      await rename(folder.at(`${String(i)}.token.tmp`), folder.at(`${String(i)}.token`));
    }
    const told = listening.next();
    await mkdir(folder.at('new'));
    await told;
    expect(listening.told).toBe(1);
  });

  it.each<[string, (folder: Folder) => Promise<void>]>([
    ['a manifest', (folder) => writeFile(folder.at('a.yml'), '')],
    ['a folder', (folder) => mkdir(folder.at('new/deep'), { recursive: true }).then(() => undefined)],
    ['a symlink', (folder) => symlink('elsewhere', folder.at('new'))],
  ])('%s is one', async (_, make) => {
    using folder = new Folder();
    using listening = new Listening();
    await listening.start(folder.path);
    const told = listening.next();
    await make(folder);
    await told;
  });

  it('a folder that is listened to no more is silent', async () => {
    using folder = await new Folder().write({ 'a/a.yaml': '', 'b/b.yaml': '' });
    using listening = new Listening();
    await listening.start(folder.at('a'));
    await listening.start(folder.at('b'));
    await folder.write({ 'a/a.yaml': 'new' });
    const told = listening.next();
    await folder.write({ 'b/b.yaml': '' });
    await told;
    expect(listening.told).toBe(1);
  });
});
