import { describe, expect, it } from 'vitest';
import { declared, ENVIRONMENT, errorLine, loadText, manifest, policy } from './loading.ts';

const cluster = (name: string, address: string, ...spec: readonly string[]): string =>
  manifest('NomadCluster', name, [`address: ${address}`, 'auth: {tokenEnv: NOMAD_TOKEN}', ...spec]);
const texts = (...documents: readonly string[]): string => documents.join('---\n');

describe('connections', () => {
  it('of the environment are there where none of their kind is declared', async () => {
    const { resources } = await loadText(cluster('mine', 'http://nomad:4646'));
    expect(resources.map((r) => [r.kind, r.metadata.name, r.source])).toEqual([
      ['NomadCluster', 'mine', '-'],
      ['VaultServer', 'default', 'environment'],
    ]);
    expect(resources[1]?.spec).toMatchObject({ address: 'http://127.0.0.1:8200', maxConnections: 32 });
  });

  it('an invalid one is a declared one: nothing takes its place, and nobody who refers to it is blamed', async () => {
    const { errors, resources } = await loadText(texts(cluster('default', 'nomad:4646'), policy('a'), policy('b')));
    expect(errors).toMatchObject([{ path: 'spec.address' }]);
    expect(resources.some((r) => r.kind === 'NomadCluster')).toBe(false);
  });

  it('nobody is blamed for referring to what could not be read', async () => {
    const broken = texts('a: [', policy('a', 'nomadRef: prod'));
    expect((await loadText(broken)).errors).toHaveLength(1);
    const misspelled = texts(
      cluster('prod', 'http://a:1').replace('NomadCluster', 'NomadClutser'),
      policy('a', 'nomadRef: prod'),
    );
    expect((await loadText(misspelled)).errors).toMatchObject([{ path: 'kind' }]);
    const unnamed = texts(
      cluster('prod', 'http://a:1').replace('name: prod', 'nmae: prod'),
      policy('a', 'nomadRef: prod'),
    );
    expect((await loadText(unnamed)).errors.map((e) => e.path)).toEqual(['metadata.name', 'metadata.nmae']);
  });

  it('of an environment that is wrong are reported where somebody means them, once', async () => {
    const environment = ENVIRONMENT.map((made) => ({ ...made, spec: { address: 'x', auth: { tokenEnv: 'T' } } }));
    const { errors } = await loadText(texts(policy('a'), policy('b')), { environment });
    expect(errors.map(errorLine)).toEqual([expect.stringMatching(/^environment NOMAD_ADDR: must be http/)]);
  });

  it('to one server by two names: one live object', async () => {
    const claims = (a: string, b: string): Promise<string[]> =>
      loadText(texts(a, b, policy('p', 'nomadRef: one'), policy('q', 'nomadRef: two', 'name: p'))).then(({ errors }) =>
        errors.map(({ path }) => path),
      );
    expect(await claims(cluster('one', 'http://nomad:4646'), cluster('two', 'http://NOMAD:4646/'))).toEqual([
      'spec.name',
    ]);
    expect(await claims(cluster('one', 'http://nomad:80'), cluster('two', 'http://nomad'))).toEqual(['spec.name']);
    expect(await claims(cluster('one', 'http://nomad:4646'), cluster('two', 'http://nomad:4647'))).toEqual([]);
    const regions = [cluster('one', 'http://n:1', 'region: eu'), cluster('two', 'http://n:1', 'region: us')] as const;
    expect(await claims(...regions)).toEqual([]);
  });

  it('a resource that is declared twice is told so whatever else is wrong with it, and only the first one counts', async () => {
    const { errors, resources } = await loadText(
      texts(policy('a'), policy('a', 'nomadRef: nowhere'), policy('a', 'colour: red')),
    );
    expect(errors.map(({ line, path }) => [line, path])).toEqual([
      [11, 'metadata.name'],
      [14, 'spec.nomadRef'],
      [19, 'metadata.name'],
      [22, 'spec.colour'],
    ]);
    expect(resources.filter((r) => r.kind === 'AclPolicy').map((r) => r.locate('').line)).toEqual([1]);
  });

  it('resources with errors are left out, the others stay', async () => {
    const desire = await loadText(texts(policy('a', 'colour: red'), policy('b')));
    expect(desire.errors).toHaveLength(1);
    expect(declared(desire)).toEqual(['AclPolicy/default/b']);
  });
});
