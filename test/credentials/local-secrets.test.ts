import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import { localSecrets } from '../../src/credentials/local-secrets.ts';

const SECRET = 'correct horse battery staple';

describe('a secret on the machine that runs us', () => {
  let root: string;
  let folder: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'secrets-'));
    folder = join(root, 'manifests');
    mkdirSync(join(folder, 'secrets'), { recursive: true });
    writeFileSync(join(folder, 'secrets', 'client'), `${SECRET}\n`);
    writeFileSync(join(root, 'outside'), SECRET);
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  const read = (path: string): Promise<string> => localSecrets({}).read({ from: 'file', folder, path });
  async function refusal(reading: Promise<string>): Promise<string> {
    const error: unknown = await reading.catch((e: unknown) => e);
    if (!(error instanceof TargetError)) throw new Error(`it was not refused: ${String(error)}`);
    expect(error.class).toBe('dependency');
    expect(error.message).not.toContain(SECRET);
    return error.message;
  }

  it('is read from a file in the folder of the manifest or below, without the newline at its end', async () => {
    expect(await read('secrets/client')).toBe(SECRET);
  });

  it('is read through a link within the folder, as Kubernetes mounts them', async () => {
    symlinkSync(join(folder, 'secrets', 'client'), join(folder, 'link'));
    expect(await read('link')).toBe(SECRET);
  });

  it.each([['../outside'], ['secrets/../../outside']])('is not read from %s', async (path) => {
    expect(await refusal(read(path))).toContain("leads out of the manifest's folder");
  });

  it('is not read through a link to a file, or by way of a folder, that lies elsewhere', async () => {
    symlinkSync(join(root, 'outside'), join(folder, 'link'));
    symlinkSync(root, join(folder, 'way'));
    expect(await refusal(read('link'))).toContain("leads out of the manifest's folder");
    expect(await refusal(read('way/outside'))).toContain("leads out of the manifest's folder");
  });

  it('is not waited for where the file is a pipe', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect(await refusal(read('pipe'))).toContain('no regular file');
  });

  it.each([
    ['empty', '\n', 'is empty'],
    ['long', 'x'.repeat(70_000), 'longer than 65536 bytes'],
    ['binary', Buffer.from([0xff, 0xfe, 0x00]), 'is no text'],
  ])('must be one: %s', async (name, content, message) => {
    writeFileSync(join(folder, name), content);
    expect(await refusal(read(name))).toContain(message);
  });

  it('that is not there says which file is meant', async () => {
    expect(await refusal(read('nothing'))).toContain(join(folder, 'nothing'));
  });

  it('is read from a variable that is named for it, and from no other one', async () => {
    const secrets = localSecrets({ NOMAD_ACCESS_SECRET_SSO: ` ${SECRET} `, NOMAD_TOKEN: SECRET });
    expect(await secrets.read({ from: 'variable', name: 'NOMAD_ACCESS_SECRET_SSO' })).toBe(SECRET);
    expect(await refusal(secrets.read({ from: 'variable', name: 'NOMAD_TOKEN' }))).toContain('must begin with');
    expect(await refusal(secrets.read({ from: 'variable', name: 'NOMAD_ACCESS_SECRET_B' }))).toContain('is not set');
  });

  it('can be no Secret of Kubernetes', async () => {
    const place = { from: 'kubernetes', namespace: 'default', name: 'sso', key: 'secret' } as const;
    expect(await refusal(localSecrets({}).read(place))).toContain('--source kubernetes');
  });
});
