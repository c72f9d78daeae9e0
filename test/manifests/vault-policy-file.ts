import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** A policy of manifests/vault, taken apart so that each right can be left out. */

export const VAULT_FOLDER = resolve(import.meta.dirname, '../../manifests/vault');

/** One right. */
export interface Grant {
  readonly path: string;
  readonly capability: string;
}

export class PolicyFile {
  readonly text: string;
  readonly grants: readonly Grant[];
  readonly #blocks: readonly { readonly path: string; readonly capabilities: readonly string[] }[];

  /** @throws Error where it is not read whole. */
  constructor(name: string) {
    this.text = readFileSync(join(VAULT_FOLDER, name), 'utf8');
    const blocks = this.text.matchAll(/^path "([^"]+)" \{\s*capabilities = \[([^\]]*)\]\s*\}/gm);
    this.#blocks = [...blocks].map(([, path = '', list = '']) => ({
      path,
      capabilities: [...list.matchAll(/"(\w+)"/g)].map((m) => m[1] ?? ''),
    }));
    if (this.#blocks.length === 0 || this.text.match(/^path /gm)?.length !== this.#blocks.length)
      throw new Error(`${name} has blocks that this does not read`);
    this.grants = this.#blocks.flatMap(({ path, capabilities }) =>
      capabilities.map((capability) => ({ path, capability })),
    );
  }

  /** Without one capability, and without the block where it has no other. */
  without({ path, capability }: Grant): string {
    const left = this.#blocks.map((b) =>
      b.path === path ? { ...b, capabilities: b.capabilities.filter((c) => c !== capability) } : b,
    );
    return left
      .filter((b) => b.capabilities.length > 0)
      .map((b) => `path "${b.path}" { capabilities = ${JSON.stringify(b.capabilities)} }`)
      .join('\n');
  }
}
