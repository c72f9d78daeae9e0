import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { cleanEnvironment, runCommand, type CommandResult } from '../servers/command.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { Issuer } from './issuer.ts';
import { LiveNomad } from './live.ts';
import { Workspace } from './workspace.ts';

const EXAMPLE = join(import.meta.dirname, '../../manifests/examples/human-login');
const PROVIDER = 'https://sso.example.com';

interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
  readonly Name: string;
  readonly Type: string;
  readonly Global: boolean;
  readonly Policies: readonly string[] | null;
  readonly Roles: readonly { readonly Name: string }[] | null;
  readonly CreateTime: string;
  readonly ExpirationTime: string;
}

/** With the `nomad` binary, against the example as it is, but for the address of the identity provider. */
describe.skipIf(!requireServers('nomad'))('people log in to Nomad by what is declared', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let issuer: Issuer;
  let stranger: Issuer;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, issuer, stranger] = await Promise.all([startNomad({ client: false }), Issuer.start(), Issuer.start()]);
    live = new LiveNomad(nomad);
    workspace = new Workspace({ nomad });
    for (const file of ['policies.yaml', 'login.yaml'])
      workspace.write(file, readFileSync(join(EXAMPLE, file), 'utf8').replaceAll(PROVIDER, issuer.address));
    const { code, stdout, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(code, stdout + stderr).toBe(0);
    expect((await workspace.run('plan', '-f', 'manifests', '--detailed-exitcode')).code).toBe(0);
    for (const namespace of ['team-blue', 'team-red'])
      expect((await nomad.run('namespace', 'apply', namespace)).code).toBe(0);
  });
  afterAll(async () => {
    workspace.dispose();
    await Promise.all([nomad.stop(), issuer.stop(), stranger.stop()]);
  });

  const as = (token: string, ...args: string[]): Promise<CommandResult> =>
    runCommand(nomad.bin, args, { env: cleanEnvironment({ NOMAD_ADDR: nomad.address, NOMAD_TOKEN: token }) });
  const login = (jwt: string): Promise<CommandResult> => as('', 'login', '-method=sso', `-login-token=${jwt}`, '-json');
  async function loggedIn(claims: Readonly<Record<string, unknown>>): Promise<Token> {
    const { code, stdout, stderr } = await login(
      await issuer.issue('nomad', { sub: 'alice', team: '', groups: [], ...claims }),
    );
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Token;
  }
  const gets = ({ Type, Policies, Roles }: Token): unknown => ({
    type: Type,
    policies: [...(Policies ?? [])].sort(),
    roles: (Roles ?? []).map((role) => role.Name).sort(),
  });
  const answer = async (token: Token, ...args: string[]): Promise<string> => {
    const { code, stderr, stdout } = await as(token.SecretID, ...args);
    if (code === 0) return 'may';
    expect(stderr + stdout).toMatch(/Permission denied|403/);
    return 'may not';
  };

  it.each<[string, Record<string, unknown>, { policies?: string[]; roles?: string[] }]>([
    ['an employee looks', { groups: ['employees'] }, { roles: ['viewers'] }],
    ['who deploys may do both', { groups: ['deployers', 'employees'] }, { roles: ['deployers', 'viewers'] }],
    ['a member of a team has its policy', { team: 'blue' }, { policies: ['team-blue'] }],
    ['all at once', { groups: ['employees', 'other'], team: 'blue' }, { policies: ['team-blue'], roles: ['viewers'] }],
    ['a team without a policy gives nothing', { groups: ['employees'], team: 'red' }, { roles: ['viewers'] }],
  ])('%s', async (_who, claims, { policies = [], roles = [] }) => {
    const token = await loggedIn(claims);
    expect(gets(token)).toEqual({ type: 'client', policies, roles });
  });

  it('the token is named, local, and ends when it is declared to', async () => {
    const token = await loggedIn({ groups: ['employees'] });
    expect([token.Name, token.Global]).toEqual(['sso-alice', false]);
    const lifeSeconds = (Date.parse(token.ExpirationTime) - Date.parse(token.CreateTime)) / 1000;
    expect(lifeSeconds).toBeCloseTo(8 * 3600, 0);
  });

  it('may do what the roles allow, by the nomad command', async () => {
    const viewer = await loggedIn({ groups: ['employees'] });
    expect(await answer(viewer, 'node', 'status')).toBe('may');
    expect(await answer(viewer, 'var', 'put', '-namespace=team-blue', 'a', 'b=c')).toBe('may not');
    expect(await answer(viewer, 'acl', 'token', 'list')).toBe('may not');
    const blue = await loggedIn({ team: 'blue' });
    expect(await answer(blue, 'node', 'status')).toBe('may not');
    expect(await answer(blue, 'var', 'put', '-namespace=team-blue', 'a', 'b=c')).toBe('may');
    expect(await answer(blue, 'var', 'put', '-namespace=team-red', 'a', 'b=c')).toBe('may not');
  });

  it('a change of a role reaches those who are logged in; a rule that goes reaches the next login', async () => {
    const token = await loggedIn({ groups: ['deployers'] });
    const login = workspace.read('login.yaml');
    workspace.write('login.yaml', login.replace('[people-readonly, people-deploy]', '[people-deploy]'));
    expect((await workspace.apply()).code).toBe(0);
    expect(await answer(token, 'node', 'status')).toBe('may not');
    workspace.write('login.yaml', login.replace('"deployers" in list.groups', '"nobody" in list.groups'));
    expect((await workspace.apply()).code).toBe(0);
    expect(await answer(token, 'node', 'status')).toBe('may');
    const { code, stderr } = await as(
      '',
      'login',
      '-method=sso',
      `-login-token=${await issuer.issue('nomad', { sub: 'a', team: '', groups: ['deployers'] })}`,
    );
    expect([code, stderr]).toEqual([1, expect.stringContaining('no role or policy bindings matched')]);
    workspace.write('login.yaml', login);
    expect((await workspace.apply()).code).toBe(0);
  });

  it.each<[string, () => Promise<string>, string]>([
    [
      'whom no rule binds',
      () => issuer.issue('nomad', { sub: 'eve', team: '', groups: [] }),
      'no role or policy bindings matched',
    ],
    ['with a token for another audience', () => issuer.issue('other', { groups: ['employees'] }), 'aud'],
    ['with a token of another provider', () => stranger.issue('nomad', { groups: ['employees'] }), 'signature'],
  ])('nobody logs in %s', async (_who, jwt, words) => {
    const before = (await live.tokens()).length;
    const { code, stderr } = await login(await jwt());
    expect([code, stderr]).toEqual([1, expect.stringContaining(words)]);
    expect(await live.tokens()).toHaveLength(before);
  });

  it('all of it is destroyed in an order that Nomad takes, and nobody logs in any more', async () => {
    const token = await loggedIn({ groups: ['employees'] });
    const { code, stdout, stderr } = await workspace.run('destroy', '-f', 'manifests', '-y');
    expect(code, stdout + stderr).toBe(0);
    for (const list of ['auth-methods', 'binding-rules', 'roles'])
      expect((await live.request('GET', `/v1/acl/${list}`)).body).toEqual([]);
    expect((await login(await issuer.issue('nomad', { groups: ['employees'] }))).code).toBe(1);
    expect(await answer(token, 'node', 'status')).toBe('may not');
  });
});
