import { beforeEach, describe, expect, it } from 'vitest';
import { LiveNomad, LiveVault } from '../e2e/live.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, type Workspace } from '../e2e/workspace.ts';
import { diagnose } from './diagnosis.ts';

describe('doctor', () => {
  const setting = useSandbox();
  let nomad: LiveNomad;
  let vault: LiveVault;
  let workspace: Workspace;

  beforeEach(() => {
    nomad = new LiveNomad(setting.sandbox.nomad);
    vault = new LiveVault(setting.sandbox.vault);
    workspace = setting.workspace;
  });

  const token = (body: object): Promise<{ body: { AccessorID: string; SecretID: string } }> =>
    nomad.request('POST', '/v1/acl/token', { Type: 'client', Policies: ['one'], Name: 'ci', ...body });
  const integrated = async (): Promise<void> => {
    workspace.write('integration.yaml', manifest('VaultJwtIntegration', 'workloads'));
    expect((await workspace.apply()).code).toBe(0);
  };
  const limited = async (policy: string): Promise<string> => {
    await vault.request('POST', 'sys/policies/acl/limited', { policy });
    const made = await vault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
      policies: ['default', 'limited'],
    });
    return made.body.auth.client_token;
  };

  it('finds nothing wrong with a healthy pair, and says of each thing that it is in order', async () => {
    await integrated();
    const { code, ailments, findings } = await diagnose(workspace, '-f', 'manifests');
    expect([code, ailments]).toEqual([0, []]);
    expect(new Set(findings.map(({ connection }) => connection))).toEqual(
      new Set(['NomadCluster/default', 'VaultServer/default']),
    );
  });

  it('says in plain words what is wrong and what to do, the errors last', async () => {
    await vault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
    await token({});
    const { code, stdout } = await workspace.run('doctor');
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /WARNING[^]*policy\/one: it does not exist[^]*ERROR[^]*auth\/jwt-nomad: it has no configuration/,
    );
    expect(stdout).toContain('→ Declare a VaultJwtIntegration with path jwt-nomad');
    expect(stdout.trimEnd()).toMatch(/1 error, 1 warning, \d+ in order\.$/);
  });

  it('gives no secret away', async () => {
    await integrated();
    const { body } = await token({});
    const { stdout } = await workspace.run('doctor', '-f', 'manifests');
    for (const secret of [body.SecretID, setting.sandbox.nomad.token, setting.sandbox.vault.token])
      expect(stdout).not.toContain(secret);
  });

  describe('on Nomad', () => {
    it('finds a token that Nomad does not know, and looks no further there', async () => {
      await integrated();
      const { outcome } = workspace.start(['doctor', '-o', 'json'], {
        NOMAD_TOKEN: '11111111-1111-1111-1111-111111111111',
      });
      const { code, stdout } = await outcome;
      const { findings } = JSON.parse(stdout) as {
        findings: { check: string; severity: string; connection: string; advice: string }[];
      };
      const last = findings.filter(({ connection }) => connection === 'NomadCluster/default').at(-1);
      expect([code, last]).toEqual([1, expect.objectContaining({ check: 'nomad-token', severity: 'error' })]);
      expect(findings.filter(({ connection }) => connection === 'VaultServer/default').length).toBeGreaterThan(5);
      expect(findings.find(({ check }) => check === 'vault-audiences')?.advice).toContain(
        'Give a token for NomadCluster/default',
      );
    });
    it.each(['of the environment', 'that is declared'])(
      'finds that there is no token for a cluster %s, and still looks at Vault',
      async (where) => {
        const spec = `address: ${setting.sandbox.nomad.address}\nauth: { tokenEnv: NOMAD_TOKEN }`;
        workspace.write('cluster.yaml', manifest('NomadCluster', 'default', spec));
        const files = where === 'that is declared' ? ['-f', 'manifests'] : [];
        const { code, stdout } = await workspace.start(['doctor', ...files], { NOMAD_TOKEN: '' }).outcome;
        expect([code, stdout]).toEqual([
          1,
          expect.stringContaining(
            'we have no token for it: NomadCluster default: the environment variable NOMAD_TOKEN',
          ),
        ]);
        expect(stdout).toContain('ok      NomadCluster/default answers, and has a leader');
        expect(stdout).toContain('ok      VaultServer/default every JWT auth mount is configured');
      },
    );
    it('finds a token that may not manage ACLs', async () => {
      const { body } = await token({});
      const { stdout } = await workspace.start(['doctor'], { NOMAD_TOKEN: body.SecretID }).outcome;
      expect(stdout).toContain('our token is one of type client');
    });
    it('finds policies and roles that are named and are not there', async () => {
      await nomad.putPolicy('there', 'node { policy = "read" }');
      await nomad.putPolicy('going', 'node { policy = "read" }');
      const role = async (Name: string): Promise<{ body: { ID: string } }> =>
        nomad.request('POST', '/v1/acl/role', { Name, Policies: [{ Name: 'going' }] });
      await role('stays');
      const gone = await role('goes');
      await token({ Policies: ['there', 'absent'], Roles: [{ ID: gone.body.ID }] });
      await nomad.request('DELETE', `/v1/acl/role/${gone.body.ID}`);
      await nomad.request('DELETE', '/v1/acl/policy/going');
      const { code, ailments } = await diagnose(workspace);
      expect([code, ailments]).toEqual([
        0,
        [
          'warning nomad-references policy/absent',
          'warning nomad-references policy/going',
          `warning nomad-references role/${gone.body.ID}`,
        ],
      ]);
    });
    it('finds a clock that is far from ours', async () => {
      setting.sandbox.onRequest = ({ phase, path }) =>
        phase === 'before' && path === '/v1/status/leader'
          ? { status: 200, body: '"127.0.0.1:4647"', headers: { date: new Date(Date.now() + 120_000).toUTCString() } }
          : undefined;
      const { ailments, words } = await diagnose(workspace);
      expect(ailments).toEqual(['error nomad-clock clock', 'error vault-clock clock']);
      expect(words).toMatch(/its clock is 1(19|20|21) s ahead of ours/);
    });
    it('finds that there is no leader', async () => {
      setting.sandbox.onRequest = ({ phase, path }) =>
        phase === 'before' && path === '/v1/status/leader' ? { status: 500, body: 'No cluster leader' } : undefined;
      const { ailments, words } = await diagnose(workspace);
      expect([ailments, words]).toEqual([['error nomad-reachable'], expect.stringContaining('has no leader')]);
    });
  });

  describe('on Vault', () => {
    it('finds that it is sealed', async () => {
      setting.sandbox.vault.server.seal();
      const { ailments } = await diagnose(workspace);
      expect(ailments).toEqual(['error vault-reachable']);
    });
    it('finds a token that Vault does not know, and looks no further there', async () => {
      const { code, stdout } = await workspace.start(['doctor', '-o', 'json'], { VAULT_TOKEN: 'hvs.gone' }).outcome;
      const { findings } = JSON.parse(stdout) as { findings: { check: string; severity: string }[] };
      expect([code, findings.at(-1)]).toEqual([
        1,
        expect.objectContaining({ check: 'vault-token', severity: 'error' }),
      ]);
      expect(stdout).toContain('Vault does not accept our token');
    });
    it('finds nothing wrong with a token that may not look at itself', async () => {
      const all = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }';
      const policy = `${all}\npath "auth/token/lookup-self" { capabilities = ["deny"] }`;
      const { outcome } = workspace.start(['doctor'], { VAULT_TOKEN: await limited(policy) });
      const { code, stdout } = await outcome;
      expect([code, stdout]).toEqual([0, expect.stringContaining('0 errors, 0 warnings')]);
    });
    it('finds that there is no token for it', async () => {
      const { code, stdout } = await workspace.start(['doctor'], { VAULT_TOKEN: '' }).outcome;
      expect([code, stdout]).toEqual([1, expect.stringContaining('ERROR   VaultServer/default we have no token')]);
    });
    it('finds what the token may not do of what is declared', async () => {
      await integrated();
      const some = `path "sys/auth" { capabilities = ["read"] }
path "sys/auth/jwt-nomad" { capabilities = ["update", "delete"] }
path "auth/jwt-nomad/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/policies/acl/*" { capabilities = ["read", "update", "delete", "list"] }
path "sys/policies/acl" { capabilities = ["list"] }`;
      const { outcome } = workspace.start(['doctor', '-f', 'manifests'], { VAULT_TOKEN: await limited(some) });
      const { code, stdout } = await outcome;
      expect([code, stdout]).toEqual([1, expect.stringContaining('sys/auth/jwt-nomad: our token lacks sudo there')]);
      expect(stdout).toContain('1 error, 0 warnings');
    });
    it('finds keys and algorithms that it lacks', async () => {
      await integrated();
      const { body } = await nomad.request<{ keys: object[] }>('GET', '/.well-known/jwks.json');
      expect(body.keys.length).toBeGreaterThan(0);
      const { publicKey } = (await import('node:crypto')).generateKeyPairSync('rsa', { modulusLength: 2048 });
      await vault.request('POST', 'auth/jwt-nomad/config', {
        jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })],
        jwt_supported_algs: ['ES512'],
      });
      const { ailments, words } = await diagnose(workspace, '-f', 'manifests');
      expect(ailments).toEqual(['error vault-keys auth/jwt-nomad/config', 'error vault-keys auth/jwt-nomad/config']);
      expect(words).toContain('and Vault accepts only ES512 there');
      expect(words).toContain('it lacks Nomad’s key');
    });
    it('finds that it cannot fetch the keys by which it verifies workloads', async () => {
      await integrated();
      setting.sandbox.onRequest = ({ phase, path, method }) =>
        phase === 'before' && path === '/.well-known/jwks.json' && method === 'GET'
          ? { status: 503, body: 'no', headers: {} }
          : undefined;
      const { ailments, words } = await diagnose(workspace, '-f', 'manifests');
      expect(ailments).toContain('error vault-jwks auth/jwt-nomad/config');
      expect(words).toContain('use syncKeys');
    });
    it('finds a policy that a role names and that is not there, and an accessor of a mount that is gone', async () => {
      await integrated();
      await vault.request('DELETE', 'sys/auth/jwt-nomad');
      await vault.request('POST', 'sys/auth/jwt-nomad', { type: 'jwt' });
      const jwks_url = `${setting.sandbox.nomad.address}/.well-known/jwks.json`;
      await vault.request('POST', 'auth/jwt-nomad/config', { jwks_url, jwt_supported_algs: ['RS256', 'EdDSA'] });
      await vault.request('POST', 'auth/jwt-nomad/role/nomad-workloads', {
        role_type: 'jwt',
        user_claim: 'sub',
        bound_audiences: ['vault.io'],
        token_policies: ['nomad-workloads', 'absent'],
      });
      const { ailments } = await diagnose(workspace);
      expect(ailments).toEqual([
        'error vault-role-policies auth/jwt-nomad/role/nomad-workloads',
        'error vault-accessors policy/nomad-workloads',
      ]);
    });
    describe('a Nomad secrets engine', () => {
      beforeEach(async () => {
        await vault.request('POST', 'sys/mounts/nomad', { type: 'nomad' });
      });
      const configure = (secret = setting.sandbox.nomad.token): Promise<unknown> =>
        vault.request('POST', 'nomad/config/access', { address: setting.sandbox.nomad.address, token: secret });

      it('that knows no Nomad is found, and one that could not be disabled is told from it', async () => {
        expect((await diagnose(workspace)).ailments).toEqual(['error vault-nomad-engines nomad/config/access']);
        await configure();
        await vault.request('POST', 'nomad/role/r', { policies: ['one'] });
        const { body } = await vault.request<{ data: { accessor_id: string } }>('GET', 'nomad/creds/r');
        await nomad.request('DELETE', `/v1/acl/token/${body.data.accessor_id}`);
        await vault.request('DELETE', 'sys/mounts/nomad');
        const { ailments, words } = await diagnose(workspace);
        expect(ailments).toEqual(['error vault-nomad-engines nomad']);
        expect(words).toContain('vault lease revoke -force -prefix nomad');
      });
      it('whose role gives a policy that Nomad lacks is found', async () => {
        await configure();
        await vault.request('POST', 'nomad/role/r', { policies: ['one'] });
        expect((await diagnose(workspace)).ailments).toEqual(['warning vault-nomad-engines nomad/role/r']);
      });
      it('makes a token only where that is asked for, and leaves none', async () => {
        await configure();
        await nomad.putPolicy('one', 'node { policy = "read" }');
        await vault.request('POST', 'nomad/role/r', { policies: ['one'] });
        const made: string[] = [];
        setting.sandbox.onRequest = ({ path, phase }) => {
          if (phase === 'before' && path === '/v1/nomad/creds/r') made.push(path);
          return undefined;
        };
        expect((await diagnose(workspace)).ailments).toEqual([]);
        expect(made).toHaveLength(0);
        expect((await diagnose(workspace, '--make-token')).ailments).toEqual([]);
        expect(made).toHaveLength(1);
        expect(await nomad.tokens()).toHaveLength(1);
      });
      it('whose token Nomad does not take is found by making one', async () => {
        await configure('11111111-1111-1111-1111-111111111111');
        await vault.request('POST', 'nomad/role/m', { type: 'management' });
        const { ailments, words } = await diagnose(workspace, '--make-token');
        expect(ailments).toEqual(['error vault-made-tokens nomad/creds/m']);
        expect(words).toContain('Nomad does not accept the engine’s management token');
      });
    });
  });
});
