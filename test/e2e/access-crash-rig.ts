import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { STATE_FILE } from '../../src/state/file.ts';
import { CrashRig } from './crash-rig.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { manifest } from './workspace.ts';

type Servers = ConstructorParameters<typeof CrashRig>[0];

/** What is declared: by these fields it changes. */
interface Declared {
  readonly method: string;
  readonly ttl: string;
  readonly description: string;
  /** Of the engine's management token: a change replaces it. */
  readonly isGlobal: boolean;
  readonly policy: string;
}

const FIRST: Declared = { method: 'sso', ttl: '1h', description: 'Look', isGlobal: false, policy: 'one' };

/** The same commands and accidents over roles, auth methods, binding rules, and the Nomad engine of Vault with its roles. */
export class AccessCrashRig extends CrashRig {
  readonly #nomad: LiveNomad;
  readonly #vault: LiveVault;
  #declared = FIRST;

  constructor(servers: Servers) {
    super(servers);
    this.#nomad = new LiveNomad(servers.nomad);
    this.#vault = new LiveVault(servers.vault);
  }

  override declare(): void {
    this.#write(FIRST);
  }

  /** Another method takes the place of the first, so that the rule is replaced; the engine gets another token. */
  override declareChanged(): void {
    this.#write({ method: 'github', ttl: '2h', description: 'See', isGlobal: true, policy: 'two' });
  }

  override declareOtherPolicies(): void {
    this.#write({ ...FIRST, policy: 'two' });
  }

  #write(declared: Declared): void {
    this.#declared = declared;
    const { method, ttl, description, isGlobal, policy } = declared;
    const rules = `rules: 'namespace "default" { policy = "read" }'`;
    const config = 'config: { jwksUrl: "http://127.0.0.1:9/" }';
    this.workspace.write(
      'all.yaml',
      manifest('AclPolicy', 'one', rules),
      manifest('AclPolicy', 'two', rules),
      manifest('AclRole', 'viewers', `description: ${description}\npolicies: [${policy}]`),
      manifest('AclAuthMethod', method, `type: JWT\ntokenLocality: local\nmaxTokenTtl: ${ttl}\n${config}`),
      manifest('AclBindingRule', 'all', `authMethod: ${method}\nbindType: role\nbindName: viewers`),
      manifest('AclToken', 'ci', 'roles: [viewers]\nwriteSecretTo: { none: {} }'),
      manifest('VaultNomadSecretsEngine', 'nomad', `lease: { ttl: ${ttl} }\naccess: { global: ${String(isGlobal)} }`),
      manifest('VaultNomadRole', 'reader', `engine: nomad\npolicies: [${policy}]`),
    );
  }

  override async deleteByHand(): Promise<void> {
    await this.deleteSomeByHand();
    await this.#vault.request('PUT', 'sys/leases/revoke-force/nomad/creds');
    await this.#vault.request('DELETE', 'sys/mounts/nomad');
    for (const { Name } of await this.#list('auth-methods')) await this.#remove(`auth-method/${Name}`);
    for (const name of await this.#nomad.policyNames()) await this.#remove(`policy/${name}`);
  }

  override async deleteSomeByHand(): Promise<void> {
    for (const { AccessorID } of await this.#nomad.marked()) await this.#remove(`token/${AccessorID}`);
    for (const { ID } of await this.#list('binding-rules')) await this.#remove(`binding-rule/${ID}`);
    for (const { ID } of await this.#list('roles')) await this.#remove(`role/${ID}`);
  }

  async #list(of: string): Promise<readonly { ID: string; Name: string }[]> {
    return (await this.#nomad.request<{ ID: string; Name: string }[]>('GET', `/v1/acl/${of}`)).body;
  }

  async #remove(path: string): Promise<void> {
    await this.#nomad.request('DELETE', `/v1/acl/${path}`);
  }

  /** One of each, and Vault gives tokens out by a management token that Nomad knows. */
  override async converges(_tokens: readonly string[], because: string): Promise<void> {
    await this.go('apply', because);
    expect((await this.workspace.plan('--detailed-exitcode')).code, because).toBe(0);
    const { method, description, policy } = this.#declared;
    const roles = (await this.#list('roles')) as unknown[];
    expect(roles, because).toMatchObject([{ Name: 'viewers', Description: description, Policies: [{ Name: policy }] }]);
    expect(await this.#list('auth-methods'), because).toMatchObject([{ Name: method }]);
    expect(await this.#list('binding-rules'), because).toMatchObject([{ AuthMethod: method }]);
    const marked = (await this.#nomad.marked()).map(({ Name }) => Name.replace(/ \[.*/, ''));
    expect(marked.sort(), because).toEqual(['ci', 'nomad']);
    const creds = await this.#vault.request('GET', 'nomad/creds/reader');
    expect(creds.status, because).toBe(200);
    expect((await this.#vault.request('PUT', 'sys/leases/revoke-prefix/nomad/creds')).status, because).toBe(204);
  }

  override async vanishes(because: string): Promise<void> {
    await this.go('destroy', because);
    for (const of of ['policies', 'roles', 'auth-methods', 'binding-rules'])
      expect(await this.#list(of), because).toEqual([]);
    expect(
      (await this.#nomad.tokens()).map(({ Name }) => Name),
      because,
    ).toEqual(['Bootstrap Token']);
    expect(await this.#vault.data('sys/mounts'), because).not.toHaveProperty('nomad/');
    if (existsSync(join(this.workspace.manifests, STATE_FILE))) expect(this.workspace.recorded(), because).toEqual([]);
  }
}
