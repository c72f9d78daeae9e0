import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { Cluster, connection, HOME, resource, secret, type Shown } from './cluster.ts';
import { conditionOf } from './kubernetes-objects.ts';
import type { RunningOperator } from './running.ts';
import { Tenant } from './tenant.ts';

export const A = 'team-a';
export const B = 'team-b';
export const READ = `rules: 'namespace "default" { policy = "read" }'`;
export const WRITE = `rules: 'namespace "default" { policy = "write" }'`;
export const NONE = 'writeSecretTo: { none: {} }';
export const FORCE = 'adoptionPolicy: Always';

/** In the attacker's namespace. */
export function mine(kind: string, name: string, ...spec: string[]): string {
  return resource(kind, name, spec.join('\n'), A);
}

/** In the victim's. */
export function theirs(kind: string, name: string, ...spec: string[]): string {
  return resource(kind, name, spec.join('\n'), B);
}

/** A spec whose names all begin with a prefix. */
export function integration(prefix: string, vaultRef: string, nomadRef: string): string[] {
  return [
    `vaultRef: ${vaultRef}`,
    `nomadRef: ${nomadRef}`,
    `path: ${prefix}`,
    `policies: [{ name: ${prefix}-jobs, rules: 'path "kv/${prefix}" { capabilities = ["read"] }' }]`,
    `roles: [{ name: ${prefix}-jobs, boundAudiences: vault.io, tokenPolicies: ${prefix}-jobs }]`,
  ];
}

/**
 * Two namespaces. An administrator has declared connections, all to one Nomad and one Vault: one for each of the two, with its
 * own names; one for the platform; and one, `default`, of which nothing is said, so that both may use it. The victim has one
 * of each kind. Filled in before the first test.
 */
export class Tenancy {
  readonly cluster: Cluster;
  readonly attacker: Tenant;
  readonly victim: Tenant;
  /** Accessor IDs of tokens that are no resource's. */
  readonly byHand: { readonly client: string; readonly management: string };
  /** Accessor ID of the victim's token. */
  readonly victimsToken: string;
  operator: RunningOperator;
  /** What there was before the test. */
  before: unknown;

  private constructor(of: Pick<Tenancy, 'cluster' | 'attacker' | 'victim' | 'byHand' | 'victimsToken' | 'operator'>) {
    this.cluster = of.cluster;
    this.attacker = of.attacker;
    this.victim = of.victim;
    this.byHand = of.byHand;
    this.victimsToken = of.victimsToken;
    this.operator = of.operator;
  }

  static async start(): Promise<Tenancy> {
    const cluster = await Cluster.start();
    const attacker = await Tenant.of(cluster, A);
    const victim = await Tenant.of(cluster, B);
    await cluster.apply(...connections(cluster));
    const byHand = {
      client: await tokenByHand(cluster, { Type: 'client', Policies: ['shared'] }),
      management: await tokenByHand(cluster, { Type: 'management' }),
    };
    await victim.apply(
      theirs('AclPolicy', 'deploy', 'nomadRef: nomad-b', 'name: team-b-deploy', READ),
      theirs('AclPolicy', 'shared', READ),
      theirs('AclToken', 'ci', 'policies: [shared]', 'writeSecretTo: { kubernetesSecret: { name: ci } }'),
      theirs('VaultJwtIntegration', 'jobs', ...integration('team-b', 'vault-b', 'nomad-b')),
    );
    const operator = await cluster.operator();
    await cluster.waitReady('aclpolicy', 'deploy', B);
    await cluster.waitReady('aclpolicy', 'shared', B);
    await cluster.waitReady('acltoken', 'ci', B);
    await cluster.waitReady('vaultjwtintegration', 'jobs', B);
    const victimsToken = String((await cluster.get('acltoken', 'ci', B))?.status?.live?.['accessorId']);
    return new Tenancy({ cluster, attacker, victim, byHand, victimsToken, operator });
  }

  /** All that there is on the servers, and in the Secrets of the victim's namespace. */
  async everything(): Promise<unknown> {
    const secrets = await this.cluster.kubectl('get', 'secrets', '-n', B, '-o', 'jsonpath={.items[*].data}');
    return [await this.cluster.liveNomad.everything(), await this.cluster.liveVault.everything(), secrets];
  }

  /** A resource of the attacker's. */
  attempt(kind: string, name: string): Promise<Shown | undefined> {
    return this.cluster.get(kind, name, A);
  }

  /** Declares it as the attacker, and awaits the reason for which it is not ready. @returns the message. */
  async outcome(reason: string, manifest: string): Promise<string> {
    await this.attacker.apply(manifest);
    return this.saidOf(reason, manifest);
  }

  /** Awaits the reason for which what was declared is not ready. @returns the message. */
  async saidOf(reason: string, manifest: string): Promise<string> {
    const [, kind = '', name = ''] = /kind: (\w+)[^]*?name: (\S+)/.exec(manifest) ?? [];
    const ready = conditionOf(await this.cluster.untilReason(reason, kind.toLowerCase(), name, A));
    expect(ready?.status).not.toBe('True');
    return ready?.message ?? '';
  }

  /** Deletes what the attacker has declared. */
  async clearAttempts(): Promise<void> {
    for (const kind of ['aclpolicies', 'acltokens', 'vaultjwtintegrations'])
      await this.attacker.kubectl('delete', kind, '--all', '--timeout=60s');
  }
}

/** Registers what starts and stops it in the surrounding `describe`. */
export function useTenancy(): { readonly it: Tenancy } {
  const holder = {} as { it: Tenancy };
  beforeAll(async () => {
    holder.it = await Tenancy.start();
  });
  beforeEach(async () => {
    holder.it.before = await holder.it.everything();
  });
  afterAll(() => holder.it.cluster.stop());
  return holder;
}

function connections({ nomad, vault }: Cluster): string[] {
  const toNomad = (name: string, ...grants: string[]): string =>
    connection('NomadCluster', name, nomad.address, 'nomad', ...grants);
  const toVault = (name: string, ...grants: string[]): string =>
    connection('VaultServer', name, vault.address, 'vault', 'sweepInterval: 1s', ...grants);
  return [
    // What Vault itself would refuse is no proof of what the operator refuses.
    secret(HOME, 'vault', vault.token),
    secret(HOME, 'nomad', nomad.token),
    toNomad('default'),
    toNomad('nomad-a', `grants: { namespaces: [${A}], names: [${A}-*] }`),
    toNomad('nomad-b', `grants: { namespaces: [${B}], names: [${B}-*] }`),
    toNomad('platform', 'grants: { namespaces: [platform], managementTokens: true }'),
    toVault('default'),
    toVault('vault-a', `grants: { namespaces: [${A}], names: ["${A}*"] }`),
    toVault('vault-b', `grants: { namespaces: [${B}], names: ["${B}*"] }`),
  ];
}

async function tokenByHand({ liveNomad }: Cluster, token: object): Promise<string> {
  const made = await liveNomad.request<{ AccessorID: string }>('POST', '/v1/acl/token', { Name: 'by hand', ...token });
  return made.body.AccessorID;
}
