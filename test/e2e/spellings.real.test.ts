import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { startVault, type VaultServer } from '../servers/vault.ts';
import { LiveNomad } from './live.ts';
import { manifest, Workspace } from './workspace.ts';

/** A field, how it is declared first, what means the same, and what means something else. */
type Spelling = readonly [field: string, declared: string, same: readonly string[], other: string];

const ROLE_FIELDS: readonly Spelling[] = [
  ['boundAudiences', 'vault.io', ['[vault.io]', '[vault.io, vault.io]'], '[vault.io, other.io]'],
  ['boundSubject', 'web', ['"web"'], 'Web'],
  [
    'boundClaims',
    '{ level: [5, 7], admin: true, name: web }',
    ['{ name: [web], admin: [true], level: [7, 5, 7] }', '{ admin: true, level: [7, 5], name: "web" }'],
    '{ level: [5, "7"], admin: true, name: web }',
  ],
  ['claimMappings', '{ a: x, b: y }', ['{ b: y, a: x }'], '{ a: y, b: x }'],
  ['clockSkewLeeway', '-1', ['-1s', '"-1000ms"'], '0'],
  ['expirationLeeway', '90', ['1m30s', '90s'], '-1'],
  ['notBeforeLeeway', '2m', ['120'], '121'],
  ['maxAge', '1h', ['3600', '60m', '0h3600s'], '3601'],
  ['oidcScopes', '[email, profile]', ['[profile, email]'], 'email'],
  ['allowedRedirectUris', '["http://x/a", "http://x/b"]', ['["http://x/b", "http://x/a"]'], '["http://x/A"]'],
  ['tokenPolicies', '[one, two]', ['[two, one]', '[one, two, one]'], 'one'],
  ['tokenTtl', '30m', ['1800'], '1801'],
  ['tokenMaxTtl', '2h', ['7200', '120m'], '7201'],
  ['tokenExplicitMaxTtl', '24h', ['86400'], '86401'],
  [
    'tokenBoundCidrs',
    '[10.0.0.1/32, "2001:DB8:0::1/128", 10.1.2.3/8]',
    ['["2001:db8::1", 10.1.2.3/8, 10.0.0.1]', '[10.0.0.1, "2001:0db8:0:0:0:0:0:1", 10.1.2.3/08]'],
    '[10.0.0.1/31, "2001:db8::1", 10.1.2.3/8]',
  ],
];

const CONFIG_FIELDS: readonly Spelling[] = [
  ['supportedAlgs', '[EdDSA, RS256]', ['[RS256, EdDSA]', '[RS256, EdDSA, RS256]'], 'RS256'],
];

const TOKEN_FIELDS: readonly Spelling[] = [
  ['policies', '[one, two]', ['[two, one]', '[one, two, one]'], '[one]'],
  ['roles', '[first, second]', ['[second, first]'], '[first]'],
  ['expirationTtl', '1h', ['3600', '60m', '3600s'], '2h'],
];

/** Fields that take one text or a list, where the list of one and the text are the same. */
const ONE_OR_MANY: readonly (readonly [field: string, text: string])[] = [
  ['boundAudiences', 'vault.io'],
  ['oidcScopes', 'email'],
  ['allowedRedirectUris', 'http://127.0.0.1/callback'],
  ['tokenPolicies', 'one'],
  ['tokenBoundCidrs', '10.0.0.0/8'],
];

