import type { Credential, NomadLeases, NomadTokens, TokenPlace, VaultTokens } from '../contract/credential.ts';
import { bootstrapped } from './bootstrap.ts';
import type { Issuer } from './session.ts';

/** What a login sends: made anew for each one. @throws TargetError where it can't be had. */
type Made<T> = () => T | Promise<T>;

export interface VaultLogin {
  /** `auth/kubernetes/login` */
  readonly path: string;
  readonly body: Made<Readonly<Record<string, string>>>;
  /** Part of the body; closed together with the session. */
  readonly from?: Credential | undefined;
}

/** Tokens of Vault's by a login there. */
export function vaultLogin({ path, body, from }: VaultLogin, vault: VaultTokens): Issuer {
  return {
    name: path,
    issue: async (signal) => vault.login(path, await body(), signal),
    renew: ({ token }, signal) => vault.renew(token, signal),
    isKnown: async ({ token }, signal) => (await vault.lookup(token, signal)) !== undefined,
    revoke: ({ token }, signal) => vault.revoke(token, signal),
    revokesReplaced: false,
    close: async () => {
      await vault.close();
      await from?.close();
    },
  };
}

/** Tokens of Nomad's by a login there. Nothing renews them. @param jwt read anew for each login */
export function nomadLogin(method: string, jwt: Made<string>, nomad: NomadTokens): Issuer {
  return {
    name: `login by the auth method ${method}`,
    issue: async (signal) => nomad.login(method, await jwt(), signal),
    renew: (lease) => Promise.resolve(lease),
    revoke: (lease, signal) => nomad.remove(lease, signal),
    ...onNomad(nomad),
  };
}

/**
 * Tokens of Nomad's that Vault's secrets engine makes, as leases.
 * @param path `nomad/creds/operator`
 * @param leases of the Vault of now. @throws TargetError where there is none.
 */
export function nomadLease(path: string, leases: () => NomadLeases, nomad: NomadTokens): Issuer {
  return {
    name: path,
    issue: async (signal) => leases().issue(path, signal),
    renew: async (lease, signal) => leases().renew(lease, signal),
    revoke: async (lease, signal) => leases().revoke(lease, signal),
    ...onNomad(nomad),
  };
}

/** Nomad keeps tokens that have ended for an hour and more: what we need no more is deleted. */
function onNomad(nomad: NomadTokens): Pick<Issuer, 'arrived' | 'isKnown' | 'revokesReplaced' | 'close'> {
  return {
    arrived: ({ token }, signal) => nomad.arrived(token, signal),
    isKnown: async ({ token }, signal) => (await nomad.lookup(token, signal)) !== undefined,
    revokesReplaced: true,
    close: () => nomad.close(),
  };
}

/**
 * The management token in its place, where Nomad's ACLs are bootstrapped with it if they never were. It is nobody's to
 * revoke, and read again when Nomad refuses it: there may be another one, or another cluster.
 */
export function bootstrapToken(place: TokenPlace, nomad: NomadTokens): Issuer {
  return {
    name: place.name,
    issue: async (signal) => {
      const { token } = await bootstrapped({ nomad, place, signal });
      return { token, ttlSeconds: 0, isRenewable: false };
    },
    renew: (lease) => Promise.resolve(lease),
    revoke: () => Promise.resolve(),
    ...onNomad(nomad),
    revokesReplaced: false,
  };
}
