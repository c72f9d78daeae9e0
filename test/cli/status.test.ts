import { beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';

interface Status {
  readonly resources: readonly {
    readonly kind: string;
    readonly name: string;
    readonly ready: string;
    readonly reason: string;
    readonly message: string;
    readonly live: Record<string, unknown>;
  }[];
}

const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const RECORDED = ['--state', 'manifests/.nomad-access.state.json'];
const DECLARED = ['-f', 'manifests'];

describe('status', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(async () => {
    ({ sandbox, workspace } = setting);
    workspace.write('policy.yaml', manifest('AclPolicy', 'p', RULES));
    workspace.write(
      'token.yaml',
      manifest('AclToken', 't', 'policies: [p]\nwriteSecretTo: { file: { path: secrets/t } }'),
    );
    expect((await workspace.apply()).code).toBe(0);
  });

  async function status(args: readonly string[]): Promise<Status & { code: number | null }> {
    const { code, stdout } = await workspace.run('status', ...args, '-o', 'json');
    return { ...(JSON.parse(stdout) as Status), code };
  }
  async function deletePolicy(): Promise<void> {
    const { address, token } = sandbox.nomad;
    await fetch(`${address}/v1/acl/policy/p`, { method: 'DELETE', headers: { 'x-nomad-token': token } });
  }
  const ready = ({ resources }: Status): string[] => resources.map((r) => `${r.name}: ${r.ready} ${r.reason}`);

  it.each([['declared', DECLARED] as const, ['recorded', RECORDED] as const])(
    'of what is %s says by its exit code that a token is not accepted',
    async (_what, args) => {
      workspace.retarget({ nomad: { address: sandbox.nomad.address, token: 'a wrong one' } });
      const found = await status(args);
      expect(found.code).toBe(1);
      expect(found.resources[0]).toMatchObject({ name: 'p', ready: 'Unknown', reason: 'Denied' });
    },
  );

  it('says by its exit code that the server is down, and says it once', async () => {
    await sandbox.close();
    const { code, stdout } = await workspace.run('status', ...DECLARED);
    expect(code).toBe(1);
    expect(stdout.match(/nothing listens there/g)).toHaveLength(1);
    expect(stdout).toContain('0 of 2 ready.');
  });

  it('without manifests tells what of the inventory is there, and threatens nothing', async () => {
    const before = await status(RECORDED);
    expect(before.code).toBe(0);
    expect(ready(before)).toEqual(['p: True Recorded', 't: True Recorded']);
    await deletePolicy();
    const after = await status(RECORDED);
    expect(ready(after)).toEqual(['p: False Gone', 't: True Recorded']);
    expect(after.resources[0]?.live).toEqual({ objects: [{ object: 'default/acl-policy/p', state: 'gone' }] });
    const { stdout } = await workspace.run('status', ...RECORDED);
    expect(stdout).not.toMatch(/Removed|delete/);
    expect(stdout).toContain('1 of 2 still there.');
  });

  it('shows what identifies the live objects, and nothing of what is not there', async () => {
    const { stdout } = await workspace.run('status', ...DECLARED);
    const { AccessorID } = sandbox.nomad.server.snapshot().tokens.find((t) => t.Name.startsWith('t ')) ?? {};
    expect(stdout).toContain(`accessorId=${String(AccessorID)}`);
    expect(stdout).toContain('secretFile=secrets/t');
    await deletePolicy();
    expect((await status(DECLARED)).resources.find((r) => r.name === 'p')).toMatchObject({
      ready: 'False',
      reason: 'Missing',
      live: {},
    });
  });

  it('does not call ready what was removed and is gone already', async () => {
    workspace.remove('policy.yaml');
    await deletePolicy();
    expect((await status(DECLARED)).resources.find((r) => r.name === 'p')).toMatchObject({
      ready: 'False',
      reason: 'Gone',
    });
  });

  it.each([['status'], ['destroy', '-y']])('%s of an inventory that does not exist is an error', async (...args) => {
    const { code, stdout, stderr } = await workspace.run(...args, '--state', 'nope.json');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/there is no inventory at .*nope\.json/);
  });

  it.each([['status'], ['destroy', '-y']])('%s of manifests that were never applied says so', async (...args) => {
    const { code, stderr } = await workspace.run(...args, '-f', 'manifests', '--state', 'other.json');
    expect(code).toBe(0);
    expect(stderr).toMatch(/There is no inventory at .*other\.json/);
  });
});
