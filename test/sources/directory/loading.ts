import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { positionText, type ManifestError } from '../../../src/contract/resource.ts';
import type { Desire } from '../../../src/contract/source.ts';
import { kinds } from '../../../src/kinds/index.ts';
import { loadDirectory, type LoadOptions } from '../../../src/sources/directory/index.ts';

/** What the environment of somebody with a Nomad and a Vault says. */
export const ENVIRONMENT: LoadOptions['environment'] = [
  {
    kind: 'NomadCluster',
    spec: { address: 'http://127.0.0.1:4646', auth: { tokenEnv: 'NOMAD_TOKEN' } },
    variable: (field) => (field === 'address' ? 'NOMAD_ADDR' : undefined),
  },
  {
    kind: 'VaultServer',
    spec: { address: 'http://127.0.0.1:8200', auth: { tokenEnv: 'VAULT_TOKEN' } },
    variable: () => undefined,
  },
];

export function load(paths: readonly string[], base: string, more: Partial<LoadOptions> = {}): Promise<Desire> {
  return loadDirectory({ kinds, paths, base, cwd: base, owner: 'default', environment: ENVIRONMENT, ...more });
}

/** Loads a text as from standard input. */
export function loadText(text: string, more: Partial<LoadOptions> = {}): Promise<Desire> {
  return load(['-'], '/nowhere', { stdin: () => Promise.resolve(text), ...more });
}

/** `a.yaml:3:5 spec.rules: message` */
export function errorLine({ path, message, ...position }: ManifestError): string {
  return `${positionText(position)} ${path}: ${message}`;
}

/** What was declared in files, as `kind/namespace/name`. */
export function declared({ resources }: Desire): string[] {
  return resources
    .filter((resource) => resource.source !== 'environment')
    .map(({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}`);
}

export function manifest(
  kind: string,
  name: string,
  spec: readonly string[],
  metadata: readonly string[] = [],
): string {
  const lines = [
    'apiVersion: nomad-access.io/v1alpha1',
    `kind: ${kind}`,
    'metadata:',
    `  name: ${name}`,
    ...metadata.map((line) => `  ${line}`),
    ...(spec.length === 0 ? ['spec: {}'] : ['spec:', ...spec.map((line) => `  ${line}`)]),
  ];
  return `${lines.join('\n')}\n`;
}

export function policy(name: string, ...spec: readonly string[]): string {
  return manifest('AclPolicy', name, ['rules: namespace "default" { policy = "read" }', ...spec]);
}

export function token(name: string, path: string): string {
  return manifest('AclToken', name, ['policies: [readonly]', `writeSecretTo: {file: {path: ${JSON.stringify(path)}}}`]);
}

/** A temporary folder with some files. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'nomad-access-directory-'));

  async write(files: Readonly<Record<string, string | Uint8Array>>): Promise<this> {
    for (const [name, content] of Object.entries(files)) {
      const path = this.at(name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
    return this;
  }

  at(name: string): string {
    return join(this.path, name);
  }

  load(paths: readonly string[] = ['.'], more: Partial<LoadOptions> = {}): Promise<Desire> {
    return load(paths, this.path, more);
  }

  /** The errors alone, one line each. */
  async errors(paths: readonly string[] = ['.'], more: Partial<LoadOptions> = {}): Promise<string[]> {
    return (await this.load(paths, more)).errors.map(errorLine);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
