import { describe, expect, it } from 'vitest';
import { kinds } from '../../../src/kinds/index.ts';
import { declared, errorLine, loadText, manifest, policy } from './loading.ts';

async function errorsOf(text: string): Promise<string[]> {
  return (await loadText(text)).errors.map(errorLine);
}

describe('documents', () => {
  it.each(kinds)('the example of $kind loads', async ({ example, kind }) => {
    // What differs in a directory is said in the example itself.
    const inDirectory = example
      .replace(/kubernetesSecret: .*\n +name: /, 'file:\n      path: secrets/')
      .replace(/secretRef: .*\n +name: (.*)\n +key: .*/, 'file: secrets/$1');
    const desire = await loadText(inDirectory);
    expect(desire.errors).toEqual([]);
    expect(desire.resources.filter((r) => r.source === '-').map((r) => r.kind)).toEqual([kind]);
  });

  it('several in one text, empty ones among them', async () => {
    const text = `# nothing\n---\n${policy('a')}---\n---\n# nothing\n---\nnull\n...\n${policy('b')}---\n`;
    const desire = await loadText(text);
    expect(desire.errors).toEqual([]);
    expect(declared(desire)).toEqual(['AclPolicy/default/a', 'AclPolicy/default/b']);
  });

  it.each(['', '\n', '---\n', '# x', '{}\n---\n'.slice(2), '\uFEFF'])('nothing in %j', async (text) => {
    expect(await loadText(text)).toMatchObject({
      errors: [],
      resources: [{ source: 'environment' }, { source: 'environment' }],
    });
  });

  it('lists, and lists in lists', async () => {
    const item = (name: string): unknown => ({
      apiVersion: 'nomad-access.io/v1alpha1',
      kind: 'AclPolicy',
      metadata: { name, creationTimestamp: null, uid: '1', managedFields: [{}], ownerReferences: [] },
      spec: { rules: 'x' },
      status: { anything: [1] },
    });
    const list = (...items: unknown[]): unknown => ({
      apiVersion: 'v1',
      kind: 'List',
      metadata: { resourceVersion: '' },
      items,
    });
    const text = JSON.stringify(list(item('a'), list(item('b')), list()), null, 2);
    const desire = await loadText(text);
    expect(desire.errors).toEqual([]);
    expect(declared(desire)).toEqual(['AclPolicy/default/a', 'AclPolicy/default/b']);
    expect(desire.resources[1]?.locate('metadata.name').line).toBe(
      text.split('\n').findIndex((line) => line.includes('"b"')) + 1,
    );
  });

  it('JSON with tabs', async () => {
    const json = {
      apiVersion: 'nomad-access.io/v1alpha1',
      kind: 'VaultJwtIntegration',
      metadata: { name: 'a' },
      spec: {},
    };
    expect(await errorsOf(JSON.stringify(json, null, '\t'))).toEqual([]);
  });

  it('Windows line ends', async () => {
    const { errors, resources } = await loadText(policy('a', 'description: d').replaceAll('\n', '\r\n'));
    expect(errors).toEqual([]);
    expect(resources[0]?.locate('spec.description')).toEqual({ file: '-', line: 7, column: 16 });
  });

  it('anchors, aliases and merges', async () => {
    const text = manifest('VaultJwtIntegration', 'a', [
      'policies:',
      '- &base {name: one, rules: &rules x}',
      '- {<<: *base, name: two}',
      '- {<<: [{name: three}, *base]}',
      '- {name: four, rules: *rules}',
    ]);
    const { errors, resources } = await loadText(text);
    expect(errors).toEqual([]);
    expect(resources[0]?.spec).toMatchObject({
      policies: ['one', 'two', 'three', 'four'].map((name) => ({ name, rules: 'x' })),
    });
    expect(resources[0]?.locate('spec.policies[1].rules')).toEqual({ file: '-', line: 7, column: 37 });
    expect(resources[0]?.locate('spec.policies[3].rules')).toEqual({ file: '-', line: 10, column: 25 });
  });

  it('an error behind an alias stands where it was written', async () => {
    const text = manifest('VaultJwtIntegration', 'a', [
      'policies:',
      '- &base {name: ONE, rules: x}',
      'roles:',
      '- *base',
    ]);
    expect(await errorsOf(text)).toEqual([
      '-:7:18 spec.policies[0].name: must be lower-case letters, digits, dots, dashes and underscores (Vault lower-cases names)',
      '-:7:18 spec.roles[0].name: must be lower-case letters, digits, dots, dashes and underscores (Vault lower-cases names)',
      expect.stringMatching(/^-:7:\d+ spec\.roles\[0\]\.rules: is not known here/),
    ]);
  });

  it('a spec that is left out, or empty, is one without fields', async () => {
    const head = 'apiVersion: nomad-access.io/v1alpha1\nkind: VaultJwtIntegration\nmetadata:\n  name: a\n';
    for (const spec of ['', 'spec:\n', 'spec: {}\n', 'spec: ~\nstatus:\n'])
      expect(await errorsOf(head + spec)).toEqual([]);
  });

  it('metadata is kept, and its namespace is default', async () => {
    const text = manifest('AclPolicy', 'a', ['rules: x'], ['annotations: {nomad-access.io/x: "1"}', 'labels: {a: b}']);
    const { resources } = await loadText(text);
    expect(resources[0]?.metadata).toEqual({
      name: 'a',
      namespace: 'default',
      annotations: { 'nomad-access.io/x': '1' },
    });
  });
});

