import type { NomadLeases } from '../contract/credential.ts';
import { messageOf, TargetError, UsageError } from '../contract/errors.ts';
import { typesOf, type ConnectionReference } from '../contract/kind.ts';
import type { Resource } from '../contract/resource.ts';
import type { Io, NomadApi, VaultApi } from '../contract/target.ts';
import type { Ledger } from '../engine/ledger.ts';
import { kindOf, kinds } from '../kinds/index.ts';
import type { Unreadable } from '../plan/step.ts';
import type { NomadClient } from '../targets/nomad/client.ts';
import { placeOf } from '../kinds/vault-server/namespace.ts';
import { namespaceToMake } from '../targets/vault/namespace-to-make.ts';
import { NomadVariables } from '../targets/nomad/variables.ts';
import {
  declaredConnections,
  makesNamespace,
  recordOf,
  unknownAccepted,
  vaultBehind,
  type Declaring,
  type DeclaredConnection,
} from './connections.ts';
import { openNomad, openVault, type Access, type Open } from './opening.ts';
import { pathNameIn } from './options.ts';

export type OpenOptions = Pick<Declaring, 'accepted' | 'base' | 'env'> &
  Pick<Access, 'allowed' | 'kubernetes' | 'gate' | 'onReply' | 'clock' | 'random' | 'mayBootstrap'> & {
    readonly ledger: Ledger;
    /**
     * Whether one that can't be opened ends everything, and so does an accepted name that none has. Otherwise it is refused, says why, and the others are worked with.
     */
    readonly isStrict: boolean;
    /** Whether all that are declared are opened, in use or not. Default: only those in use. */
    readonly opensAll?: boolean;
    /** Told when `update` would return something else for the same declaration: a credential came, went or works again. */
    readonly onChange?: () => void;
  };

type Client = (NomadApi | VaultApi) & { close(): Promise<void> };

interface Opened {
  readonly connection: DeclaredConnection;
  /** As declared: what is equal need not be opened anew. */
  readonly declared: string;
  readonly open: Open<Client> | undefined;
  /** As it was last returned: the same object until something about it changes. */
  shown: DeclaredConnection;
}

