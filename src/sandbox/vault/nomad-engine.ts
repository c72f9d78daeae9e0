import type { Envelope, EngineRequest, SecretsEngine } from './engine.ts';
import { invalid, missing, unsupported, VaultError } from './errors.ts';
import { keysBelow } from './keys.ts';
import type { Leases } from './leases.ts';
import { list, seconds, text, type Fields } from './values.ts';

/** How Vault comes to a Nomad. @returns its answer. @throws Error where nobody answers at that address. */
export type NomadReach = (request: {
  readonly address: string;
  readonly method: 'PUT' | 'DELETE';
  readonly path: string;
  readonly token: string;
  readonly body?: unknown;
}) => Promise<{ readonly status: number; readonly body: unknown }>;

/** Over the wire, as Vault does. */
export const reachByHttp: NomadReach = async ({ address, method, path, token, body }) => {
  const response = await fetch(`${address.replace(/\/$/, '')}${path}`, {
    method,
    headers: { 'x-nomad-token': token },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch(() => {
    const name = method === 'PUT' ? 'Put' : 'Delete';
    throw new Error(`${name} "${address}${path}": dial tcp ${new URL(address).host}: connect: connection refused`);
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson ? (JSON.parse(text) as unknown) : text };
};

interface Access {
  readonly address: string;
  readonly token: string;
  readonly max_token_name_length: number;
  readonly ca_cert: string;
  readonly client_cert: string;
  readonly client_key: string;
}
interface Role {
  readonly policies: readonly string[] | null;
  readonly global: boolean;
  readonly type: string;
}

const NO_ACCESS: Access = {
  address: '',
  token: '',
  max_token_name_length: 0,
  ca_cert: '',
  client_cert: '',
  client_key: '',
};
/** Where the engine looks for Nomad before anybody told it an address. */
const DEFAULT_ADDRESS = 'http://127.0.0.1:4646';
const LONGEST_NAME = 256;

/** Vault's Nomad secrets engine: tokens of Nomad, leased. */
export class NomadEngine implements SecretsEngine {
  #access: Access | undefined;
  #lease: { readonly ttl: number; readonly max_ttl: number } | undefined;
  readonly #roles = new Map<string, Role>();
  readonly #mount: string;
  readonly #leases: Leases;
  readonly #reach: NomadReach;
  readonly #limits: { readonly ttl: () => number; readonly max: () => number };

  /** @param limits of the mount, seconds. */
  constructor(mount: string, leases: Leases, reach: NomadReach, limits: { ttl: () => number; max: () => number }) {
    this.#mount = mount;
    this.#leases = leases;
    this.#reach = reach;
    this.#limits = limits;
  }

  handle(request: EngineRequest): unknown {
    const { path, verb } = request;
    if (path === 'config/access') return this.#configAccess(request);
    if (path === 'config/lease') return this.#configLease(request);
    if (path === 'role' && verb === 'list') return keysBelow([...this.#roles.keys()], '');
    const [, area, name] = /^(role|creds)\/([^/]+)$/.exec(path) ?? [];
    if (area === 'role' && name !== undefined) return this.#role(request, name);
    if (area === 'creds' && name !== undefined && verb === 'read') return this.#creds(name);
    throw unsupported();
  }

  state(): unknown {
    return { access: this.#access, lease: this.#lease, roles: Object.fromEntries(this.#roles) };
  }

  /** Merged, but for max_token_name_length. Without any token Vault bootstraps Nomad's ACLs and keeps what it gets. */
  async #configAccess({ verb, body }: EngineRequest): Promise<unknown> {
    if (verb === 'delete') return void (this.#access = undefined);
    if (verb !== 'write') {
      if (this.#access === undefined) throw missing();
      const { token: _t, client_key: _k, ...shown } = this.#access;
      return shown;
    }
    const before = this.#access ?? NO_ACCESS;
    const given = (field: keyof Access): string => text(body[field] ?? before[field]);
    const access = {
      address: given('address'),
      token: given('token'),
      max_token_name_length: Number(body['max_token_name_length'] ?? 0),
      ca_cert: given('ca_cert'),
      client_cert: given('client_cert'),
      client_key: given('client_key'),
    };
    this.#access = access.token === '' ? { ...access, token: await this.#bootstrap(access.address) } : access;
    return undefined;
  }

  async #bootstrap(address: string): Promise<string> {
    const request = {
      address: address || DEFAULT_ADDRESS,
      method: 'PUT',
      path: '/v1/acl/bootstrap',
      token: '',
    } as const;
    const reply = await this.#reach(request).catch(() => undefined);
    if (reply?.status !== 200) throw invalid('Token not provided and failed to bootstrap ACLs');
    return (reply.body as { readonly SecretID: string }).SecretID;
  }

  /** Replaced as a whole: what is omitted is 0. */
  #configLease({ verb, body }: EngineRequest): unknown {
    if (verb === 'delete') return void (this.#lease = undefined);
    if (verb === 'write') {
      this.#lease = { ttl: duration(body, 'ttl'), max_ttl: duration(body, 'max_ttl') };
      return undefined;
    }
    if (this.#lease === undefined) throw missing();
    return this.#lease;
  }

  /** Policies and global are merged; a type that is omitted is `client`. */
  #role({ verb, body }: EngineRequest, name: string): unknown {
    const before = this.#roles.get(name);
    if (verb === 'delete') return void this.#roles.delete(name);
    if (verb !== 'write') {
      if (before === undefined) throw missing();
      return before;
    }
    const role: Role = {
      policies: body['policies'] === undefined ? (before?.policies ?? null) : list(body['policies']),
      global: Boolean(body['global'] ?? before?.global ?? false),
      type: text(body['type']) || 'client',
    };
    if (role.type !== 'client' && role.type !== 'management') throw invalid('type must be "client" or "management"');
    const hasPolicies = role.policies !== null && role.policies.length > 0;
    if (role.type === 'client' && !hasPolicies) throw invalid('policies cannot be empty when using client tokens');
    if (role.type === 'management' && hasPolicies)
      throw invalid('policies should be empty when using management tokens');
    this.#roles.set(name, role);
    return undefined;
  }

  /** A new token of Nomad, without an end of its own. */
  async #creds(name: string): Promise<Envelope> {
    const role = this.#roles.get(name);
    if (role === undefined) throw invalid(`role "${name}" not found`);
    const limit = this.#access?.max_token_name_length ?? 0;
    const Name = `vault-${name}-token-${String(Date.now())}000000`.slice(0, limit > 0 ? limit : LONGEST_NAME);
    const body = { Name, Type: role.type, Policies: role.policies, Global: role.global };
    const token = (await this.#ask('PUT', '/v1/acl/token', body).catch((error: unknown) => {
      throw new VaultError(500, [`1 error occurred:\n\t* ${error instanceof Error ? error.message : ''}\n\n`]);
    })) as { readonly AccessorID: string; readonly SecretID: string };
    const holder = {
      limits: () => this.#lifetime(),
      revoke: async () => {
        await this.#ask('DELETE', `/v1/acl/token/${token.AccessorID}`);
      },
    };
    const data = { accessor_id: token.AccessorID, secret_id: token.SecretID };
    return this.#leases.issue(`${this.#mount}/creds/${name}`, holder, data);
  }

  #lifetime(): { readonly ttl: number; readonly max: number } {
    const max = Math.min(this.#lease?.max_ttl || Infinity, this.#limits.max());
    return { ttl: Math.min(this.#lease?.ttl || this.#limits.ttl(), max), max };
  }

  /** @throws Error in the words of Nomad's Go client. */
  async #ask(method: 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    const address = (this.#access?.address ?? '') || DEFAULT_ADDRESS;
    const reply = await this.#reach({ address, method, path, token: this.#access?.token ?? '', body });
    if (reply.status !== 200)
      throw new Error(`Unexpected response code: ${String(reply.status)} (${String(reply.body).trimEnd()})`);
    return reply.body;
  }
}

function duration(body: Fields, field: string): number {
  const refused = (why: string): VaultError => invalid(`Field validation failed: ${why}`);
  if (String(body[field]).startsWith('-'))
    throw refused(
      `error converting input for field "${field}": cannot provide negative value '${String(body[field])}'`,
    );
  try {
    return seconds(body[field], field);
  } catch (error) {
    throw error instanceof VaultError ? refused(error.message) : error;
  }
}
