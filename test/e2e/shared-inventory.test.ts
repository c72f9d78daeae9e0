import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSandbox, type Sandbox } from '../../src/sandbox/index.ts';
import { manifest, Workspace, type Outcome } from './workspace.ts';

const policy = (name: string): string =>
  manifest('AclPolicy', name, `rules: 'namespace "default" { policy = "read" }'`);
const TOKEN = manifest('AclToken', 'ci', 'policies: [one]\nwriteSecretTo: { file: { path: secrets/ci } }');

describe('two checkouts of one repository that share an inventory', () => {
  let sandbox: Sandbox;
  let first: Workspace;
  let second: Workspace;
  let folder: string;

  beforeEach(async () => {
    sandbox = await startSandbox();
    [first, second] = [new Workspace(sandbox), new Workspace(sandbox)];
    folder = mkdtempSync(join(tmpdir(), 'nomad-access-shared-'));
    for (const checkout of [first, second]) checkout.write('one.yaml', policy('one'), TOKEN);
    first.write('two.yaml', policy('two'));
  });
  afterEach(async () => {
    first.dispose();
    second.dispose();
    rmSync(folder, { recursive: true });
    await sandbox.close();
  });

  const run = async (checkout: Workspace, ...args: string[]): Promise<Outcome> => {
    const outcome = await checkout.run(...args, '--state', join(folder, 'state.json'));
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(0);
    return outcome;
  };
  const policies = (): string[] => sandbox.nomad.server.snapshot().policies.map((p) => p.Name);
  const secret = (): string =>
    `${sandbox.nomad.server.snapshot().tokens.find((t) => t.Name.startsWith('ci'))?.SecretID ?? ''}\n`;

  it('call the same files by the same names: what is gone from one is pruned, and each has its secret', async () => {
    await run(first, 'apply', '-f', 'manifests', '-y');
    expect(policies()).toEqual(['one', 'two']);
    const before = secret();
    await run(second, 'apply', '-f', 'manifests', '-y');
    expect(policies()).toEqual(['one']);
    expect([secret(), first.read('secrets/ci'), second.read('secrets/ci')]).toEqual([before, before, before]);
    first.remove('two.yaml');
    const { stdout } = await run(first, 'plan', '-f', 'manifests', '--detailed-exitcode');
    expect(stdout).toContain('Nothing to do');
  });

  it('are destroyed without naming manifests, with the secret of the checkout that wrote last', async () => {
    await run(first, 'apply', '-f', 'manifests', '-y');
    await run(second, 'destroy', '-y');
    expect([policies(), sandbox.nomad.server.snapshot().tokens.length]).toEqual([[], 1]);
    expect(() => first.read('secrets/ci')).toThrow(/ENOENT/);
  });
});
