import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Sandbox } from '../../src/sandbox/index.ts';
import { useOperators } from '../e2e/operators.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, Workspace, type Outcome } from '../e2e/workspace.ts';

const policy = (name: string): string =>
  manifest('AclPolicy', name, `rules: 'namespace "default" { policy = "read" }'`);

describe('the arguments of commands', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
  });

  it('-f takes one path, so that a name can follow it; it can be given again', async () => {
    workspace.write('a.yaml', manifest('VaultJwtIntegration', 'workloads'));
    workspace.write('b.yaml', policy('b'));
    for (const paths of [
      ['-f', 'manifests'],
      ['-f', 'manifests/b.yaml', '-f', 'manifests/a.yaml'],
    ]) {
      const { code, stdout } = await workspace.run('agent-config', ...paths, 'workloads');
      expect([code, stdout]).toEqual([0, expect.stringContaining('jwt-nomad')]);
    }
    const { code, stderr } = await workspace.run('agent-config', '-f', 'manifests', 'others');
    expect([code, stderr]).toEqual([1, expect.stringContaining('no VaultJwtIntegration named others')]);
  });

  it.each([
    ['validate'],
    ['plan'],
    ['apply'],
    ['destroy'],
    ['status'],
    ['agent-config'],
    ['run'],
    ['crds'],
    ['sandbox'],
  ])('%s --help shows how it is used', async (command) => {
    const { code, stdout } = await workspace.run(command, '--help');
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n {2}nomad-access ${command}`));
    expect(stdout).not.toContain('(default: [])');
  });

  it.each(['--state', '--owner', '--allow-address', '--accept-address-change'])(
    'validate and agent-config, which ask no server, take no %s as if it changed anything',
    async (option) => {
      for (const command of ['validate', 'agent-config']) {
        const { code, stderr } = await workspace.run(command, '-f', 'manifests', option, 'x');
        expect([code, stderr]).toEqual([1, expect.stringContaining(`unknown option '${option}'`)]);
      }
    },
  );

  it.each<[readonly string[], string]>([
    [[], 'which manifests? Give -f FOLDER, or --source kubernetes'],
    [['-f', 'manifests', '--namespace', 'apps'], '--namespace needs --source kubernetes'],
    [['-f', 'manifests', '--lease-namespace', 'apps'], '--lease-namespace needs --source kubernetes'],
    [['--source', 'kubernetes', '-f', 'manifests'], '--file makes no sense with --source kubernetes'],
    [['--source', 'kubernetes', '--state', 'x'], '--state makes no sense with --source kubernetes'],
    [['--source', 'kubernetes', '--kubeconfig', 'nowhere'], 'cannot read the kubeconfig'],
    [['--source', 'kubernetes'], 'no kubeconfig: name one by --kubeconfig or KUBECONFIG'],
    [['--source', 'cloud'], 'Allowed choices are directory, kubernetes'],
  ])('run %j says what is wrong', async (args, message) => {
    const { code, stderr } = await workspace.run('run', ...args);
    expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
  });

  it.each<[readonly string[], string]>([
    [['kubernetes', '--jwks-url', 'https://k/jwks', '--job', 'apps/x'], '--job makes no sense with --for kubernetes'],
    [['nomad', '--service-account', 'apps/x'], '--service-account makes no sense with --for nomad'],
    [['nomad', '--jwks-url', 'https://n/jwks', '--public-key', 'x.pem'], 'give --jwks-url or --public-key, not both'],
  ])('init-auth --for %j prints no login for somebody else than was meant', async (args, message) => {
    const { code, stdout, stderr } = await workspace.run('init-auth', '--for', ...args);
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(message)]);
  });

  describe('with -o json', () => {
    function errorsOf({ stdout }: Outcome): { message: string }[] {
      return (JSON.parse(stdout) as { errors: { message: string }[] }).errors;
    }

    it.each<[string, readonly string[], string]>([
      ['a missing option', ['plan', '-o', 'json'], "required option '-f, --file <path>' not specified"],
      ['an unknown option', ['plan', '-f', 'manifests', '-o', 'json', '--nope'], "unknown option '--nope'"],
      ['a missing file', ['plan', '-f', 'nowhere', '-o', 'json'], 'nowhere: there is no such file or folder'],
      ['a missing confirmation', ['apply', '-f', 'manifests', '-o', 'json'], 'add --yes'],
      ['a missing inventory', ['status', '--state', 'nope', '-o', 'json'], 'there is no inventory'],
      ['a broken inventory', ['plan', '-f', 'manifests', '--state', 'manifests/b.txt', '-o', 'json'], 'is not JSON'],
      ['a missing integration', ['agent-config', '-f', 'manifests', '-o', 'json'], 'there is no VaultJwtIntegration'],
    ])('%s is JSON on stdout, and words on stderr', async (_what, args, text) => {
      workspace.write('a.yaml', policy('a'));
      workspace.write('b.txt', 'nonsense');
      const outcome = await workspace.run(...args);
      expect(outcome.code).toBe(1);
      expect(errorsOf(outcome)).toEqual([{ message: expect.stringContaining(text) as string }]);
      expect(outcome.stderr).toContain(text);
    });

    it('a missing token is', async () => {
      workspace.write('a.yaml', policy('a'));
      workspace.retarget({});
      const outcome = await workspace.run('plan', '-f', 'manifests', '-o', 'json');
      expect([outcome.code, errorsOf(outcome)]).toEqual([
        1,
        [{ message: expect.stringContaining('NOMAD_TOKEN is not set') as string }],
      ]);
    });

    it('a refused mass deletion is', async () => {
      workspace.write('a.yaml', ...['a', 'b', 'c', 'd', 'e'].map(policy));
      await workspace.apply();
      workspace.remove('a.yaml');
      const outcome = await workspace.run('apply', '-f', 'manifests', '-y', '-o', 'json');
      expect([outcome.code, errorsOf(outcome)]).toEqual([
        1,
        [{ message: expect.stringContaining('--allow-mass-delete') as string }],
      ]);
    });

    it.each(['validate', 'plan', 'status', 'agent-config'])(
      '%s gives the places of errors in manifests',
      async (command) => {
        workspace.write('bad.yaml', manifest('AclPolicy', 'a', 'rule: x'));
        const outcome = await workspace.run(command, '-f', 'manifests', '-o', 'json');
        expect(outcome.code).toBe(1);
        expect(errorsOf(outcome)).toContainEqual(
          expect.objectContaining({ file: 'manifests/bad.yaml', line: 6, column: 3, path: 'spec.rule' }),
        );
      },
    );
  });

  it('files are called as seen from the working directory, by every command; the inventory calls them by its folder', async () => {
    workspace.write('bad.yaml', manifest('AclPolicy', 'a', 'rule: x'));
    for (const command of ['validate', 'plan', 'status', 'agent-config']) {
      const { stdout, stderr } = await workspace.run(command, '-f', 'manifests');
      expect(stdout + stderr, command).toMatch(/^manifests\/bad\.yaml:6:3: spec\.rule: /m);
    }
    workspace.remove('bad.yaml');
    workspace.write('deep/a.yaml', policy('a'));
    await workspace.apply();
    expect(workspace.read('.nomad-access.state.json')).toContain('"source":"deep/a.yaml"');
    // Only what lies under the path that is read may be pruned: the names of both sides must fit.
    workspace.remove('deep/a.yaml');
    const state = ['--state', 'manifests/.nomad-access.state.json'];
    mkdirSync(join(workspace.manifests, 'other'));
    expect((await workspace.run('plan', '-f', 'manifests/other', ...state)).stdout).toContain('Nothing to do');
    expect((await workspace.run('plan', '-f', 'manifests/deep', ...state)).stdout).toContain('1 to delete');
  });

  it.each(['validate', 'agent-config', 'doctor', 'bootstrap'])(
    'a file that is not there is told by %s as what it is, and not as a place in it',
    async (command) => {
      const { code, stderr } = await workspace.run(command, '-f', 'nothing');
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^nothing: there is no such file or folder$/m)]);
    },
  );

  it('a path that an unset variable left empty is not taken for the working directory', async () => {
    for (const command of ['validate', 'plan', 'apply', 'destroy']) {
      const { code, stderr } = await workspace.run(command, '-f', '');
      expect([code, stderr]).toEqual([1, expect.stringContaining("argument '' is invalid. It must not be empty.")]);
    }
  });

  describe('a variable of the environment that is wrong is told by its name', () => {
    const operators = useOperators();
    const WRONG = /^environment: NOMAD_ADDR: is no URL that leads anywhere/m;

    beforeEach(() => {
      workspace.write('a.yaml', policy('a'));
      workspace.retarget({ nomad: { address: 'http://nomad:99999', token: 'x' } });
    });

    it.each<[string, ...string[]]>([
      ['validate', '-f', 'manifests'],
      ['plan', '-f', 'manifests'],
      ['doctor'],
      ['import', '--out', 'imported'],
    ])('by %s', async (...args) => {
      const { code, stderr } = await workspace.run(...args);
      expect([code, stderr]).toEqual([1, expect.stringMatching(WRONG)]);
    });

    it('by run, which follows no file of the name "environment"', async () => {
      const operator = await operators.start(workspace, '--log-format', 'text');
      await vi.waitFor(() => {
        expect(operator.log()).toContain('ERROR environment: NOMAD_ADDR: is no URL that leads anywhere');
      });
    });
  });

  it('an inventory with objects that a newer version made is left alone, with the advice to upgrade', async () => {
    workspace.write('a.yaml', policy('a'));
    await workspace.apply();
    const state = workspace.read('.nomad-access.state.json');
    workspace.write('.nomad-access.state.json', state.replace('"type":"acl-policy"', '"type":"acl-novelty"'));
    const { code, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^Error: the inventory .*default\/acl-novelty\/a.*: upgrade nomad-access$/m);
  });

  it.each(['validate', 'plan'])('%s of a folder without manifests says that there are none', async (command) => {
    workspace.write('notes.txt', 'x');
    const { code, stderr } = await workspace.run(command, '-f', 'manifests');
    expect(code).toBe(0);
    expect(stderr).toContain(
      'No manifests were found in manifests. In a folder files that end in .yaml, .yml or .json count',
    );
  });

  it('one is one, and many are many', async () => {
    workspace.write('a.yaml', policy('a'));
    expect((await workspace.run('validate', '-f', 'manifests')).stdout).toBe('1 resource is valid.\n');
    workspace.write('b.yaml', policy('b'));
    expect((await workspace.run('validate', '-f', 'manifests')).stdout).toBe('2 resources are valid.\n');
  });

  it('a plan says of a mass deletion that apply will refuse it', async () => {
    workspace.write('a.yaml', ...['a', 'b', 'c', 'd', 'e'].map(policy));
    await workspace.apply();
    workspace.remove('a.yaml');
    for (const output of ['text', 'markdown']) {
      const { stdout } = await workspace.run('plan', '-f', 'manifests', '-o', output);
      expect(stdout).toContain(
        '5 of the 5 objects that the inventory holds would be deleted: apply --yes refuses that',
      );
    }
  });

  it('agent-config tells that nobody has named Vault’s address', async () => {
    workspace.write('a.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.run('agent-config', '-f', 'manifests')).stderr).toBe('');
    workspace.retarget({});
    const { code, stderr } = await workspace.run('agent-config', '-f', 'manifests');
    expect(code).toBe(0);
    expect(stderr).toContain('VAULT_ADDR is not set');
  });

  it.each(['nomad', 'vault'])(
    'a port that is in use is named, and the other server does not keep running (%s)',
    async (target) => {
      const { port } = new URL(sandbox.nomad.address);
      const { code, stdout, stderr } = await workspace.run('sandbox', `--${target}-port`, port);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toBe(`Error: port ${port} is in use: give another --${target}-port, or 0 for a free one\n`);
    },
  );
});