describe('documents that are refused before they cost anything', () => {
  it('a billion laughs', async () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${String(i + 1)}: &l${String(i + 1)} [${`*l${String(i)},`.repeat(10)}]`,
    );
    expect(await errorsOf(['l0: &l0 lol', ...levels].join('\n'))).toEqual([
      expect.stringMatching(/^-:5:\d+ : the aliases stand for more than 10000 values$/),
    ]);
  });

  it('a billion merges', async () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${String(i + 1)}: &l${String(i + 1)} {<<: [${`*l${String(i)},`.repeat(10)}]}`,
    );
    expect((await errorsOf(['l0: &l0 {a: b}', ...levels].join('\n')))[0]).toContain('aliases stand for more');
  });

  it.each([
    ['[', '['],
    ['{', '{a: '],
    ['- ', '- '],
    ['? ', '? '],
    ['[{', '[{a: '],
  ])('a million of %j', async (_name, text) => {
    const errors = await errorsOf(text.repeat(1_000_000).slice(0, 4_000_000));
    expect(errors).toEqual([
      expect.stringMatching(/^-:1:\d+ : mappings and lists are nested more than 100 levels deep$/),
    ]);
  });

  it('indentation without end', async () => {
    const errors = await errorsOf(Array.from({ length: 2000 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''));
    expect(errors).toEqual([expect.stringContaining('nested more than 100 levels deep')]);
  });

  it('depth by aliases', async () => {
    const nested = (inner: string): string => '['.repeat(40) + inner + ']'.repeat(40);
    const text = `a: &a ${nested('x')}\nb: &b ${nested('*a')}\nc: ${nested('*b')}`;
    expect(await errorsOf(text)).toEqual([expect.stringMatching(/^-:3:\d+ : mappings and lists are nested more/)]);
  });

  it('99 levels are read', async () => {
    expect(await errorsOf('['.repeat(99) + ']'.repeat(99))).toEqual([expect.stringContaining('must be a mapping')]);
  });

  it('what is no YAML at all', async () => {
    expect((await errorsOf(']\n'.repeat(1_000_000))).length).toBeLessThan(110);
  });

  it.each(['[],\n', '- a\n', '"" ', '&a '])('four million characters of %j', async (text) => {
    const { errors } = await loadText(text.repeat(4_000_000 / text.length));
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.length).toBeLessThan(110);
  });

  it('more merges and errors than a call has arguments', async () => {
    expect(await errorsOf(`<<: [${'{},'.repeat(200_000)}]`)).toHaveLength(2);
    expect(await errorsOf('%x\n'.repeat(200_000))).toHaveLength(200_000);
  });

  it('a hundred thousand keys, all of them unknown', async () => {
    const started = performance.now();
    const errors = await errorsOf(
      policy('a', ...Array.from({ length: 100_000 }, (_, i) => `key${String(i)}: ${String(i)}`)),
    );
    expect(errors).toHaveLength(100_000);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe('positions', () => {
  const text = `# comment\n---\n${manifest(
    'VaultJwtIntegration',
    'a',
    [
      'supportedAlgs:',
      '  - RS256',
      'roles:',
      '- name: first',
      '  boundClaims:',
      '    a.b: x',
      '    a: {}',
      "- {name: second, tokenTtl: '1h'}",
      '- name: third',
      'policies:',
      '  [{name: p, rules: r}]',
    ].filter((line) => !line.includes('{}')),
  )}`;

  it.each([
    ['', 3, 1],
    ['apiVersion', 3, 13],
    ['metadata', 5, 1],
    ['metadata.name', 6, 9],
    ['metadata.namespace', 5, 1],
    ['spec', 7, 1],
    ['spec.supportedAlgs', 8, 3],
    ['spec.supportedAlgs[0]', 9, 7],
    ['spec.roles[0]', 11, 5],
    ['spec.roles[0].boundClaims.a.b', 13, 12],
    ['spec.roles[1].tokenTtl', 14, 30],
    ['spec.roles[1].tokenMaxTtl', 14, 5],
    ['spec.roles[2].name', 15, 11],
    ['spec.roles[3].name', 10, 3],
    ['spec.policies', 16, 3],
    ['spec.nothing.at[5].all', 7, 1],
    ['..[[x', 3, 1],
  ])('%s', async (path, line, column) => {
    const { errors, resources } = await loadText(text);
    expect(errors).toEqual([]);
    expect(resources[0]?.locate(path)).toEqual({ file: '-', line, column });
  });

  it('in later documents and in lists', async () => {
    const { resources } = await loadText(
      `\n\n${policy('a')}--- # next\n\n${policy('b')}...\n# more\n---\n${policy('c')}`,
    );
    expect(resources.slice(0, 3).map((r) => r.locate('metadata.name').line)).toEqual([6, 14, 23]);
    expect(resources.slice(0, 3).map((r) => r.locate('spec.rules').line)).toEqual([8, 16, 25]);
  });
});
