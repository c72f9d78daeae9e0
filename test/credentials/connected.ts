import { join } from 'node:path';
import { vi } from 'vitest';
import type { DeclaredConnection } from '../../src/cli/connections.ts';
import { ledgerOf } from '../../src/cli/inventory.ts';
import { OpenConnections, type OpenOptions } from '../../src/cli/open-connections.ts';
import type { Resource } from '../../src/contract/resource.ts';
import { kindOf } from '../../src/kinds/index.ts';
import { fileState } from '../../src/state/file.ts';
import { temporaryDirectory } from '../servers/process.ts';

/** A connection as a source declares it. */
export function declared(
  kind: 'NomadCluster' | 'VaultServer',
  name: string,
  spec: object,
  annotations: Readonly<Record<string, string>> = {},
): Resource {
  return {
    kind,
    metadata: { name, namespace: '', annotations },
    spec: kindOf(kind)?.spec.parse(spec),
    source: `${kind} /${name}`,
    folder: '/',
    locate: () => ({ file: '', line: 1, column: 1 }),
  };
}

/** Connections that are opened as the operator does it: all that are declared, and again whenever something changes. */
export class Connected {
  readonly #directory = temporaryDirectory('connections');
  readonly ledger = ledgerOf(undefined, fileState(join(this.#directory.path, 'state.json')), 'default');
  readonly opened: OpenConnections;
  /** As they are now. */
  connections: readonly DeclaredConnection[] = [];
  /** Every request, as `METHOD status`. */
  readonly requests: string[] = [];
  /** Everything that was said of why one is refused. */
  readonly said: string[] = [];
  /** How often something changed by itself. */
  changes = 0;
  #resources: readonly Resource[] = [];

  constructor(options: Partial<OpenOptions> = {}) {
    this.opened = new OpenConnections({
      env: {},
      allowed: [],
      accepted: [],
      base: this.#directory.path,
      ledger: this.ledger,
      isStrict: false,
      opensAll: true,
      onReply: (_connection, method, status) => this.requests.push(`${method} ${String(status)}`),
      onChange: () => {
        this.changes++;
        void this.declare(this.#resources);
      },
      ...options,
    });
  }

  async declare(resources: readonly Resource[]): Promise<readonly DeclaredConnection[]> {
    this.#resources = resources;
    this.connections = await this.opened.update(resources, () => true);
    this.said.push(...this.connections.flatMap(({ refused }) => refused?.error ?? []));
    return this.connections;
  }

  get only(): DeclaredConnection {
    const [connection] = this.connections;
    if (connection === undefined) throw new Error('nothing is declared');
    return connection;
  }

  /** Until the only connection is refused, or is not. @returns it. */
  async until(state: 'refused' | 'usable', timeout = 20_000): Promise<DeclaredConnection> {
    return vi.waitFor(
      () => {
        const { refused } = this.only;
        if ((refused !== undefined) !== (state === 'refused'))
          throw new Error(`it is not ${state}: ${refused?.error ?? ''}`);
        return this.only;
      },
      { timeout, interval: 20 },
    );
  }

  async close(): Promise<void> {
    await this.opened.close();
    await this.ledger.close();
    this.#directory.remove();
  }

  /** Something is made through a NomadCluster. */
  own(cluster: string): void {
    this.ledger.record({
      key: { connection: cluster, type: 'acl-policy', name: 'made' },
      resource: { kind: 'AclPolicy', namespace: 'default', name: 'made' },
      state: 'owned',
      adopted: false,
      deletionPolicy: 'Delete',
      suspended: false,
      source: 'AclPolicy default/made',
    });
  }
}
