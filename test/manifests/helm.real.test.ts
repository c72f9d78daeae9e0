import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { requireServers, serverBinary } from '../servers/binaries.ts';
import { cleanEnvironment, runCommand } from '../servers/command.ts';
import { objectsIn, one, refOf, type Deployment, type Manifest } from './objects.ts';

const MANIFESTS = resolve(import.meta.dirname, '../../manifests');
const CHART = join(MANIFESTS, 'helm/nomad-access');
/** What Helm puts on everything by convention. */
const OF_HELM = /^(app\.kubernetes\.io\/(instance|version|managed-by)|helm\.sh\/)/;

async function run(program: 'helm' | 'kubectl', ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await runCommand(serverBinary(program), args, { env: cleanEnvironment() });
  if (code !== 0) throw new Error(stderr);
  return { stdout, stderr };
}

async function template(...args: string[]): Promise<Manifest[]> {
  const { stdout } = await run('helm', 'template', 'nomad-access', CHART, '-n', 'nomad-access', ...args);
  return objectsIn(stdout);
}

/** By reference, without what only Helm has, and without the namespace, which Helm makes itself. */
function comparable(objects: readonly Manifest[]): Record<string, unknown> {
  const own = (marks: Readonly<Record<string, string>> | undefined): object =>
    Object.fromEntries(Object.entries(marks ?? {}).filter(([name]) => !OF_HELM.test(name)));
  const entries = objects
    .filter((o) => o.kind !== 'Namespace')
    .map(
      (o) =>
        [
          refOf(o),
          {
            ...o,
            metadata: { ...o.metadata, labels: own(o.metadata.labels), annotations: own(o.metadata.annotations) },
          },
        ] as const,
    );
  expect(new Set(entries.map(([ref]) => ref)).size, 'each object once').toBe(entries.length);
  return Object.fromEntries(entries.map(([ref, object]) => [ref, ordered(object)]));
}

/** The rules of a role in any order are the same role. */
function ordered(object: object): object {
  if (!('rules' in object)) return object;
  return { ...object, rules: (object.rules as unknown[]).map((rule) => JSON.stringify(rule)).sort() };
}

async function kustomized(folder: string): Promise<Manifest[]> {
  return objectsIn((await run('kubectl', 'kustomize', join(MANIFESTS, 'install', folder))).stdout);
}

describe.skipIf(!requireServers('kubectl', 'helm'))('the Helm chart', () => {
  it('is well-formed', async () => {
    expect((await run('helm', 'lint', '--strict', CHART)).stdout).toContain('0 chart(s) failed');
  });

  it('installs the same objects as `kubectl apply -k manifests/install`', async () => {
    const objects = comparable(await kustomized('.'));
    expect(Object.keys(objects).length).toBeGreaterThan(10);
    expect(comparable(await template())).toEqual(objects);
  });

  it('installs the same objects as the namespaced variant, where namespaces are named', async () => {
    expect(comparable(await template('--set', 'namespaces={apps}'))).toEqual(
      comparable(await kustomized('namespaced')),
    );
  });

  it('keeps the CRDs, and with them all that is declared, when it is uninstalled; and leaves them out on demand', async () => {
    const crdsIn = (objects: readonly Manifest[]): Manifest[] =>
      objects.filter((o) => o.kind === 'CustomResourceDefinition');
    const crds = crdsIn(await template());
    expect(crds.length).toBeGreaterThan(0);
    for (const crd of crds) expect(crd.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
    expect(crdsIn(await template('--set', 'crds.install=false'))).toEqual([]);
  });

  it('passes values on to the pod', async () => {
    const objects = await template(
      ...['--set', 'replicas=3,image.repository=mirror/nomad-access,image.tag=1.2.3,image.pullPolicy=Always'],
      ...['--set', 'extraArgs={--owner,team},vaultToken.audience=other'],
      ...['--set-string', 'namespaces={apps,123}'],
      ...['--set', 'networkPolicy.enabled=false,podDisruptionBudget.enabled=false,userRoles.enabled=false'],
      ...['--set', 'extraEnv[0].name=A,extraEnv[0].value=b,nodeSelector.pool=x'],
      ...['--set', 'extraVolumes[0].name=ca,extraVolumes[0].configMap.name=ca'],
      ...['--set', 'extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/ca'],
    );
    const { spec } = one<Deployment>(objects, 'Deployment', 'nomad-access');
    expect(spec).toMatchObject({ replicas: 3, template: { spec: { nodeSelector: { pool: 'x' } } } });
    const [container] = spec.template.spec.containers;
    expect(container).toMatchObject({
      image: 'mirror/nomad-access:1.2.3',
      imagePullPolicy: 'Always',
      env: [{ name: 'A', value: 'b' }],
    });
    const words = ['--namespace', 'apps', '--namespace', '123', '--owner', 'team'];
    expect(container?.args.slice(-words.length)).toEqual(words);
    expect(JSON.stringify(spec)).toContain('"audience":"other"');
    expect(JSON.stringify(spec)).toContain('"mountPath":"/ca"');
    const gone = ['NetworkPolicy', 'PodDisruptionBudget'];
    expect(objects.filter((o) => gone.includes(o.kind) || o.metadata.name.endsWith('-edit'))).toEqual([]);
  });

  it('two releases do not share a name', async () => {
    const other = await run('helm', 'template', 'second', CHART, '-n', 'elsewhere', '--set', 'crds.install=false');
    const first = new Set((await template('--set', 'crds.install=false')).map(refOf));
    expect(
      objectsIn(other.stdout)
        .map(refOf)
        .filter((ref) => first.has(ref)),
    ).toEqual([]);
  });

  it.each([
    ['replica=3', 'replica'],
    ['namespaces={Apps}', 'namespaces'],
    ['vaultToken.expirationSeconds=60', 'expirationSeconds'],
  ])('refuses %s by name', async (value, name) => {
    await expect(template('--set', value)).rejects.toThrow(name);
  });

  it('carries the version of the product', () => {
    const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as { version: string; appVersion: string };
    const product = JSON.parse(readFileSync(resolve(MANIFESTS, '../package.json'), 'utf8')) as { version: string };
    expect(chart).toMatchObject({ version: product.version, appVersion: product.version });
    const { images } = parse(readFileSync(join(MANIFESTS, 'install/operator/kustomization.yaml'), 'utf8')) as {
      images: unknown;
    };
    expect(images).toEqual([{ name: 'nomad-access', newTag: product.version }]);
  });
});
