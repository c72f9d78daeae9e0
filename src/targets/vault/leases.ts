import type { Credential, Lease, NomadLeases } from '../../contract/credential.ts';
import { TargetError } from '../../contract/errors.ts';
import { Http, type HttpOptions } from '../../http/http.ts';
import { VaultClient } from './client.ts';

/** As Vault answers whoever reads credentials of its secrets engine for Nomad, and a renewal. */
interface Reply {
  readonly lease_id: string;
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly data?: { readonly accessor_id?: unknown; readonly secret_id?: unknown } | null;
}

const TIMEOUT_MS = 10_000;
const ONCE = { retries: 0, minTimeout: 0, maxTimeout: 0 };

/**
 * Leases of Vault's secrets engine for Nomad, over a connection of its own: they must not wait for what is done with them.
 * Whoever may not act any more may still revoke.
 * @param credential who we are to Vault; closing this does not end it.
 */
export function nomadLeases(
  options: HttpOptions & { readonly namespace?: string | undefined },
  credential: Credential,
): NomadLeases & { close(): Promise<void> } {
  const { gate, ...ungated } = options;
  const http = new Http({ ...ungated, maxConnections: 1, timeoutMs: TIMEOUT_MS, retry: ONCE });
  const client = new VaultClient({ ...ungated, token: credential }, http);
  return {
    issue: async (path, signal) => {
      gate?.();
      const reply = await client.leased<Reply>('GET', path, undefined, signal);
      const token = reply.data?.secret_id;
      if (typeof token === 'string' && token !== '') return leaseOf(token, reply);
      const message = `GET ${client.address}/v1/${path}: it gives no token of Nomad's (secret_id): is that a path of a secrets engine of type nomad?`;
      throw new TargetError(message, { class: 'terminal' });
    },
    renew: async ({ token, id }, signal) => {
      gate?.();
      return leaseOf(token, await client.leased<Reply>('PUT', 'sys/leases/renew', { lease_id: id }, signal));
    },
    revoke: ({ id }, signal) => client.write('sys/leases/revoke', { lease_id: id, sync: true }, signal),
    close: () => http.close(),
  };
}

function leaseOf(token: string, { lease_id, lease_duration, renewable }: Reply): Lease {
  return { token, id: lease_id, ttlSeconds: lease_duration, isRenewable: renewable };
}
