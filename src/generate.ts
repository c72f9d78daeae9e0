import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { kinds } from './kinds/index.ts';
import { crd, crdYaml, referenceIndex, referencePage, withKinds, yaml } from './schema/index.ts';

/** Writes crds/, its copies and the kinds in the lists of manifests/, and docs/kinds/ from the kinds; with --check it only says which files are stale, and fails. */
const ROOT = resolve(import.meta.dirname, '..');
/** Neither kustomize nor Helm reads what lies outside of its folder. */
const CRD_COPIES = ['manifests/install/operator/crds.yaml', 'manifests/helm/nomad-access/files/crds.yaml'];
const LISTS = [
  'manifests/install/cluster/operator-role.yaml',
  'manifests/install/namespaced/apps.yaml',
  'manifests/install/operator/user-roles.yaml',
  'manifests/helm/nomad-access/templates/_rules.tpl',
  'manifests/helm/nomad-access/templates/user-roles.yaml',
  'manifests/argocd/argocd-cm.yaml',
];
const wanted = new Map<string, string>([
  ...kinds.map((kind): [string, string] => [`crds/${kind.plural}.yaml`, yaml(crd(kind))]),
  ...CRD_COPIES.map((path): [string, string] => [path, crdYaml(kinds)]),
  ...kinds.map((kind): [string, string] => [`docs/kinds/${kind.kind}.md`, referencePage(kind)]),
  ['docs/kinds/README.md', referenceIndex(kinds)],
]);

for (const path of LISTS) wanted.set(path, withKinds(await readFile(join(ROOT, path), 'utf8'), kinds));

async function existing(folder: string): Promise<string[]> {
  const names = await readdir(join(ROOT, folder)).catch((): string[] => []);
  return names.map((name) => `${folder}/${name}`);
}

const surplus = [...(await existing('crds')), ...(await existing('docs/kinds'))].filter((path) => !wanted.has(path));
const stale = new Set(surplus);
for (const [path, content] of wanted) {
  if ((await readFile(join(ROOT, path), 'utf8').catch(() => '')) !== content) stale.add(path);
}

if (process.argv.includes('--check')) {
  for (const path of stale) console.error(`${path} is stale: run \`make generate\``);
  process.exitCode = stale.size > 0 ? 1 : 0;
} else {
  const folders = new Set([...wanted.keys()].map((path) => dirname(join(ROOT, path))));
  await Promise.all([...folders].map((folder) => mkdir(folder, { recursive: true })));
  for (const path of surplus) await rm(join(ROOT, path));
  for (const [path, content] of wanted) await writeFile(join(ROOT, path), content);
}
