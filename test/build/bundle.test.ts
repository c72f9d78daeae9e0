import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

describe('the executable', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-bundle-'));
  const executable = join(folder, 'nomad-access.js');

  beforeAll(() => {
    copyFileSync(join(ROOT, 'dist/nomad-access.js'), executable);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs it alone, with no node_modules beside it. */
  function run(node: readonly string[], ...args: string[]): { status: number | null; stdout: string; stderr: string } {
    const [command = '', ...before] = node;
    return spawnSync(command, [...before, executable, ...args], { cwd: folder, encoding: 'utf8', timeout: 300_000 });
  }

  it.each([
    ['this Node', [process.execPath]],
    ['Node 22', ['npx', '-y', '-p', 'node@22', 'node']],
    ['Node 24', ['npx', '-y', '-p', 'node@24', 'node']],
  ])(
    'runs on %s without anything beside it',
    (_name, node) => {
      const { status, stdout, stderr } = run(node, 'version', '-o', 'json');
      expect(status, stderr).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ version });
      expect(run(node, 'crds').stdout).toContain('kind: CustomResourceDefinition');
    },
    600_000,
  );

  it.each([
    [[], 'Usage: nomad-access'],
    [['aply'], "unknown command 'aply'"],
    [['plan'], "required option '-f, --file <path>' not specified"],
    [['plan', '-f', 'nowhere'], 'nowhere: there is no such file or folder'],
    [['apply', '-f', '.', '-o', 'json'], 'nobody can be asked for a confirmation here, so nothing was done: add --yes'],
    [['plan', '-f', '.', '-o', 'xml'], 'Allowed choices are text, json, markdown'],
    [['destroy', '-y'], '--state'],
    [['status', '-f', '-'], '--state'],
    [['sandbox', '--nomad-port', 'x'], 'It must be a port number'],
  ])('%j is answered with what to do, and exit code 1', (args, text) => {
    const { status, stdout, stderr } = run([process.execPath], ...args);
    expect([status, stdout + stderr]).toEqual([1, expect.stringContaining(text)]);
    expect(stdout + stderr).not.toMatch(/\n {4}at /);
  });
});
