import { Envelope, type EngineRequest, type SecretsEngine } from './engine.ts';
import { invalid, missing } from './errors.ts';
import { keysBelow } from './keys.ts';
import { list, map, text, type Fields } from './values.ts';

/** Version 1 of the KV engine: one value a path, replaced as a whole. */
export class KvV1 implements SecretsEngine {
  readonly #values = new Map<string, Fields>();
  readonly #ttl: () => number;

  /** @param ttl the mount's default, seconds: told with every value. */
  constructor(ttl: () => number) {
    this.#ttl = ttl;
  }

  handle({ verb, path, body }: EngineRequest): unknown {
    if (verb === 'list') return keysBelow([...this.#values.keys()], path);
    if (verb === 'delete') return void this.#values.delete(path);
    if (verb === 'write') {
      if (Object.keys(body).length === 0) throw invalid('missing data fields');
      this.#values.set(path, body);
      return undefined;
    }
    const value = this.#values.get(path);
    if (value === undefined) throw missing();
    return new Envelope({ data: value, lease_duration: this.#ttl() });
  }

  state(): unknown {
    return Object.fromEntries(this.#values);
  }
}

interface Version {
  data: unknown;
  readonly created_time: string;
  deletion_time: string;
  destroyed: boolean;
}

interface Secret {
  readonly versions: Map<number, Version>;
  readonly created_time: string;
  updated_time: string;
  current_version: number;
  oldest_version: number;
  custom_metadata: Record<string, unknown> | null;
  max_versions: number;
  cas_required: boolean;
}

/** How many versions are kept where neither the secret nor the engine says. */
const KEPT_VERSIONS = 10;
const CAS_MISMATCH = 'check-and-set parameter did not match the current version';

/** Version 2 of the KV engine: versions that can be deleted and brought back, and metadata beside them. */
export class KvV2 implements SecretsEngine {
  readonly #secrets = new Map<string, Secret>();
  readonly #config = { cas_required: false, delete_version_after: '0s', max_versions: 0 };
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  handle(request: EngineRequest): unknown {
    const [, area = '', path = ''] = /^([^/]*)\/?(.*)$/.exec(request.path) ?? [];
    if (area === 'config') return this.#configuration(request);
    if (area === 'metadata') return this.#metadata(request, path);
    if (area === 'data' && path !== '' && request.verb !== 'list') return this.#data(request, path);
    const isChange = request.verb === 'write' && ['delete', 'undelete', 'destroy'].includes(area);
    if (!isChange) return new Envelope({ data: null }, 404);
    this.#change(area, path, list(request.body['versions']).map(Number));
    return undefined;
  }

  state(): unknown {
    const newest = ({ versions, current_version, custom_metadata }: Secret): unknown => {
      const version = versions.get(current_version);
      return { data: version?.deletion_time === '' ? version.data : null, custom_metadata, current_version };
    };
    return Object.fromEntries([...this.#secrets].map(([path, secret]) => [path, newest(secret)]));
  }

  #configuration({ verb, body }: EngineRequest): unknown {
    if (verb === 'read') return { ...this.#config };
    this.#config.cas_required = Boolean(body['cas_required'] ?? this.#config.cas_required);
    this.#config.max_versions = Number(body['max_versions'] ?? this.#config.max_versions);
    return undefined;
  }

  #data({ verb, query, body }: EngineRequest, path: string): unknown {
    if (verb === 'write') return this.#put(path, body);
    const secret = this.#secrets.get(path);
    if (verb === 'delete') {
      this.#change('delete', path, [secret?.current_version ?? 0]);
      return undefined;
    }
    const number = Number(query.get('version') ?? 0) || (secret?.current_version ?? 0);
    const version = secret?.versions.get(number);
    if (secret === undefined || version === undefined) throw missing();
    const isGone = version.destroyed || version.deletion_time !== '';
    const data = { data: isGone ? null : version.data, metadata: described(secret, number, version) };
    return new Envelope({ data }, isGone ? 404 : 200);
  }

  /** A new version. With `cas` only where the newest is that one; 0 stands for none, a deleted one counts. */
  #put(path: string, body: Fields): unknown {
    if (typeof body['data'] !== 'object' || body['data'] === null) throw invalid('no data provided');
    const known = this.#secrets.get(path);
    const cas = map(body['options'])['cas'];
    if (cas === undefined && (this.#config.cas_required || known?.cas_required === true))
      throw invalid('check-and-set parameter required for this call');
    if (cas !== undefined && Number(cas) !== (known?.current_version ?? 0)) throw invalid(CAS_MISMATCH);
    const secret = known ?? this.#create(path);
    const version: Version = { data: body['data'], created_time: this.#time(), deletion_time: '', destroyed: false };
    secret.versions.set(++secret.current_version, version);
    secret.updated_time = version.created_time;
    this.#forget(secret);
    return described(secret, secret.current_version, version);
  }

  #create(path: string): Secret {
    const time = this.#time();
    const secret: Secret = {
      versions: new Map(),
      created_time: time,
      updated_time: time,
      current_version: 0,
      oldest_version: 0,
      custom_metadata: null,
      max_versions: 0,
      cas_required: false,
    };
    this.#secrets.set(path, secret);
    return secret;
  }

  #forget(secret: Secret): void {
    const kept = secret.max_versions || this.#config.max_versions || KEPT_VERSIONS;
    const gone = [...secret.versions.keys()].filter((number) => number <= secret.current_version - kept);
    for (const number of gone) secret.versions.delete(number);
    if (gone.length > 0) secret.oldest_version = secret.current_version - kept + 1;
  }

  #change(what: string, path: string, numbers: readonly number[]): void {
    const secret = this.#secrets.get(path);
    for (const number of numbers) {
      const version = secret?.versions.get(number);
      if (version === undefined) continue;
      if (what === 'undelete') version.deletion_time = '';
      if (what === 'delete' && version.deletion_time === '') version.deletion_time = this.#time();
      if (what === 'destroy') Object.assign(version, { destroyed: true, data: null });
    }
  }

  #metadata({ verb, body }: EngineRequest, path: string): unknown {
    if (verb === 'list') return keysBelow([...this.#secrets.keys()], path);
    if (verb === 'delete') return void this.#secrets.delete(path);
    if (verb === 'write') {
      this.#describe(path, body);
      return undefined;
    }
    const secret = this.#secrets.get(path);
    if (secret === undefined) throw missing();
    const { versions, ...rest } = secret;
    const shown = [...versions].map(([number, { data: _d, ...version }]) => [String(number), version]);
    return { ...rest, delete_version_after: '0s', versions: Object.fromEntries(shown) as unknown };
  }

  /** Merged, but for custom_metadata, which is replaced as a whole; also where there is no version yet. */
  #describe(path: string, body: Fields): void {
    const secret = this.#secrets.get(path) ?? this.#create(path);
    if (body['custom_metadata'] !== undefined) {
      const entries = Object.entries(map(body['custom_metadata'])).map(([key, value]) => [
        key,
        text(value) || JSON.stringify(value),
      ]);
      secret.custom_metadata = entries.length === 0 ? null : (Object.fromEntries(entries) as Record<string, unknown>);
    }
    secret.max_versions = Number(body['max_versions'] ?? secret.max_versions);
    secret.cas_required = Boolean(body['cas_required'] ?? secret.cas_required);
  }

  #time(): string {
    return new Date(this.#now()).toISOString();
  }
}

function described(secret: Secret, version: number, { data: _d, ...rest }: Version): unknown {
  return { ...rest, custom_metadata: secret.custom_metadata, version };
}
