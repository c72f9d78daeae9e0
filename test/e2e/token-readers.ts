import { expect } from 'vitest';
import type { CommandResult } from '../servers/command.ts';
import type { NomadServer } from '../servers/nomad.ts';
import type { VaultServer } from '../servers/vault.ts';

/** Where a token's secret goes, as its readers see it: by the command lines of Vault and Nomad. */

export type Where = 'KV version 2' | 'KV version 1' | 'a Nomad Variable';
export type Items = Readonly<Record<string, string>>;

export const WHERE: readonly Where[] = ['KV version 2', 'KV version 1', 'a Nomad Variable'];

export const SINKS: Record<Where, object> = {
  'KV version 2': { vaultKv: { path: 'ci/nomad' } },
  'KV version 1': { vaultKv: { mount: 'kv', path: 'ci/nomad' } },
  'a Nomad Variable': { nomadVariable: { path: 'ci/nomad' } },
};

/** What a plan calls it. */
export const OBJECTS: Record<Where, string> = {
  'KV version 2': 'default/vault-kv-secret/secret/ci/nomad',
  'KV version 1': 'default/vault-kv-secret/kv/ci/nomad',
  'a Nomad Variable': 'default/nomad-variable/default/ci/nomad',
};

export function succeeded({ code, stdout, stderr }: CommandResult): string {
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

export class TokenReaders {
  constructor(readonly servers: { readonly nomad: NomadServer; readonly vault: VaultServer }) {}

  /** What a reader finds; undefined where there is nothing. */
  async read(where: Where): Promise<Items | undefined> {
    const { nomad, vault } = this.servers;
    const { code, stdout, stderr } = await (where === 'a Nomad Variable'
      ? nomad.run('var', 'get', '-out=json', 'ci/nomad')
      : vault.run('kv', 'get', mountOf(where), '-format=json', 'ci/nomad'));
    if (code !== 0) {
      expect(stdout + stderr).toMatch(/not found|No value found|deletion_time/i);
      return undefined;
    }
    const answer = JSON.parse(stdout) as { Items: Items; data: { data: Items } & Items };
    return where === 'a Nomad Variable' ? answer.Items : where === 'KV version 2' ? answer.data.data : answer.data;
  }

  /** By hand, over whatever is there. */
  async put(where: Where, items: Items): Promise<void> {
    const { nomad, vault } = this.servers;
    const pairs = Object.entries(items).map(([name, value]) => `${name}=${value}`);
    succeeded(
      await (where === 'a Nomad Variable'
        ? nomad.run('var', 'put', '-force', 'ci/nomad', ...pairs)
        : vault.run('kv', 'put', mountOf(where), 'ci/nomad', ...pairs)),
    );
  }

  /** As one does it by hand: in version 2 the newest version is gone, the others can be had back. */
  async remove(where: Where): Promise<void> {
    const { nomad, vault } = this.servers;
    succeeded(
      await (where === 'a Nomad Variable'
        ? nomad.run('var', 'purge', 'ci/nomad')
        : vault.run('kv', 'delete', mountOf(where), 'ci/nomad')),
    );
  }

  /** So that nothing is left. */
  async purge(where: Where): Promise<void> {
    if (where !== 'KV version 2') return this.remove(where);
    succeeded(await this.servers.vault.run('kv', 'metadata', 'delete', '-mount=secret', 'ci/nomad'));
  }

  /** Whether there is nothing at all: no version of before, no metadata. */
  async isEmpty(where: Where): Promise<boolean> {
    const found = await this.read(where);
    if (where !== 'KV version 2' || found !== undefined) return found === undefined;
    const { code } = await this.servers.vault.run('kv', 'metadata', 'get', '-mount=secret', 'ci/nomad');
    return code === 2;
  }
}

function mountOf(where: Where): string {
  return `-mount=${where === 'KV version 1' ? 'kv' : 'secret'}`;
}
