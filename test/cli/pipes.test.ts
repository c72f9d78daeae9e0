import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { numberedPolicies, Workspace } from '../e2e/workspace.ts';

const COUNT = 60;

describe('a reader that closes the pipe', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    workspace.write('a.yaml', ...numberedPolicies(COUNT));
  });

  /** Runs the command with a pipe that nobody reads: closed before the command writes anything to it. */
  async function runUnread(
    pipe: 'stdout' | 'stderr',
    ...args: string[]
  ): Promise<{ code: number | null; other: string }> {
    const { child, outcome } = workspace.start(args);
    child[pipe]?.destroy();
    if (pipe === 'stdout') await once(child, 'exit');
    const { code, stdout, stderr } = await outcome;
    return { code, other: stdout + stderr };
  }

  it('ends a plan quietly', async () => {
    expect(await runUnread('stdout', 'plan', '-f', 'manifests')).toEqual({ code: 0, other: '' });
  });

  it.each(['stdout', 'stderr'] as const)(
    'of %s keeps an apply from nothing: all is done and recorded, and no lock stays',
    async (pipe) => {
      const { code, other } = await runUnread(pipe, 'apply', '-f', 'manifests', '-y');
      expect(code).toBe(0);
      expect(other).not.toContain('EPIPE');
      expect(sandbox.nomad.server.snapshot().policies).toHaveLength(COUNT);
      expect(existsSync(join(workspace.manifests, '.nomad-access.state.json.lock'))).toBe(false);
      expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
      expect(workspace.recorded()).toHaveLength(COUNT);
    },
  );
});
