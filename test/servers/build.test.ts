import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { requireServers, serverBinary } from './binaries.ts';

// A wrong answer here is a suite that passes on another server than the one it names, or does not run at all.

const script = join(import.meta.dirname, 'build.sh');
const pinned = /^require github\.com\/hashicorp\/nomad v(.+)$/m.exec(
  readFileSync(join(import.meta.dirname, 'nomad', 'go.mod'), 'utf8'),
)?.[1];

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'build-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

/** A program that prints one line, in a folder of its own. */
function fake(folder: string, prints: string): string {
  mkdirSync(join(directory, folder), { recursive: true });
  const file = join(directory, folder, 'nomad');
  writeFileSync(file, `#!/bin/sh\necho '${prints}'\n`);
  chmodSync(file, 0o755);
  return file;
}

/** build.sh with an empty cache, no `go`, and nothing on PATH beside the system's own programs but `path`. */
function build(args: string[], environment: { path?: string; NOMAD_BIN?: string } = {}) {
  const { path, ...variables } = environment;
  const env = { HOME: directory, PATH: `${path === undefined ? '' : `${path}:`}/usr/bin:/bin`, ...variables };
  return spawnSync(script, args, { encoding: 'utf8', env });
}

describe('build.sh', () => {
  it('takes what NOMAD_BIN names, whatever its version', () => {
    const NOMAD_BIN = fake('mine', 'Nomad v0.0.1');
    expect(build(['nomad'], { NOMAD_BIN }).stdout).toBe(`nomad=${NOMAD_BIN}\n`);
  });

  it('refuses a NOMAD_BIN that is not there, instead of taking another', () => {
    const { status, stderr } = build(['nomad'], { NOMAD_BIN: join(directory, 'nothing') });
    expect(status).toBe(1);
    expect(stderr).toContain('NOMAD_BIN');
  });

  it('takes the binary in the cache', () => {
    const cached = fake(`.cache/nomad-access/servers/nomad-${pinned ?? ''}`, 'anything');
    expect(build(['nomad']).stdout).toBe(`nomad=${cached}\n`);
  });

  it('takes one on PATH of the pinned version', () => {
    const onPath = fake('bin', `Nomad v${pinned ?? ''}`);
    expect(build(['nomad'], { path: join(directory, 'bin') }).stdout).toBe(`nomad=${onPath}\n`);
  });

  it.each([`Nomad v${pinned ?? ''}0`, `Nomad v1${pinned ?? ''}`, `Nomad v${pinned ?? ''}+ent`, 'Nomad v0.0.1', ''])(
    'does not take one on PATH that calls itself "%s"',
    (printed) => {
      fake('bin', printed);
      const { status, stdout } = build(['--find', 'nomad'], { path: join(directory, 'bin') });
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    },
  );

  it('names a server that it does not know', () => {
    expect(build(['consul']).stderr).toContain('unknown server consul');
  });
});

describe('requireServers', () => {
  it('skips on a developer’s machine and fails on CI where a server is missing', () => {
    vi.stubEnv('NOMAD_BIN', join(directory, 'nothing'));
    vi.stubEnv('CI', '');
    expect(() => serverBinary('nomad')).toThrow('missing server nomad: run `make servers`');
    expect(requireServers('nomad')).toBe(false);
    vi.stubEnv('CI', 'true');
    expect(() => requireServers('nomad')).toThrow('missing server nomad');
  });
});
