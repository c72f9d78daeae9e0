import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LiveNomad } from './live.ts';

/** Every secret that there was, to be looked for where none may be. */
export class Leaks {
  readonly secrets = new Set<string>();

  add(...secrets: string[]): void {
    for (const secret of secrets) this.secrets.add(secret);
  }

  /** The secrets of all tokens that stand now. */
  async collect(live: LiveNomad): Promise<void> {
    for (const { AccessorID } of await live.tokens()) {
      const { SecretID } = await live.token(AccessorID);
      if (typeof SecretID === 'string') this.secrets.add(SecretID);
    }
  }

  /** Those that occur in a text. */
  in(text: string): string[] {
    return [...this.secrets].filter((secret) => text.includes(secret));
  }
}

/** The content of all files below a folder but those of a folder called `secrets`. */
export function contentOf(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => !path.includes('/secrets/') && statSync(path).isFile())
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
}
