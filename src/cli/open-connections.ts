import { TargetError, UsageError } from '../contract/errors.ts';
import { typesOf, type ConnectionReference } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import type { Io, NomadApi, VaultApi } from '../contract/target.ts';
import type { Ledger } from '../engine/ledger.ts';
import { kindOf, kinds } from '../kinds/index.ts';
import {
  declaredConnections,
  openNomad,
  openVault,
  recordOf,
  type Access,
  type Declaring,
  type DeclaredConnection,
} from './connections.ts';
import { pathNameIn } from './options.ts';

export type OpenOptions = Pick<Declaring, 'accepted' | 'base' | 'env'> &
  Pick<Access, 'allowed' | 'gate' | 'onReply'> & {
    readonly ledger: Ledger;
    /**
     * Whether one that can't be opened ends everything. Otherwise it is refused, says why, and the others are worked with.
     */
    readonly isStrict: boolean;
  };

interface Opened {
  readonly connection: DeclaredConnection;
  /** As declared: what is equal need not be opened anew. */
  readonly declared: string;
  readonly client: ((NomadApi | VaultApi) & { close(): Promise<void> }) | undefined;
}

/** The connections that are in use, opened. No connection is made yet, but every credential is settled. */
export class OpenConnections {
  readonly #options: OpenOptions;
  readonly #opened = new Map<string, Opened>();

  constructor(options: OpenOptions) {
    this.#options = options;
  }

  readonly io: Pick<Io, 'nomad' | 'vault'> = {
    nomad: (name) => this.#client('NomadCluster', name) as NomadApi,
    vault: (name) => this.#client('VaultServer', name) as VaultApi,
  };

  /**
   * Opens what is in use now and closes what is not any more. What is declared as before stays the same object.
   * @param inScope whether what the inventory holds under a source is pruned when nothing declares it.
   * @returns all that are declared or recorded.
   * @throws UsageError, if strict.
   */
  async update(resources: readonly Resource[], inScope: (source: string) => boolean): Promise<DeclaredConnection[]> {
    const { ledger } = this.#options;
    const declared = declaredConnections({ ...this.#options, resources, recorded: ledger.connections() });
    const used = usedBy(resources, ledger, inScope);
    const together = declared.filter((c) => used.has(keyOf(c)));
    const connections = await Promise.all(
      declared.map((c) => (together.includes(c) ? this.#open(c, together) : Promise.resolve(c))),
    );
    const kept = new Set(connections.map(keyOf).filter((key) => used.has(key)));
    for (const [key, { client }] of this.#opened) {
      if (kept.has(key)) continue;
      this.#opened.delete(key);
      await client?.close();
    }
    return connections;
  }

  /** Whether it is in use: opened, or refused for the reason that it carries. */
  isInUse(connection: DeclaredConnection): boolean {
    return this.#opened.get(keyOf(connection))?.connection === connection;
  }

  async close(): Promise<void> {
    for (const { client } of this.#opened.values()) await client?.close();
  }

  async #open(connection: DeclaredConnection, connections: readonly DeclaredConnection[]): Promise<DeclaredConnection> {
    const key = keyOf(connection);
    const declared = JSON.stringify(connection);
    const before = this.#opened.get(key);
    if (before?.declared === declared && before.client !== undefined) return before.connection;
    const opened = await this.#opening(connection, connections);
    this.#opened.set(key, { ...opened, declared });
    await before?.client?.close();
    // A refused one stays recorded as it was, or the next run would take its new address for the old one.
    const { base, ledger } = this.#options;
    if (opened.connection.refused === undefined) ledger.connect(recordOf(connection, pathNameIn(base)));
    return opened.connection;
  }

  async #opening(
    connection: DeclaredConnection,
    connections: readonly DeclaredConnection[],
  ): Promise<Omit<Opened, 'declared'>> {
    if (connection.refused !== undefined) return { connection, client: undefined };
    const access = { ...this.#options, connections };
    try {
      const client = await (connection.kind === 'NomadCluster'
        ? openNomad(connection, access)
        : openVault(connection, access));
      return { connection, client };
    } catch (error) {
      if (this.#options.isStrict || !(error instanceof UsageError)) throw error;
      return { connection: { ...connection, refused: { error: error.message, reason: 'Denied' } }, client: undefined };
    }
  }

  #client(kind: DeclaredConnection['kind'], name: string): NomadApi | VaultApi {
    const client = this.#opened.get(`${kind}/${name}`)?.client;
    if (client === undefined) throw new TargetError(`there is no ${kind} named ${name}`, { class: 'dependency' });
    return client;
  }
}

function keyOf({ kind, name }: Pick<ConnectionReference, 'kind' | 'name'>): string {
  return `${kind}/${name}`;
}

/** `kind/name` of every connection that a resource names, or that what we own was made through. */
function usedBy(resources: readonly Resource[], ledger: Ledger, inScope: (source: string) => boolean): Set<string> {
  const used = new Set<string>();
  for (const resource of resources) {
    for (const reference of kindOf(resource.kind)?.references(resource.spec) ?? []) used.add(keyOf(reference));
  }
  const types = typesOf(kinds);
  for (const { key, source } of ledger.all()) {
    if (inScope(source)) used.add(`${types.get(key.type)?.connection ?? ''}/${key.connection}`);
  }
  return used;
}
