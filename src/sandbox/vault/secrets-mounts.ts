import { randomBytes, randomUUID } from 'node:crypto';
import type { SecretsEngine } from './engine.ts';
import { invalid, VaultError } from './errors.ts';
import { KvV1, KvV2 } from './kv.ts';
import type { Leases } from './leases.ts';
import { NomadEngine, type NomadReach } from './nomad-engine.ts';
import { map, seconds, text, type Fields } from './values.ts';

/** Vault's own default and maximum of a lease: 768 hours. */
export const SYSTEM_TTL = 2_764_800;

/** Built-in engines that the sandbox lists and doesn't have. */
const BUILT_IN = { cubbyhole: 'cubbyhole', identity: 'identity', sys: 'system' };

interface SecretsMount {
  readonly type: string;
  readonly accessor: string;
  readonly uuid: string;
  options: Record<string, unknown> | null;
  description: string;
  /** Seconds; 0 stands for the system's. */
  readonly config: { default_lease_ttl: number; max_lease_ttl: number; readonly force_no_cache: false };
  /** Its disabling has begun and failed: listed, and nothing below it can be reached until it is disabled at last. */
  tainted: boolean;
  readonly engine: SecretsEngine | undefined;
}

/** The secrets engines of one namespace by their paths. */
export class SecretsMounts {
  readonly #mounts = new Map<string, SecretsMount>();
  readonly #leases: Leases;
  readonly #reach: NomadReach;
  readonly #now: () => number;

  constructor(leases: Leases, reach: NomadReach, now: () => number, hasSecret: boolean) {
    this.#leases = leases;
    this.#reach = reach;
    this.#now = now;
    for (const [path, type] of Object.entries(BUILT_IN)) this.#mounts.set(path, this.#newMount(path, type, null));
    if (hasSecret)
      this.enable('secret', { type: 'kv', options: { version: '2' }, description: 'key/value secret storage' });
  }

  enable(path: string, body: Fields): void {
    const asked = text(body['type']);
    if (asked === '') throw invalid('backend type must be specified as a string');
    const type = asked === 'kv-v2' ? 'kv' : asked;
    const options = asked === 'kv-v2' ? { version: '2' } : body['options'] === null ? null : map(body['options']);
    const taken = [...this.#mounts.keys()].find((mount) => `${path}/`.startsWith(`${mount}/`));
    if (taken !== undefined) throw invalid(`path is already in use at ${taken}/`);
    if (type !== 'kv' && type !== 'nomad') throw invalid(`plugin not found in the catalog: ${type}`);
    const mount = this.#newMount(path, type, options);
    tuned(mount, { ...map(body['config']), description: text(body['description']) });
    this.#mounts.set(path, mount);
  }

  #newMount(path: string, type: string, options: Record<string, unknown> | null): SecretsMount {
    const config = { default_lease_ttl: 0, force_no_cache: false, max_lease_ttl: 0 } as const;
    const mount = {
      type,
      accessor: `${type}_${randomBytes(4).toString('hex')}`,
      uuid: randomUUID(),
      options,
      description: '',
      config: { ...config },
      tainted: false,
    };
    return { ...mount, engine: this.#engineOf(mount, path) };
  }

  #engineOf({ type, options, config }: Omit<SecretsMount, 'engine'>, path: string): SecretsEngine | undefined {
    const limits = { ttl: () => config.default_lease_ttl || SYSTEM_TTL, max: () => config.max_lease_ttl || SYSTEM_TTL };
    if (type === 'kv') return options?.['version'] === '2' ? new KvV2(this.#now) : new KvV1(limits.ttl);
    if (type === 'nomad') return new NomadEngine(path, this.#leases, this.#reach, limits);
    return undefined;
  }

  tune(path: string, body: Fields): void {
    const mount = this.#mounts.get(path);
    if (mount === undefined) throw invalid(`tune of path "${path}/" failed: no mount entry found`);
    tuned(mount, body);
  }

  /** Revokes the engine's leases first. Where that fails the mount stays, tainted. Missing is no error. */
  async disable(path: string): Promise<void> {
    const mount = this.#mounts.get(path);
    if (mount === undefined) return;
    mount.tainted = true;
    await this.#leases.revokePrefix(`${path}/`);
    this.#mounts.delete(path);
  }

  list(): unknown {
    return Object.fromEntries([...this.#mounts].map(([path, mount]) => [`${path}/`, shown(mount)]));
  }

  read(path: string): unknown {
    return shown(this.#named(path));
  }

  readTuning(path: string): unknown {
    const { config, description, options } = this.#named(path);
    return { ...effective(config), description, options };
  }

  #named(path: string): SecretsMount {
    const mount = this.#mounts.get(path);
    if (mount === undefined) throw invalid(`No secret engine mount at ${path}/`);
    return mount;
  }

  /** @returns the mount that a path lies in, with the TTLs that hold there. */
  around(path: string): ({ readonly path: string } & Record<string, unknown>) | undefined {
    const at = this.#at(path);
    if (at === undefined) return undefined;
    const mount = this.#named(at);
    return { ...shown(mount), config: effective(mount.config), path: `${at}/` };
  }

  /** @returns the engine that a path leads to, and the path below its mount. @throws VaultError */
  engine(path: string): { readonly engine: SecretsEngine; readonly below: string } {
    const at = this.#at(path);
    const mount = at === undefined ? undefined : this.#mounts.get(at);
    if (at === undefined || mount?.engine === undefined) throw unrouted(path, 'not found');
    if (mount.tainted) throw unrouted(path, 'tainted');
    return { engine: mount.engine, below: path.slice(at.length + 1).replace(/\/$/, '') };
  }

  #at(path: string): string | undefined {
    const around = [...this.#mounts.keys()].filter((mount) => `${path}/`.startsWith(`${mount}/`));
    return around.sort((a, b) => b.length - a.length)[0];
  }

  /** Everything that the engines hold, for tests. */
  state(): Record<string, unknown> {
    const states = [...this.#mounts].flatMap(([path, { type, accessor, engine }]) =>
      engine === undefined ? [] : [[path, { type, accessor, state: engine.state() }] as const],
    );
    return Object.fromEntries(states);
  }
}

function unrouted(path: string, why: 'not found' | 'tainted'): VaultError {
  const words = why === 'tainted' ? 'route entry is tainted' : 'route entry not found';
  return new VaultError(404, [`no handler for route "${path}". ${words}.`]);
}

function tuned(mount: SecretsMount, body: Fields): void {
  if (body['description'] !== undefined) mount.description = text(body['description']);
  if (body['options'] !== undefined) mount.options = map(body['options']);
  for (const field of ['default_lease_ttl', 'max_lease_ttl'] as const)
    if (body[field] !== undefined) mount.config[field] = seconds(body[field], field);
}

function effective(config: SecretsMount['config']): SecretsMount['config'] {
  return {
    ...config,
    default_lease_ttl: config.default_lease_ttl || SYSTEM_TTL,
    max_lease_ttl: config.max_lease_ttl || SYSTEM_TTL,
  };
}

function shown({ engine: _e, tainted: _t, ...mount }: SecretsMount): Record<string, unknown> {
  return {
    ...mount,
    config: { ...mount.config },
    deprecation_status: 'supported',
    external_entropy_access: false,
    local: mount.type === 'cubbyhole',
    plugin_version: '',
    running_plugin_version: mount.type === 'kv' ? 'v0.25.0+builtin' : 'v1.21.1+builtin.vault',
    running_sha256: '',
    seal_wrap: mount.type === 'system',
  };
}
