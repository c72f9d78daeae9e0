import type { Lease, VaultTokens } from '../../contract/credential.ts';
import { TargetError } from '../../contract/errors.ts';
import { Http, type HttpOptions } from '../../http/http.ts';
import { withoutSecrets } from '../without-secrets.ts';
import { VaultClient } from './client.ts';

/** As Vault answers a login and a renewal. */
interface Auth {
  readonly client_token: string;
  readonly lease_duration: number;
  readonly renewable: boolean;
}

const TIMEOUT_MS = 10_000;
const ONCE = { retries: 0, minTimeout: 0, maxTimeout: 0 };

/** What Vault does with tokens, over a connection of its own: it must not wait for what is done with them. Whoever may not act any more may still revoke. */
export function vaultTokens(options: HttpOptions & { readonly namespace?: string | undefined }): VaultTokens {
  const { gate, ...ungated } = options;
  const http = new Http({ ...ungated, maxConnections: 1, timeoutMs: TIMEOUT_MS, retry: ONCE });
  const clientWith = (token: string | undefined): VaultClient => new VaultClient({ ...ungated, token }, http);
  return {
    login: async (path, body, signal) => {
      gate?.();
      try {
        return leaseOf(await clientWith(undefined).authenticate<Auth>(path, body, signal));
      } catch (error) {
        throw withoutSecrets(error, [body['jwt'], body['secret_id']]);
      }
    },
    renew: async (token, signal) => {
      gate?.();
      return leaseOf(await clientWith(token).authenticate<Auth>('auth/token/renew-self', {}, signal));
    },
    lookup: async (token, signal) => {
      gate?.();
      try {
        const data = await clientWith(token).read<{ ttl: number; renewable?: boolean }>(
          'auth/token/lookup-self',
          signal,
        );
        return data && { token, ttlSeconds: data.ttl, isRenewable: data.renewable === true };
      } catch (error) {
        if (error instanceof TargetError && error.status === 403) return undefined;
        throw error;
      }
    },
    revoke: (token, signal) => clientWith(token).write('auth/token/revoke-self', {}, signal),
    close: () => http.close(),
  };
}

function leaseOf({ client_token, lease_duration, renewable }: Auth): Lease {
  return { token: client_token, ttlSeconds: lease_duration, isRenewable: renewable };
}
