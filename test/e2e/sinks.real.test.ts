import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PolicyFile } from '../manifests/vault-policy-file.ts';
import { requireServers } from '../servers/binaries.ts';
import { contentOf, Leaks } from './leaks.ts';
import { readySeries, useOperators } from './operators.ts';
import { useRealServers } from './real-servers.ts';
import { OBJECTS, SINKS, succeeded, TokenReaders, WHERE, type Items, type Where } from './token-readers.ts';
import { manifest } from './workspace.ts';

const POLICY = manifest('AclPolicy', 'read', `rules: 'namespace "default" { policy = "read" }'`);
/** What the operator gets on Vault: nothing but this. */
const RIGHTS = new PolicyFile('token-sinks.hcl').text;

/** Tokens whose secrets are where programs look for them. */
describe.skipIf(!requireServers('nomad', 'vault'))('a token’s secret', () => {
  const servers = useRealServers();
  const operators = useOperators();
  const leaks = new Leaks();
  let readers: TokenReaders;

  beforeAll(async () => {
    readers = new TokenReaders(servers);
    succeeded(await servers.vault.run('secrets', 'enable', '-path=kv', '-version=1', 'kv'));
  });
  beforeEach(async () => {
    const { nomad, vault, liveVault, workspace } = servers;
    await liveVault.request('PUT', 'sys/policies/acl/token-sinks', { policy: RIGHTS });
    const token = succeeded(await vault.run('token', 'create', '-policy=token-sinks', '-field=token')).trim();
    workspace.retarget({ nomad, vault: { address: vault.address, token } });
  });
  afterEach(async () => {
    for (const where of WHERE) if (!(await readers.isEmpty(where))) await readers.purge(where);
  });

  function token(sink: object, more = ''): string {
    return manifest('AclToken', 'ci', `policies: [read]\nwriteSecretTo: ${JSON.stringify(sink)}\n${more}`);
  }

  function declare(sink: object, more = ''): void {
    servers.workspace.write('all.yaml', POLICY, token(sink, more));
    const address = `address: ${servers.vault.address}\nauth: { tokenEnv: VAULT_TOKEN }\nsweepInterval: 1s`;
    servers.workspace.write('vault.yaml', manifest('VaultServer', 'default', address));
  }

  async function applied(): Promise<string[]> {
    const { code, steps } = await servers.workspace.apply();
    expect(code, JSON.stringify(steps)).toBe(0);
    return steps.map(({ action, object }) => `${action} ${object.replace(/ \[.*/, '')}`);
  }

  /** Why a sink is refused. */
  async function refusal(where: Where): Promise<string> {
    const { code, steps } = await servers.workspace.apply();
    const step = steps.find(({ object }) => object === OBJECTS[where]);
    expect([code, step?.action], JSON.stringify(steps)).toEqual([1, 'refuse']);
    return `${step?.reason ?? ''}: ${step?.message ?? ''}`;
  }

  /** The items of a token that Nomad honours, and nothing else. */
  async function usable(where: Where, keys = ['accessor_id', 'secret_id']): Promise<Items> {
    const items = (await readers.read(where)) ?? {};
    const [accessor = '', secret = ''] = keys;
    expect(Object.keys(items).sort()).toEqual([...keys].sort());
    leaks.add(items[secret] ?? '');
    expect((await servers.liveNomad.token(items[accessor] ?? ''))['SecretID']).toBe(items[secret]);
    expect(await servers.liveNomad.accepts(items[secret] ?? '')).toBe(true);
    return items;
  }

  const untilUsable = (where: Where): Promise<void> =>
    expect.poll(() => usable(where).catch(() => undefined), { timeout: 60_000, interval: 200 }).toBeDefined();

  function checkLeaks(...more: string[]): void {
    const { printed, manifests } = servers.workspace;
    expect(leaks.secrets.size).toBeGreaterThan(0);
    expect(leaks.in([...printed, contentOf(manifests), ...more].join('\n'))).toEqual([]);
  }

  describe.each(WHERE)('in %s', (where) => {
    const sink = SINKS[where];

    it('is left alone as long as it is right, follows its token, and goes with it', async () => {
      const { workspace, liveNomad } = servers;
      declare(sink);
      expect(await applied()).toEqual([
        'create default/acl-policy/read',
        'create default/acl-token/ci',
        `create ${OBJECTS[where]}`,
      ]);
      const first = await usable(where);
      const again = await workspace.plan('--detailed-exitcode');
      expect([again.code, again.steps.map((s) => s.reason)]).toEqual([0, ['InSync', 'InSync', 'InSync']]);

      declare(sink, 'global: true');
      await applied();
      const second = await usable(where);
      expect(second['accessor_id']).not.toBe(first['accessor_id']);
      expect(await liveNomad.accepts(first['secret_id'] ?? '')).toBe(false);

      expect((await workspace.destroy()).code).toBe(0);
      expect(await readers.isEmpty(where)).toBe(true);
      expect(await liveNomad.marked()).toEqual([]);
      checkLeaks();
    });

    it('is put back when somebody has edited or deleted it', async () => {
      declare(sink);
      await applied();
      const right = await usable(where);
      const harm: Record<string, () => Promise<void>> = {
        'another secret': () => readers.put(where, { ...right, secret_id: 'scribble' }),
        'one item of two': () => readers.put(where, { accessor_id: right['accessor_id'] ?? '' }),
        'an item more': () => readers.put(where, { ...right, note: 'mine' }),
        deleted: () => readers.remove(where),
        'deleted wholly': () => readers.purge(where),
      };
      for (const [what, act] of Object.entries(harm)) {
        await act();
        expect(await applied(), what).toContainEqual(
          expect.stringMatching(new RegExp(`^(create|update) ${OBJECTS[where]}$`)),
        );
        expect(await usable(where), what).toEqual(right);
      }
      checkLeaks();
    });

    it(
      'is put back by an operator that runs, and handed over to those that follow in a rotation',
      { timeout: 240_000 },
      async () => {
        const { workspace, liveNomad } = servers;
        declare(sink);
        const operator = await operators.start(workspace, '--log-level', 'debug');
        await untilUsable(where);
        const first = await usable(where);
        await readers.put(where, { ...first, secret_id: 'scribble' });
        await untilUsable(where);
        expect(await usable(where)).toEqual(first);

        declare(sink, 'rotation: { interval: 6s, overlap: 5s }');
        const seen = new Map([[first['accessor_id'], first['secret_id'] ?? '']]);
        const refused: string[] = [];
        while (seen.size < 4) {
          const began = performance.now();
          const { accessor_id: accessor = '', secret_id: secret = '' } = (await readers.read(where)) ?? {};
          const isAccepted = await liveNomad.accepts(secret);
          // Whoever keeps a secret for longer than the overlap was warned.
          if (!isAccepted && performance.now() - began < 5_000) refused.push(accessor);
          seen.set(accessor, secret);
        }
        leaks.add(...seen.values());
        expect(refused).toEqual([]);
        await expect.poll(() => liveNomad.accepts(first['secret_id'] ?? ''), { timeout: 30_000 }).toBe(false);
        const metrics = (await operator.get('/metrics')).text;
        expect(await operator.stop()).toBe(0);
        expect(metrics).toContain('nomad_access_');
        checkLeaks(operator.output(), metrics);
      },
    );

    it('overwrites nothing of others, whatever the adoption policy says, and leaves it when the token goes', async () => {
      const { workspace, liveNomad } = servers;
      const theirs = { password: 'precious' };
      await readers.put(where, theirs);
      declare(sink, 'adoptionPolicy: Always');
      expect(await refusal(where)).toMatch(/^Conflict: .*ci\/nomad exists already.*delete it there/);
      expect(await readers.read(where)).toEqual(theirs);
      expect(await liveNomad.marked()).toEqual([]);
      expect((await workspace.destroy()).code).toBe(0);
      expect(await readers.read(where)).toEqual(theirs);

      const operator = await operators.start(workspace);
      await operator.until(readySeries('AclPolicy'), 1);
      expect(await liveNomad.marked()).toEqual([]);
      await readers.purge(where);
      await untilUsable(where);
      expect(await liveNomad.marked()).toHaveLength(1);
      expect(await operator.stop()).toBe(0);
    });

    it('is not looked for in what others made in its place', async () => {
      const { workspace } = servers;
      declare(sink);
      await applied();
      await readers.purge(where);
      const theirs = { password: 'precious' };
      await readers.put(where, theirs);
      expect(await refusal(where)).toMatch(/^Conflict: /);
      expect((await workspace.destroy()).code).toBe(0);
      expect(await readers.read(where)).toEqual(theirs);
    });

    it('moves when its keys are named anew, and stands under no other', async () => {
      const keys = { accessorId: 'NOMAD_ACCESSOR', secretId: 'NOMAD_TOKEN' };
      const keyed = Object.fromEntries(Object.entries(sink).map(([name, at]) => [name, { ...(at as object), keys }]));
      declare(sink);
      await applied();
      const first = await usable(where);
      declare(keyed);
      await applied();
      const second = await usable(where, ['NOMAD_ACCESSOR', 'NOMAD_TOKEN']);
      expect(second['NOMAD_TOKEN']).toBe(first['secret_id']);
      expect((await servers.workspace.plan('--detailed-exitcode')).code).toBe(0);
      expect((await servers.workspace.destroy()).code).toBe(0);
      expect(await readers.isEmpty(where)).toBe(true);
    });
  });

  it('moves with its sink, and is left at none that it had', async () => {
    let before: Where | undefined;
    for (const where of WHERE) {
      declare(SINKS[where]);
      await applied();
      await usable(where);
      if (before !== undefined) expect(await readers.isEmpty(before)).toBe(true);
      before = where;
    }
    declare({ none: {} });
    await applied();
    expect(await readers.isEmpty('a Nomad Variable')).toBe(true);
    expect(await servers.liveNomad.marked()).toHaveLength(1);
    checkLeaks();
  });

  it('in a file of somebody else’s is not made: there would be a token whose secret nobody has', async () => {
    const { workspace, liveNomad } = servers;
    declare({ file: { path: 'ci.secret' } });
    workspace.write('ci.secret', 'precious');
    const { code, steps } = await workspace.apply();
    expect([code, ...steps.map(({ object, reason }) => `${reason} ${object.replace(/ \[.*/, '')}`)]).toEqual([
      1,
      'New default/acl-policy/read',
      'Blocked default/acl-token/ci',
      'Conflict local/file/ci.secret',
    ]);
    expect(await liveNomad.marked()).toEqual([]);
    workspace.remove('ci.secret');
    await applied();
    leaks.add(workspace.read('ci.secret').trim());
    expect(await liveNomad.accepts(workspace.read('ci.secret').trim())).toBe(true);
  });

  it('that is refused where it rotates or is replaced leaves the token that its readers have', async () => {
    const { vault, workspace, liveNomad, liveVault } = servers;
    await liveVault.request('PUT', 'sys/policies/acl/token-sinks', {
      policy: `${RIGHTS}\npath "short/*" { capabilities = ["create", "read", "update", "delete"] }`,
    });
    succeeded(await vault.run('secrets', 'enable', '-path=short', '-version=1', 'kv'));
    const sink = { vaultKv: { mount: 'short', path: 'ci/nomad' } };
    declare(sink);
    await applied();
    const before = await liveNomad.marked();
    succeeded(await vault.run('secrets', 'disable', 'short'));
    declare(sink, 'global: true');
    const { steps } = await workspace.apply();
    const step = steps.find(({ action, object }) => action === 'refuse' && object.includes('acl-token'));
    expect(step?.message).toContain('nothing is mounted around short/ci/nomad');
    expect(await liveNomad.marked()).toEqual(before);
    succeeded(await vault.run('secrets', 'enable', '-path=short', '-version=1', 'kv'));
    await applied();
    expect(await liveNomad.marked()).toEqual([expect.objectContaining({ Global: true })]);
    expect((await workspace.destroy()).code).toBe(0);
    succeeded(await vault.run('secrets', 'disable', 'short'));
  });

  it('is written nowhere where there is no engine for it, and says so', async () => {
    servers.workspace.retarget(servers);
    const at = (mount: string): object => ({ vaultKv: { mount, path: 'ci/nomad' } });
    for (const [mount, why] of [
      ['nowhere', /^nothing is mounted around nowhere\/ci\/nomad/],
      ['sys/policies/acl', /lies in sys\/, which is of type system: name a mount of type kv/],
    ] as const) {
      declare(at(mount));
      const { code, steps } = await servers.workspace.apply();
      const step = steps.find(({ object }) => object.includes('vault-kv-secret'));
      expect([code, step?.action, step?.message]).toEqual([1, 'refuse', expect.stringMatching(why)]);
      expect(await servers.liveNomad.marked()).toEqual([]);
    }
  });

  it('does not hold up the end of its token when its engine is gone', async () => {
    const { vault, workspace, liveNomad, liveVault } = servers;
    await liveVault.request('PUT', 'sys/policies/acl/token-sinks', {
      policy: `${RIGHTS}\npath "short/*" { capabilities = ["create", "read", "update", "delete"] }`,
    });
    succeeded(await vault.run('secrets', 'enable', '-path=short', '-version=1', 'kv'));
    declare({ vaultKv: { mount: 'short', path: 'ci/nomad' } });
    await applied();
    succeeded(await vault.run('secrets', 'disable', 'short'));
    expect((await workspace.plan()).steps.find(({ action }) => action === 'refuse')?.message).toContain(
      'nothing is mounted around short/ci/nomad',
    );
    expect((await workspace.destroy()).code).toBe(0);
    expect(await liveNomad.marked()).toEqual([]);
  });

  it('waits for a namespace of Nomad that is not there', async () => {
    declare({ nomadVariable: { namespace: 'later', path: 'ci/nomad' } });
    const { code, steps } = await servers.workspace.apply();
    const result = steps.find(({ object }) => object.includes('nomad-variable'))?.result;
    expect([code, result]).toEqual([
      1,
      expect.objectContaining({ status: 'failed', message: expect.stringContaining('no namespace later') as string }),
    ]);
    expect((await servers.workspace.destroy()).code).toBe(0);
  });

  it('is never written among the variables of the inventory', async () => {
    const { workspace, nomad } = servers;
    const state = ['--state', 'nomad:nomad-access/default'];
    declare({ nomadVariable: { path: 'nomad-access/default/objects/ff' } });
    const { code, steps } = await workspace.apply(...state);
    const step = steps.find(({ object }) => object.includes('nomad-variable'));
    expect([code, step?.reason, step?.message]).toEqual([
      1,
      'Protected',
      expect.stringContaining('the inventory is kept in the variables at nomad-access/default'),
    ]);
    declare({ nomadVariable: { path: 'nomad-access/default-of-others' } });
    expect((await workspace.apply(...state)).code).toBe(0);
    expect((await workspace.destroy(...state)).code).toBe(0);
    for (const path of JSON.parse(succeeded(await nomad.run('var', 'list', '-out=json'))) as { Path: string }[])
      succeeded(await nomad.run('var', 'purge', path.Path));
  });
});
