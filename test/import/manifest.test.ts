import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { manifestNameOf } from '../../src/contract/import.ts';
import { manifestsOf, type ImportedManifest, type Located } from '../../src/import/manifest.ts';
import { aclPolicy } from '../../src/kinds/acl-policy/index.ts';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { vaultJwtIntegration } from '../../src/kinds/vault-jwt-integration/index.ts';
import type { AnyKind } from '../../src/contract/kind.ts';

const policy = (liveName: string, spec: object = {}): Located => ({
  liveName,
  connection: 'default',
  nameField: 'name',
  spec: { nomadRef: 'default', description: '', rules: 'x', ...spec },
  notes: [],
});
const made = (found: readonly Located[], kind: AnyKind = aclPolicy): readonly ImportedManifest[] =>
  manifestsOf(kind, found, 'default').manifests;
const specIn = (manifest: ImportedManifest | undefined): unknown =>
  (parse(manifest?.text ?? '') as { spec: unknown }).spec;

describe('the manifest of a live object', () => {
  it.each([
    ['readonly', 'readonly'],
    ['Team_A/Ops', 'team-a-ops'],
    ['-x-', 'x'],
    ['a..b', 'a.b'],
    ['a.-b', 'a.b'],
    ['Ünïcode', 'n-code'],
    ['***', 'unnamed'],
  ])('%s is called %s, a name that a manifest may have', (liveName, name) => {
    expect(manifestNameOf(liveName)).toBe(name);
    expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
  });

  it('says the live name only where the manifest’s name is another one', () => {
    const manifests = made([policy('plain'), policy('Loud')]);
    expect(manifests.map((m) => [m.name, m.file])).toEqual([
      ['plain', 'acl-policies/plain.yaml'],
      ['loud', 'acl-policies/loud.yaml'],
    ]);
    expect(manifests.map(specIn)).toEqual([{ rules: 'x' }, { name: 'Loud', rules: 'x' }]);
  });

  it('has a name of its own where several have the same in a manifest', () => {
    expect(made([policy('a-b'), policy('A-B'), policy('A-b')]).map((m) => m.name)).toEqual(['a-b', 'a-b-2', 'a-b-3']);
    const tokens = ['11111111', '22222222'].map((distinction) => ({
      liveName: 'ci',
      connection: 'default',
      distinction,
      nameField: 'name' as const,
      spec: {
        accessorId: `${distinction}-0000-0000-0000-000000000000`,
        policies: ['p'],
        writeSecretTo: { none: {} },
      },
      notes: [],
    }));
    expect(made(tokens, aclToken as AnyKind).map((m) => m.name)).toEqual(['ci', 'ci-22222222']);
  });

  it('keeps a name that it must have from those that could do with another one', () => {
    const fixed = { ...policy('Fixed'), metadataName: 'a' };
    expect(made([policy('a'), fixed]).map((m) => m.name)).toEqual(['a-2', 'a']);
  });

  it('has a name of its own where another connection has one of that name: it says the connection', () => {
    const on = (connection: string, liveName: string): Located => ({ ...policy(liveName), connection });
    const found = [
      on('east', 'a'),
      on('east', 'b'),
      on('west', 'a'),
      on('west', 'A'),
      on('west', 'b-west'),
      on('west', 'b'),
    ];
    expect(made(found).map((m) => m.name)).toEqual(['a', 'b', 'a-west', 'a-west-2', 'b-west', 'b-west-2']);
  });

  it('is not made where the name that it must have is taken, which is told instead', () => {
    const fixed = { ...policy('Fixed'), metadataName: 'a' };
    const { manifests, skipped } = manifestsOf(aclPolicy, [fixed, { ...fixed, connection: 'west' }], 'default');
    expect(manifests.map((m) => m.name)).toEqual(['a']);
    expect(skipped).toEqual([
      { liveName: 'Fixed', connection: 'west', why: 'another manifest has the name that it must have: a' },
    ]);
  });

  it('leaves out what is the default anyway, inside lists as well, and nothing else', () => {
    const role = { name: 'r', tokenPolicies: ['p'], tokenTtl: 0, boundClaims: {}, userClaim: 'sub' };
    const spec = { vaultRef: 'default', path: 'jwt-nomad', boundIssuer: '', supportedAlgs: ['RS256'], roles: [role] };
    const [manifest] = made(
      [{ liveName: 'jwt-nomad', connection: 'default', nameField: 'path', spec, notes: [] }],
      vaultJwtIntegration,
    );
    expect(specIn(manifest)).toEqual({
      supportedAlgs: ['RS256'],
      // 0 and absent are not the same to the schema, though they are to Vault.
      roles: [{ name: 'r', tokenPolicies: ['p'], tokenTtl: 0, userClaim: 'sub' }],
    });
  });

  it('spells durations as people do, and takes no other number for one', () => {
    const role = {
      name: 'r',
      tokenPolicies: ['p'],
      tokenTtl: 28_800,
      boundClaims: { tokenTtl: 3_600 },
      userClaim: 'sub',
    };
    const [integration] = made(
      [{ liveName: 'jwt-nomad', connection: 'default', nameField: 'path', spec: { roles: [role] }, notes: [] }],
      vaultJwtIntegration,
    );
    expect(specIn(integration)).toMatchObject({ roles: [{ tokenTtl: '8h', boundClaims: { tokenTtl: 3_600 } }] });
  });

  it('keeps rules as they are, in a form that people can read', () => {
    const rules = '# who\nnamespace "a" {\n  policy = "read"   \n}\n\n';
    const [manifest] = made([policy('p', { rules })]);
    expect(specIn(manifest)).toEqual({ rules });
    expect(manifest?.text).toContain('  policy = "read"');
  });

  it('says above it what whoever reads it must know', () => {
    const [manifest] = made([{ ...policy('p'), notes: ['Name the place of its secret.'] }]);
    expect(manifest?.text.startsWith('# Name the place of its secret.\napiVersion: ')).toBe(true);
  });

  it('is not made of what no manifest can say, which is told instead', () => {
    const { manifests, skipped } = manifestsOf(aclPolicy, [policy('under_score'), policy('fine')], 'default');
    expect(manifests.map((m) => m.name)).toEqual(['fine']);
    expect(skipped).toEqual([
      {
        liveName: 'under_score',
        connection: 'default',
        why: expect.stringContaining('no manifest can say it: spec.name must be') as string,
      },
    ]);
  });
});