describe.skipIf(!requireServers('nomad', 'vault'))('spellings that mean the same', () => {
  let nomad: NomadServer;
  let vault: VaultServer;
  let workspace: Workspace;

  beforeAll(async () => {
    [nomad, vault] = await Promise.all([startNomad({ client: false }), startVault()]);
    workspace = new Workspace({ nomad, vault });
    const live = new LiveNomad(nomad);
    await live.request('PUT', '/v1/acl/policy/one', { Name: 'one', Rules: 'namespace "default" { policy = "read" }' });
    for (const Name of ['first', 'second'])
      await live.request('PUT', '/v1/acl/role', { Name, Policies: [{ Name: 'one' }] });
  });
  afterAll(async () => {
    await workspace.destroy();
    workspace.dispose();
    await Promise.all([nomad.stop(), vault.stop()]);
  });

  const lines = (fields: Record<string, string>): string[] => Object.entries(fields).map(([f, v]) => `${f}: ${v}`);
  const declared = (fields: readonly Spelling[]): Record<string, string> =>
    Object.fromEntries(fields.map(([field, value]) => [field, value]));
  const integration = (role: Record<string, string>, config: Record<string, string> = {}): string =>
    manifest(
      'VaultJwtIntegration',
      'workloads',
      [...lines(config), 'roles:', '  - name: tasks', ...lines(role).map((line) => `    ${line}`)].join('\n'),
    );
  const token = (fields: Record<string, string>): string =>
    manifest('AclToken', 'ci', [...lines(fields), 'writeSecretTo: { none: {} }'].join('\n'));

  /** What a plan would change, by path. */
  async function changed(): Promise<string[]> {
    const { steps } = await workspace.plan();
    expect(steps.filter((s) => s.action === 'refuse')).toEqual([]);
    return steps.flatMap((s) => s.changes.map((c) => c.path));
  }
  async function applied(): Promise<void> {
    const { code, steps } = await workspace.apply();
    expect(code, JSON.stringify(steps)).toBe(0);
    expect(await changed()).toEqual([]);
  }

  it('of the fields of a role and of a configuration', { timeout: 300_000 }, async () => {
    const [role, config] = [declared(ROLE_FIELDS), declared(CONFIG_FIELDS)];
    workspace.write('i.yaml', integration(role, config));
    await applied();
    for (const [field, , same, other] of ROLE_FIELDS) {
      for (const spelling of same) {
        workspace.write('i.yaml', integration({ ...role, [field]: spelling }, config));
        expect(await changed(), `${field}: ${spelling}`).toEqual([]);
      }
      workspace.write('i.yaml', integration({ ...role, [field]: other }, config));
      expect(await changed(), `${field}: ${other}`).toEqual([`spec.roles.tasks.${field}`]);
    }
    for (const [field, , same, other] of CONFIG_FIELDS) {
      for (const spelling of same) {
        workspace.write('i.yaml', integration(role, { [field]: spelling }));
        expect(await changed(), `${field}: ${spelling}`).toEqual([]);
      }
      workspace.write('i.yaml', integration(role, { [field]: other }));
      expect(await changed(), `${field}: ${other}`).toEqual([`spec.${field}`]);
    }
  });

  it('of one text and a list of it', async () => {
    const texts = Object.fromEntries(ONE_OR_MANY);
    workspace.write('i.yaml', integration(texts, { supportedAlgs: 'RS256' }));
    await applied();
    const list = Object.fromEntries(ONE_OR_MANY.map(([field, text]) => [field, `["${text}"]`]));
    workspace.write('i.yaml', integration(list, { supportedAlgs: '[RS256]' }));
    expect(await changed()).toEqual([]);
  });

  it('a comma within an item of a list stays in it', async () => {
    workspace.write('i.yaml', integration({ boundAudiences: '["a,b", c]', allowedRedirectUris: '["http://x/y,z"]' }));
    await applied();
    workspace.write('i.yaml', integration({ boundAudiences: '[a, b, c]', allowedRedirectUris: '["http://x/y,z"]' }));
    expect(await changed()).toEqual(['spec.roles.tasks.boundAudiences']);
  });

  it('of the fields of a token', async () => {
    const fields = declared(TOKEN_FIELDS);
    workspace.write('t.yaml', token(fields));
    await applied();
    for (const [field, , same, other] of TOKEN_FIELDS) {
      for (const spelling of same) {
        workspace.write('t.yaml', token({ ...fields, [field]: spelling }));
        expect(await changed(), `${field}: ${spelling}`).toEqual([]);
      }
      workspace.write('t.yaml', token({ ...fields, [field]: other }));
      expect(await changed(), `${field}: ${other}`).toContain(`spec.${field}`);
    }
  });
});
