import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { apply, destroy, type ApplyOptions } from '../../src/cli/commands/apply.ts';
import { Interrupted } from '../../src/cli/interrupted.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { listen, type Reply, type Request } from '../../src/sandbox/http.ts';
import { NomadSandbox, type Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, numberedPolicies, Workspace } from '../e2e/workspace.ts';

const policy = (name: string): string =>
  manifest('AclPolicy', name, `rules: 'namespace "default" { policy = "read" }'`);

describe('the confirmation of apply', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;
  let printed: string[];

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    printed = [];
    for (const [name, value] of Object.entries(workspace.environment())) vi.stubEnv(name, value);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** A person who gives these answers in turn; an answer may do something first. */
  function person(...answers: (string | (() => string))[]): Terminal {
    return {
      out: (text) => printed.push(text),
      err: (text) => printed.push(text),
      paint: (_style, text) => text,
      paintErr: (_style, text) => text,
      interactive: true,
      ask: (question) => {
        printed.push(question);
        const answer = answers.shift();
        if (answer === undefined) throw new Error(`nobody expected the question: ${question}`);
        return Promise.resolve(typeof answer === 'string' ? answer : answer());
      },
    };
  }
  const options = (over: Partial<ApplyOptions> = {}): ApplyOptions => ({
    file: [workspace.manifests],
    owner: 'default',
    allowAddress: [],
    acceptAddressChange: [],
    output: 'text',
    yes: false,
    allowMassDelete: false,
    ...over,
  });
  const run = (terminal: Terminal, over: Partial<ApplyOptions> = {}): Promise<number> =>
    apply(options(over), terminal, new AbortController().signal);
  const live = (): string[] => sandbox.nomad.server.snapshot().policies.map((p) => p.Name);

  /** Neither a person nor --yes. */
  const nobody = (): Terminal => ({ ...person(), interactive: false });

  it('where nobody can be asked shows the plan all the same, changes nothing and says what to add', async () => {
    workspace.write('a.yaml', policy('a'));
    await expect(run(nobody())).rejects.toThrow('so nothing was done: add --yes');
    expect(printed.join('\n')).toContain('1 to create');
    expect(live()).toEqual([]);
    expect(readdirSync(workspace.manifests)).toEqual(['a.yaml']);
    expect(await run(nobody(), { yes: true })).toBe(0);
    printed = [];
    await expect(destroy(options(), nobody(), new AbortController().signal)).rejects.toThrow('add --yes');
    expect(printed.join('\n')).toContain('1 to delete');
    expect(live()).toEqual(['a']);
  });

  it('where nobody can be asked is not missed if there is nothing to do', async () => {
    workspace.write('a.yaml', policy('a'));
    await run(person('yes'));
    expect(await run(nobody())).toBe(0);
  });

  it('where nobody can be asked names both options that a mass deletion needs', async () => {
    workspace.write('a.yaml', ...numberedPolicies(6));
    await run(person('yes'));
    workspace.remove('a.yaml');
    await expect(run(nobody())).rejects.toThrow('add --yes --allow-mass-delete');
    expect(printed.join('\n')).toContain('6 to delete');
    expect(live()).toHaveLength(6);
  });

  it('of a bootstrap is not taken for given where nobody can be asked', async () => {
    workspace.write('a.yaml', policy('a'));
    const nomad = new NomadSandbox(Date.now);
    const handle = (request: Request): Promise<Reply> => nomad.handle(request);
    const bare = await listen({
      target: 'nomad',
      host: '127.0.0.1',
      port: 0,
      handle,
      count: () => 0,
      hook: () => undefined,
    });
    try {
      const spec = `address: ${bare.address}\nauth: { tokenFile: token }\nbootstrap: {}`;
      workspace.write('nomad.yaml', manifest('NomadCluster', 'default', spec));
      const asked = run(nobody(), { allowAddress: [bare.address] });
      await expect(asked).rejects.toThrow(/not bootstrapped yet.*add --yes$/);
      expect(existsSync(join(workspace.manifests, 'token'))).toBe(false);
    } finally {
      await bare.close();
    }
  });

  it('anything but "yes" does nothing', async () => {
    workspace.write('a.yaml', policy('a'));
    expect(await run(person('y'))).toBe(1);
    expect(printed.at(-1)).toBe('Nothing was done.');
    expect(live()).toEqual([]);
  });

  it('no answer at all does nothing, and leaves no lock behind', async () => {
    workspace.write('a.yaml', policy('a'));
    const leaves = (): Promise<string> => Promise.reject(new Interrupted('SIGINT', 'Nothing was done.'));
    await expect(run({ ...person(), ask: leaves })).rejects.toThrow('Nothing was done.');
    expect(live()).toEqual([]);
    expect(existsSync(join(workspace.manifests, '.nomad-access.state.json.lock'))).toBe(false);
  });

  it('"yes" does what was shown', async () => {
    workspace.write('a.yaml', policy('a'));
    expect(await run(person('yes'))).toBe(0);
    expect(live()).toEqual(['a']);
  });

  it('a server that changed before the answer is shown again before anything is done', async () => {
    workspace.write('a.yaml', policy('a'));
    const meddle = (): string => {
      sandbox.nomad.server.acl.putPolicy('a', { Rules: 'namespace "default" { policy = "read" }' });
      return 'yes';
    };
    expect(await run(person(meddle))).toBe(0);
    expect(printed.join('\n')).toContain('The servers changed in the meantime');
    expect(printed.join('\n')).toContain('Adopted');
  });

  it('a mass deletion asks for its number', async () => {
    workspace.write('a.yaml', ...Array.from({ length: 6 }, (_, i) => policy(`p${String(i)}`)));
    await run(person('yes'));
    workspace.remove('a.yaml');
    expect(await run(person('yes'))).toBe(1);
    expect(live()).toHaveLength(6);
    expect(await run(person('6', 'yes'))).toBe(0);
    expect(live()).toEqual([]);
  });

  it('nothing to do asks nothing', async () => {
    workspace.write('a.yaml', policy('a'));
    await run(person('yes'));
    expect(await run(person())).toBe(0);
  });

  it('two at a time are kept apart by the lock of the inventory', async () => {
    workspace.write('a.yaml', policy('a'));
    const during = async (): Promise<number> => (await workspace.run('apply', '-f', 'manifests', '-y')).code ?? -1;
    let other: Promise<number> | undefined;
    const asked = new Promise<void>((done) => {
      const terminal = person('yes');
      void run({
        ...terminal,
        ask: async (question, signal) => {
          other = during();
          expect(await other).toBe(1);
          return terminal.ask(question, signal);
        },
      }).then(() => {
        done();
      });
    });
    await asked;
    expect(workspace.printed.join('\n')).toContain('the inventory is locked by process');
    expect(live()).toEqual(['a']);
  });
});
