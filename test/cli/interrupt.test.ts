import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Interrupted } from '../../src/cli/interrupted.ts';
import { loadManifests } from '../../src/cli/session.ts';
import type { HookAnswer, Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { numberedPolicies, Workspace } from '../e2e/workspace.ts';

const COUNT = 400;

describe('Ctrl-C', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    workspace.write('a.yaml', ...numberedPolicies(COUNT));
  });

  /** Sends the signal at the first request of the look, none of which is answered; a second signal would end it at once. */
  async function interruptedLook(
    signal: NodeJS.Signals,
    ...args: string[]
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const { child, outcome } = workspace.start(args);
    const ended = outcome.then(() => undefined);
    let isSent = false;
    sandbox.onRequest = async (): Promise<HookAnswer> => {
      if (!isSent) child.kill(signal);
      isSent = true;
      await ended;
      return 'drop';
    };
    return outcome;
  }

  it.each([
    ['plan', 'SIGINT', 130],
    ['plan', 'SIGTERM', 143],
    ['status', 'SIGINT', 130],
    ['apply', 'SIGINT', 130],
  ] as const)('during the look of %s prints no plan of what was not read (%s)', async (command, signal, code) => {
    const args = [command, '-f', 'manifests', ...(command === 'apply' ? ['-y'] : [])];
    const result = await interruptedLook(signal, ...args);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(/^Interrupted: nothing was done\.$/m);
    expect(result.stderr).not.toMatch(/\n {4}at /);
  });

  it('is an error in JSON too', async () => {
    const { code, stdout } = await interruptedLook('SIGINT', 'plan', '-f', 'manifests', '-o', 'json');
    expect([code, JSON.parse(stdout)]).toEqual([130, { errors: [{ message: 'Interrupted: nothing was done.' }] }]);
  });

  it('while standard input is awaited ends the waiting', async () => {
    const input = vi.spyOn(process, 'stdin', 'get').mockReturnValue(new PassThrough() as never);
    const stop = new AbortController();
    const loaded = loadManifests({ file: ['-'], owner: 'default' }, stop.signal);
    stop.abort(new Interrupted('SIGINT'));
    await expect(loaded).rejects.toThrow('Interrupted: nothing was done.');
    input.mockRestore();
  });

  it('during the writes tells of what was not begun in one line', async () => {
    const { child, outcome } = workspace.start(['apply', '-f', 'manifests', '-y']);
    const heard = new Promise<void>((done) =>
      child.stderr?.on('data', (text: Buffer) => {
        if (String(text).includes('once more ends at once')) done();
      }),
    );
    let writes = 0;
    sandbox.onRequest = async ({ method, phase }) => {
      if (method !== 'PUT' || phase !== 'after' || ++writes !== 10) return undefined;
      child.kill('SIGINT');
      await heard;
      return undefined;
    };
    const { code, stdout, stderr } = await outcome;
    expect(code).toBe(1);
    expect(stderr).toContain('SIGINT: finishing what is running; once more ends at once');
    expect(stderr).not.toContain('interrupted before it began');
    expect(stdout.match(/interrupted before it began/g)).toHaveLength(1);
  });
});
