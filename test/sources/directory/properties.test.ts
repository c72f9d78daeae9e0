import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kinds } from '../../../src/kinds/index.ts';
import { declared, loadText, policy, token } from './loading.ts';

/** Words that mean something to YAML or to us. */
const word = fc.constantFrom(
  ...[
    'apiVersion: nomad-access.io/v1alpha1\n',
    'kind: ',
    'AclPolicy',
    'AclToken',
    'NomadCluster',
    'VaultJwtIntegration',
  ],
  ...[
    'List',
    'metadata:\n',
    'spec:\n',
    'items:\n',
    '  name: a\n',
    '  rules: x\n',
    '---\n',
    '...\n',
    '- ',
    ': ',
    '\n',
    '  ',
  ],
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '|\n',
    '>\n',
    '&a ',
    '*a',
    '<<: ',
    '!!str ',
    '!x ',
    '%YAML 1.1\n',
    '#',
    '\t',
    '\r\n',
    '? ',
    '~',
  ],
);
const yamlish = fc
  .array(fc.oneof({ weight: 4, arbitrary: word }, { weight: 1, arbitrary: fc.string() }))
  .map((words) => words.join(''));

/** A manifest with some values replaced by anything. */
const manifestish = fc
  .record({
    kind: fc.constantFrom(...kinds.map((kind) => kind.kind)),
    metadata: fc.oneof(
      fc.jsonValue(),
      fc.record({ name: fc.oneof(fc.jsonValue(), fc.constant('a')), namespace: fc.jsonValue() }, { requiredKeys: [] }),
    ),
    spec: fc.oneof(
      fc.jsonValue(),
      fc.dictionary(
        fc.constantFrom(
          'rules',
          'nomadRef',
          'name',
          'policies',
          'roles',
          'writeSecretTo',
          'auth',
          'address',
          'jobAcl',
          'tls',
          'path',
          '__proto__',
          'constructor',
        ),
        fc.jsonValue(),
      ),
    ),
  })
  .map((fields) => JSON.stringify({ apiVersion: 'nomad-access.io/v1alpha1', ...fields }));

async function onlyReports(text: string): Promise<void> {
  const { errors, resources } = await loadText(text);
  for (const { file, line, column, message } of errors) {
    expect(message).not.toBe('');
    expect(line).toBeGreaterThan(0);
    expect(column).toBeGreaterThan(0);
    if (file === '-') expect(line).toBeLessThanOrEqual(text.split('\n').length);
  }
  const declared = resources.filter(({ source }) => source === '-');
  for (const resource of declared) expect(resource.locate('spec.x.y[2]').line).toBeGreaterThan(0);
}

describe('any input', () => {
  it('is loaded or reported: arbitrary text', () =>
    fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), onlyReports), { numRuns: 1000 }));
  it('is loaded or reported: almost YAML', () => fc.assert(fc.asyncProperty(yamlish, onlyReports), { numRuns: 3000 }));
  it('is loaded or reported: almost manifests', () =>
    fc.assert(fc.asyncProperty(manifestish, onlyReports), { numRuns: 2000 }));

  it('in any order declares the same', () => {
    const document = fc.oneof(
      fc.constantFrom(...kinds.map((kind) => kind.example)),
      fc.constantFrom('a', 'b', 'c').map((name) => policy(name)),
      fc.constantFrom('a', 'b', 'c').map((name) => token(name, `${name}.token`)),
      fc.constantFrom('nowhere', 'default').map((ref) => policy('d', `nomadRef: ${ref}`)),
    );
    const shuffled = fc
      .uniqueArray(document, { maxLength: 8 })
      .chain((documents) =>
        fc.tuple(fc.constant(documents), fc.shuffledSubarray(documents, { minLength: documents.length })),
      );
    const summary = async (documents: readonly string[]): Promise<unknown> => {
      const desire = await loadText(documents.join('---\n'));
      return { declared: declared(desire).sort(), errors: desire.errors.map(({ path }) => path).sort() };
    };
    return fc.assert(
      fc.asyncProperty(shuffled, async ([documents, others]) => {
        expect(await summary(documents)).toEqual(await summary(others));
      }),
    );
  });
});

describe('speed', () => {
  it('2,000 documents take well under a second', async () => {
    const text = Array.from({ length: 1000 }, (_, i) => [
      policy(`p${String(i)}`),
      token(`t${String(i)}`, `secrets/${String(i)}`),
    ])
      .flat()
      .join('---\n');
    const started = performance.now();
    const desire = await loadText(text);
    const took = performance.now() - started;
    expect(desire.errors).toEqual([]);
    expect(declared(desire)).toHaveLength(2000);
    expect(took).toBeLessThan(2_000);
  });
});
