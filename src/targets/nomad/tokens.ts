import type { BootstrapReply, NomadTokens } from '../../contract/credential.ts';
import { TargetError } from '../../contract/errors.ts';
import { Http, type HttpOptions } from '../../http/http.ts';
import { withoutSecrets } from '../without-secrets.ts';
import { NomadClient, type NomadClientOptions } from './client.ts';
import { untilFound } from './regions.ts';

/** As Nomad answers a login, and whoever asks for itself. */
interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
  /** RFC 3339, by Nomad's clock. */
  readonly CreateTime: string;
  readonly ExpirationTime: string | null;
}

const TIMEOUT_MS = 10_000;
const ONCE = { retries: 0, minTimeout: 0, maxTimeout: 0 };
/** How long a token that another region made may take to come here; milliseconds. */
const ARRIVAL_MS = 10_000;

/** What Nomad does with the tokens that we act by, over a connection of its own: it must not wait for what is done with them. Whoever may not act any more may still delete its own. */
export function nomadTokens(options: HttpOptions & Pick<NomadClientOptions, 'region' | 'httpAuth'>): NomadTokens {
  const { gate, ...ungated } = options;
  const http = new Http({ ...ungated, maxConnections: 1, timeoutMs: TIMEOUT_MS, retry: ONCE });
  const clientWith = (token: string | undefined): NomadClient => new NomadClient({ ...ungated, token }, http);
  const lookup: NomadTokens['lookup'] = async (token, signal) => {
    gate?.();
    try {
      const found = await clientWith(token).get<Token>('/v1/acl/token/self', {}, signal);
      return found && { accessorId: found.body.AccessorID };
    } catch (error) {
      if (error instanceof TargetError && error.class === 'denied') return undefined;
      throw error;
    }
  };
  return {
    bootstrap: async (secretId, signal) => {
      gate?.();
      try {
        await clientWith(undefined).put('/v1/acl/bootstrap', { BootstrapSecret: secretId }, signal);
        return 'done';
      } catch (error) {
        const reply = bootstrapReply(error);
        if (reply === undefined) throw withoutSecrets(error, [secretId]);
        return reply;
      }
    },
    login: async (method, jwt, signal) => {
      gate?.();
      try {
        const body = { AuthMethodName: method, LoginToken: jwt };
        const { body: token } = await clientWith(undefined).put<Token>('/v1/acl/login', body, signal);
        return { token: token.SecretID, id: token.AccessorID, ttlSeconds: secondsOf(token), isRenewable: false };
      } catch (error) {
        throw withoutSecrets(error, [jwt]);
      }
    },
    arrived: async (token, signal) => {
      const message = `${options.address}: the token that was just made is not known there: is it one of this region, or does the replication lag?`;
      await untilFound(() => lookup(token, signal), { mostMs: ARRIVAL_MS, message, signal });
    },
    lookup,
    remove: async ({ token, id = '' }, signal) => {
      await clientWith(token).request('DELETE', `/v1/acl/token/${id}`, {}, undefined, {
        expect: [400, 403, 404],
        idempotent: true,
        signal,
      });
    },
    close: () => http.close(),
  };
}

/** Nomad looks whether it was done before it looks at the SecretID: so one that is none tells, and does nothing. */
function bootstrapReply(error: unknown): BootstrapReply | undefined {
  if (!(error instanceof TargetError) || error.status !== 400) return undefined;
  if (error.message.includes('ACL bootstrap already done')) return 'done before';
  return error.message.endsWith('invalid acl token') ? 'invalid' : undefined;
}

/** How long it lasts: both times are of Nomad's clock. Seconds; 0: it never ends. */
function secondsOf({ CreateTime, ExpirationTime }: Token): number {
  if (ExpirationTime === null) return 0;
  return Math.max(0.001, (Date.parse(ExpirationTime) - Date.parse(CreateTime)) / 1000);
}
