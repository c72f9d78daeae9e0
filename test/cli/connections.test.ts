import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSandbox, type Sandbox } from '../../src/sandbox/index.ts';
import { readySeries, useOperators } from '../e2e/operators.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';

const RULES = `rules: 'namespace "default" { policy = "read" }'`;

describe('where credentials go', () => {
  let here: Sandbox;
  let elsewhere: Sandbox;
  let workspace: Workspace;
  const operators = useOperators();

  beforeEach(async () => {
    [here, elsewhere] = await Promise.all([startSandbox(), startSandbox()]);
    workspace = new Workspace(here);
  });
  afterEach(async () => {
    workspace.dispose();
    await Promise.all([here.close(), elsewhere.close()]);
  });
  const policies = (of: Sandbox): string[] => of.nomad.server.snapshot().policies.map((p) => p.Name);
  const cluster = (name: string, address: string): string =>
    manifest('NomadCluster', name, `address: ${address}\nauth: { tokenEnv: NOMAD_TOKEN }`);

  it('a changed address is refused again and again: a refusal must not make it the known one', async () => {
    workspace.write('a.yaml', manifest('AclPolicy', 'a', RULES));
    expect((await workspace.apply()).code).toBe(0);
    workspace.retarget(elsewhere);
    for (const _ of ['first', 'second']) {
      const { code, steps } = await workspace.apply();
      expect([code, steps.map((s) => s.reason)]).toEqual([1, ['AddressChanged']]);
    }
    expect(policies(elsewhere)).toEqual([]);
    workspace.retarget(here);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
  });

  it('a changed address that a person accepts is the known one from then on', async () => {
    workspace.write('a.yaml', manifest('AclPolicy', 'a', RULES));
    await workspace.apply();
    workspace.retarget(elsewhere);
    expect((await workspace.apply('--accept-address-change', 'default')).code).toBe(0);
    expect((await workspace.plan('--detailed-exitcode')).code).toBe(0);
    expect(policies(elsewhere)).toEqual(['a']);
  });

  it('a name that no connection has is told, with those that there are, instead of accepting nothing', async () => {
    workspace.write('a.yaml', manifest('AclPolicy', 'a', RULES));
    await workspace.apply();
    for (const command of [['plan'], ['apply', '-y'], ['status'], ['destroy', '-y']]) {
      const { code, stderr } = await workspace.run(...command, '-f', 'manifests', '--accept-address-change', 'defualt');
      expect([code, stderr]).toEqual([
        1,
        'Error: --accept-address-change defualt: there is no connection of that name: give one of default\n',
      ]);
    }
    expect(policies(here)).toEqual(['a']);
    const destroy = ['destroy', '-y', '-f', 'manifests', '--accept-address-change', 'default'];
    for (const _ of ['first', 'nothing left']) expect((await workspace.run(...destroy)).code).toBe(0);
  });

  it('a name that no connection has is a warning of run, once: one may be declared later', async () => {
    workspace.write('a.yaml', manifest('AclPolicy', 'a', RULES));
    const operator = await operators.start(workspace, '--accept-address-change', 'defualt');
    await operator.until(readySeries('AclPolicy'), 1);
    workspace.write('b.yaml', manifest('AclPolicy', 'b', RULES));
    await operator.until(readySeries('AclPolicy'), 2);
    const warnings = operator.lines().filter(({ msg }) => msg.startsWith('--accept-address-change defualt: '));
    expect(warnings.map(({ level }) => level)).toEqual(['warn']);
  });

  it('for a second cluster nobody is told to point NOMAD_ADDR away from the first', async () => {
    workspace.write(
      'a.yaml',
      cluster('here', here.nomad.address),
      cluster('there', elsewhere.nomad.address),
      ...['here', 'there'].map((name) => manifest('AclPolicy', name, `nomadRef: ${name}\n${RULES}`)),
    );
    const { code, stderr } = await workspace.run('plan', '-f', 'manifests');
    expect(code).toBe(1);
    expect(stderr).toContain(`add --allow-address ${elsewhere.nomad.address}`);
    expect(stderr).not.toContain('NOMAD_ADDR');
  });

  it('the manifest is not blamed for an address that only the inventory still knows', async () => {
    workspace.write(
      'a.yaml',
      cluster('here', here.nomad.address),
      manifest('AclPolicy', 'a', `nomadRef: here\n${RULES}`),
    );
    await workspace.apply();
    workspace.remove('a.yaml');
    workspace.retarget(elsewhere);
    const { code, stderr } = await workspace.run('plan', '-f', 'manifests');
    expect(code).toBe(1);
    expect(stderr).toContain('only the inventory names that address');
    expect(stderr).toContain(`set NOMAD_ADDR to it or add --allow-address ${here.nomad.address}`);
  });
});