/** The connections that are in use, opened. No connection is made yet, but every credential is settled. */
export class OpenConnections {
  readonly #options: OpenOptions;
  readonly #opened = new Map<string, Opened>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: OpenOptions) {
    this.#options = options;
  }

  readonly io: Pick<Io, 'nomad' | 'variables' | 'vault'> = {
    nomad: (name) => this.#client('NomadCluster', name) as NomadApi,
    variables: (name) => new NomadVariables(this.#client('NomadCluster', name) as NomadClient),
    vault: (name) => this.#vault(name),
  };

  /**
   * Opens what is in use now and closes what is not any more. What is as before stays the same object. One after the other.
   * @param inScope whether what the inventory holds under a source is pruned when nothing declares it.
   * @returns all that are declared or recorded.
   * @throws UsageError, if strict.
   */
  update(resources: readonly Resource[], inScope: (source: string) => boolean): Promise<DeclaredConnection[]> {
    const turn = this.#turn.catch(() => undefined).then(() => this.#update(resources, inScope));
    this.#turn = turn;
    return turn;
  }

  async #update(resources: readonly Resource[], inScope: (source: string) => boolean): Promise<DeclaredConnection[]> {
    const { accepted, isStrict, ledger, kubernetes, opensAll = false } = this.#options;
    const isKubernetes = kubernetes !== undefined;
    const declared = declaredConnections({ ...this.#options, isKubernetes, resources, recorded: ledger.connections() });
    const unknown = isStrict ? unknownAccepted(accepted, declared) : undefined;
    if (unknown !== undefined) throw new UsageError(unknown);
    const used = usedBy(resources, ledger, inScope);
    if (opensAll) for (const c of declared) if (!c.isRecorded) used.add(keyOf(c));
    for (const c of declared) {
      const vault = vaultBehind(c);
      if (vault !== undefined && used.has(keyOf(c))) used.add(`VaultServer/${vault}`);
    }
    const together = declared.filter((c) => used.has(keyOf(c)));
    const opened = new Map<DeclaredConnection, DeclaredConnection>();
    // What gives credentials comes before what needs them.
    for (const kind of ['VaultServer', 'NomadCluster'] as const) {
      const ofKind = together.filter((c) => c.kind === kind);
      await Promise.all(ofKind.map(async (c) => opened.set(c, await this.#open(c, together))));
    }
    const connections = declared.map((c) => opened.get(c) ?? c);
    await this.#closeAllBut(new Set(together.map(keyOf)));
    return connections;
  }

  /** What needs credentials before what gives them: it may have some to give back. */
  async #closeAllBut(kept: ReadonlySet<string>): Promise<void> {
    for (const kind of ['NomadCluster', 'VaultServer']) {
      const gone = [...this.#opened].filter(([key, { connection }]) => connection.kind === kind && !kept.has(key));
      for (const [key] of gone) this.#opened.delete(key);
      await Promise.all(gone.flatMap(([, { open }]) => open?.close() ?? []));
    }
  }

  /** Whether it is in use: opened, or refused for the reason that it carries. */
  isInUse(connection: DeclaredConnection): boolean {
    return this.#opened.get(keyOf(connection))?.shown === connection;
  }

  async close(): Promise<void> {
    await this.#turn.catch(() => undefined);
    await this.#closeAllBut(new Set());
  }

  async #open(connection: DeclaredConnection, connections: readonly DeclaredConnection[]): Promise<DeclaredConnection> {
    const key = keyOf(connection);
    const declared = JSON.stringify(connection);
    const before = this.#opened.get(key);
    if (before?.declared === declared && before.open !== undefined) return this.#show(before);
    const opening = await this.#opening(connection, connections);
    const opened: Opened = { ...opening, declared, shown: opening.connection };
    this.#opened.set(key, opened);
    await before?.open?.close();
    // Tried again in vain: nothing has changed.
    if (before?.declared === declared && isSameRefusal(before.shown, opened.connection)) opened.shown = before.shown;
    else this.#show(opened, true);
    return opened.shown;
  }

  /** @param isNew whether it was opened anew, and so is another object whatever it says. */
  #show(opened: Opened, isNew = false): DeclaredConnection {
    const { connection } = opened;
    const refused = connection.refused ?? troubleOf(opened);
    if (!isNew && refused?.error === opened.shown.refused?.error) return opened.shown;
    opened.shown = refused === undefined ? connection : { ...connection, refused };
    // A refused one stays recorded as it was, or the next run would take its new address for the old one.
    const { base, ledger } = this.#options;
    if (refused === undefined) ledger.connect(recordOf(connection, pathNameIn(base)));
    return opened.shown;
  }

  async #opening(
    connection: DeclaredConnection,
    connections: readonly DeclaredConnection[],
  ): Promise<Pick<Opened, 'connection' | 'open'>> {
    if (connection.refused !== undefined) return { connection, open: undefined };
    const { isStrict } = this.#options;
    const leases = (vault: string): NomadLeases => this.#leases(vault);
    const access = { ...this.#options, connections, leases, isLasting: !isStrict };
    const onChange = (): void => {
      this.#changed(connection);
    };
    try {
      const open: Open<Client> = await (connection.kind === 'NomadCluster'
        ? openNomad(connection, access, onChange)
        : openVault(connection, access, onChange));
      const trouble = troubleOf({ connection, open });
      if (!isStrict || trouble?.reason !== 'Denied') return { connection, open };
      await open.close();
      throw new UsageError(trouble.error);
    } catch (error) {
      if (isStrict) throw error;
      return { connection: { ...connection, refused: { error: messageOf(error), reason: 'Denied' } }, open: undefined };
    }
  }

  /** Something about a credential: perhaps no more than that there is another token. */
  #changed(connection: DeclaredConnection): void {
    const opened = this.#opened.get(keyOf(connection));
    if (opened?.connection !== connection) return;
    if (troubleOf(opened)?.error !== opened.shown.refused?.error) this.#options.onChange?.();
  }

  #leases(vault: string): NomadLeases {
    const opened = this.#opened.get(`VaultServer/${vault}`);
    if (opened?.open?.leases !== undefined) return opened.open.leases;
    const why = opened?.shown.refused?.error ?? `there is no VaultServer named ${vault}, which spec.auth.vault names`;
    throw new TargetError(why, { class: 'dependency' });
  }

  #vault(name: string): VaultApi {
    const api = this.#client('VaultServer', name) as VaultApi;
    const made = this.#opened.get(`VaultServer/${name}`)?.connection.makes;
    return made === undefined ? api : namespaceToMake(api, placeOf(made.name));
  }

  #client(kind: DeclaredConnection['kind'], name: string): NomadApi | VaultApi {
    const client = this.#opened.get(`${kind}/${name}`)?.open?.client;
    if (client === undefined) throw new TargetError(`there is no ${kind} named ${name}`, { class: 'dependency' });
    return client;
  }
}

function isSameRefusal(a: DeclaredConnection, b: DeclaredConnection): boolean {
  return a.refused !== undefined && a.refused.error === b.refused?.error;
}

function troubleOf({ connection, open }: Pick<Opened, 'connection' | 'open'>): Unreadable | undefined {
  const trouble = open?.credential.trouble;
  return trouble && { ...trouble, error: `${connection.kind} ${connection.name}: ${trouble.error}` };
}

function keyOf({ kind, name }: Pick<ConnectionReference, 'kind' | 'name'>): string {
  return `${kind}/${name}`;
}

/** `kind/name` of every connection that a resource names, or that what we own was made through. */
function usedBy(resources: readonly Resource[], ledger: Ledger, inScope: (source: string) => boolean): Set<string> {
  const used = new Set<string>();
  for (const resource of resources) {
    if (makesNamespace(resource)) used.add(keyOf({ kind: 'VaultServer', name: resource.metadata.name }));
    for (const reference of kindOf(resource.kind)?.references(resource.spec) ?? []) used.add(keyOf(reference));
  }
  const types = typesOf(kinds);
  for (const { key, source } of ledger.all()) {
    if (inScope(source)) used.add(`${types.get(key.type)?.connection ?? ''}/${key.connection}`);
  }
  return used;
}
