import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Inventory } from '../../src/contract/state.ts';
import { keyText } from '../../src/plan/step.ts';
import { parseInventory, STATE_FILE } from '../../src/state/file.ts';

/** What a run of the command printed, and how it ended. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A plan as `-o json` prints it; `result` after apply and destroy. */
export interface PlanOutput {
  readonly steps: readonly {
    readonly action: string;
    readonly kind: string;
    readonly name: string;
    readonly object: string;
    readonly reason: string;
    readonly message: string;
    readonly changes: readonly { path: string; before: unknown; after: unknown }[];
    readonly result?: { status: string; message: string };
  }[];
  readonly summary: Record<string, number>;
}

/** Addresses and tokens that the command finds in its environment. */
export interface Target {
  readonly nomad?: { readonly address: string; readonly token: string };
  readonly vault?: { readonly address: string; readonly token: string };
}

const EXECUTABLE = resolve(import.meta.dirname, '../../dist/nomad-access.js');

/** A folder of manifests of a user's, in which the built command is run as the user would run it. */
export class Workspace {
  readonly folder = mkdtempSync(join(tmpdir(), 'nomad-access-test-'));
  readonly manifests = join(this.folder, 'manifests');
  /** Everything that any run printed. */
  readonly printed: string[] = [];
  #target: Target;

  constructor(target: Target) {
    this.#target = target;
    mkdirSync(this.manifests);
  }

  retarget(target: Target): void {
    this.#target = target;
  }

  write(file: string, ...documents: string[]): void {
    const path = join(this.manifests, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, documents.join('\n---\n'));
  }

  remove(file: string): void {
    rmSync(join(this.manifests, file));
  }

  read(file: string): string {
    return readFileSync(join(this.manifests, file), 'utf8');
  }

  /** What the inventory holds. */
  inventory(): Inventory {
    return parseInventory(STATE_FILE, this.read(STATE_FILE));
  }

  /** The objects that the inventory holds, as `connection/type/name`, sorted. */
  recorded(): string[] {
    return this.inventory()
      .objects.map(({ key }) => keyText(key))
      .sort();
  }

  /** Whether the inventory holds anything. */
  isRecorded(): boolean {
    return existsSync(join(this.manifests, STATE_FILE)) && this.recorded().length > 0;
  }

  start(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): { child: ChildProcess; outcome: Promise<Outcome> } {
    const child = spawn(process.execPath, [EXECUTABLE, ...args], {
      cwd: this.folder,
      env: { ...this.environment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
    const outcome = new Promise<Outcome>((done, fail) => {
      child.on('error', fail);
      child.on('close', (code, signal) => {
        this.printed.push(output.stdout, output.stderr);
        done({ code, signal, ...output });
      });
    });
    return { child, outcome };
  }

  run(...args: string[]): Promise<Outcome> {
    return this.start(args).outcome;
  }

  /** `plan` over all manifests. */
  async plan(...args: string[]): Promise<PlanOutput & { code: number | null }> {
    return this.#json('plan', '-f', 'manifests', '-o', 'json', ...args);
  }

  async apply(...args: string[]): Promise<PlanOutput & { code: number | null }> {
    return this.#json('apply', '-f', 'manifests', '-y', '-o', 'json', ...args);
  }

  async destroy(...args: string[]): Promise<PlanOutput & { code: number | null }> {
    return this.#json('destroy', '-f', 'manifests', '-y', '-o', 'json', ...args);
  }

  async #json(...args: string[]): Promise<PlanOutput & { code: number | null }> {
    const { stdout, stderr, code } = await this.run(...args);
    try {
      return { ...(JSON.parse(stdout) as PlanOutput), code };
    } catch {
      throw new Error(
        `nomad-access ${args.join(' ')} ended with ${String(code)} and printed no JSON:\n${stdout}\n${stderr}`,
      );
    }
  }

  environment(): Record<string, string> {
    const { nomad, vault } = this.#target;
    return {
      PATH: process.env['PATH'] ?? '',
      HOME: this.folder,
      ...(nomad && { NOMAD_ADDR: nomad.address, NOMAD_TOKEN: nomad.token }),
      ...(vault && { VAULT_ADDR: vault.address, VAULT_TOKEN: vault.token }),
    };
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

/** A manifest. @param spec YAML, indented by two spaces for us. */
export function manifest(kind: string, name: string, spec = '', metadata = ''): string {
  const indent = (text: string): string => text.replace(/^(?=.)/gm, '  ');
  const body = spec.trim() === '' ? 'spec: {}' : `spec:\n${indent(spec.replace(/^\n+|\s+$/g, ''))}`;
  return `apiVersion: nomad-access.io/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\n${metadata === '' ? '' : `${indent(metadata)}\n`}${body}\n`;
}

/** Manifests of `count` policies, named `p0`, `p1` and so on. */
export function numberedPolicies(count: number): string[] {
  const rules = `rules: 'namespace "default" { policy = "read" }'`;
  return Array.from({ length: count }, (_, i) => manifest('AclPolicy', `p${String(i)}`, rules));
}

/** A manifest of a VaultJwtIntegration with a mount, a policy and a role of its own. */
export function integration(path: string): string {
  const policies = `policies: [{ name: ${path}, rules: 'path "x" { capabilities = ["read"] }' }]`;
  const roles = `roles: [{ name: nomad-workloads, boundAudiences: vault.io, tokenPolicies: ${path} }]`;
  return manifest('VaultJwtIntegration', path, `path: ${path}\n${policies}\n${roles}`);
}
