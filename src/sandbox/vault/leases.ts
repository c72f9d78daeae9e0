import { randomBytes } from 'node:crypto';
import { Envelope } from './engine.ts';
import { invalid } from './errors.ts';
import { keysBelow } from './keys.ts';
import { seconds, text, type Fields } from './values.ts';

/** What the engine of a lease knows of it. */
export interface LeaseHolder {
  /** Seconds that a lease may have from now on: by default, and at most since it was issued. */
  limits(): { readonly ttl: number; readonly max: number };
  /** Destroys what was leased. @throws Error where that fails, and the lease stays. */
  revoke(): Promise<void>;
}

interface Lease extends LeaseHolder {
  readonly issued: number;
  renewed: number | undefined;
  expires: number;
}

/** The leases of one namespace: `mount/creds/role/suffix`. What has run out is revoked when somebody looks. */
export class Leases {
  readonly #leases = new Map<string, Lease>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param prefix path that was read. */
  issue(prefix: string, holder: LeaseHolder, data: unknown): Envelope {
    const id = `${prefix}/${randomBytes(12).toString('hex')}`;
    const { ttl, max } = holder.limits();
    const granted = Math.min(ttl, max);
    const issued = this.#now();
    this.#leases.set(id, { ...holder, issued, renewed: undefined, expires: issued + granted * 1000 });
    return new Envelope({ data, lease_id: id, renewable: true, lease_duration: granted });
  }

  async lookup(body: Fields): Promise<unknown> {
    await this.#expire();
    const id = idIn(body);
    const lease = this.#leases.get(id);
    if (lease === undefined) throw invalid('invalid lease');
    return {
      id,
      issue_time: new Date(lease.issued).toISOString(),
      expire_time: new Date(lease.expires).toISOString(),
      last_renewal: lease.renewed === undefined ? null : new Date(lease.renewed).toISOString(),
      renewable: true,
      ttl: Math.floor((lease.expires - this.#now()) / 1000),
    };
  }

  /** For `increment` seconds, by default the role's; no longer than the maximum since it was issued. */
  async renew(body: Fields): Promise<Envelope> {
    await this.#expire();
    const id = idIn(body);
    const lease = this.#leases.get(id);
    if (lease === undefined) throw invalid('lease not found');
    const { ttl, max } = lease.limits();
    const now = this.#now();
    const left = max - Math.floor((now - lease.issued) / 1000);
    const granted = Math.min(seconds(body['increment'], 'increment') || ttl, left);
    lease.renewed = now;
    lease.expires = now + granted * 1000;
    return new Envelope({ data: null, lease_id: id, renewable: true, lease_duration: granted });
  }

  /** Missing is no error. */
  async revoke(body: Fields): Promise<void> {
    const id = idIn(body);
    await this.#revoke(id).catch((error: unknown) => {
      throw invalid(failure(error));
    });
  }

  /** Stops at the first that can't be revoked. */
  async revokePrefix(prefix: string): Promise<void> {
    const ids = this.#under(prefix);
    for (const [i, id] of ids.entries())
      await this.#revoke(id).catch((error: unknown) => {
        throw invalid(`failed to revoke "${id}" (${String(i + 1)} / ${String(ids.length)}): ${failure(error)}`);
      });
  }

  /** Forgets each, whether it could be revoked or not. */
  async revokeForce(prefix: string): Promise<void> {
    for (const id of this.#under(prefix)) {
      await this.#revoke(id).catch(() => undefined);
      this.#leases.delete(id);
    }
  }

  async list(folder: string): Promise<unknown> {
    await this.#expire();
    return keysBelow([...this.#leases.keys()], folder);
  }

  #under(prefix: string): string[] {
    const folder = prefix.replace(/\/?$/, '/');
    return [...this.#leases.keys()].filter((id) => id.startsWith(folder)).sort();
  }

  async #revoke(id: string): Promise<void> {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    await lease.revoke();
    this.#leases.delete(id);
  }

  async #expire(): Promise<void> {
    const over = [...this.#leases].filter(([, lease]) => lease.expires <= this.#now()).map(([id]) => id);
    for (const id of over) await this.#revoke(id).catch(() => undefined);
  }
}

function idIn(body: Fields): string {
  const id = text(body['lease_id']);
  if (id === '') throw invalid('lease_id must be specified');
  return id;
}

function failure(error: unknown): string {
  return `failed to revoke entry: resp: (*logical.Response)(nil) err: ${error instanceof Error ? error.message : ''}`;
}
