import { randomBytes } from 'node:crypto';
import { messageOf, TargetError } from '../contract/errors.ts';
import { problem, type Found, type VaultCheck } from './check.ts';
import { jwtConfig, jwtMounts, jwtRoles, urlsOf, type JwtConfig } from './mounts.ts';

/**
 * Vault fetches keys when somebody logs in, and not before: a login by a JWT that nobody signed, and whose key it therefore
 * looks for anew, tells whether it can. It is refused in any case.
 */
export const keysReached: VaultCheck = {
  name: 'vault-jwks',
  fine: 'Vault reaches the keys by which it verifies workloads',
  concerns: ['VaultJwtIntegration'],
  async look(vault, setting) {
    const { api } = vault;
    const { signal } = setting;
    const found: Found[] = [];
    for (const { path } of await jwtMounts(setting, vault)) {
      const config = await jwtConfig(api, path, signal);
      if (config === undefined || (urlsOf(config).length === 0 && config.oidc_discovery_url === '')) continue;
      const role = config.default_role || (await jwtRoles(api, path, signal))[0]?.name;
      if (role === undefined) continue;
      const jwt = unsigned(config);
      const refusal = await api.write(`auth/${path}/login`, { role, jwt }, signal).catch(refusalOf);
      if (refusal !== undefined && UNREACHED.test(refusal.message)) found.push(unreached(path, refusal));
    }
    return found;
  },
};

/** By the keys of its OIDC library (coreos/go-oidc, RemoteKeySet), or of the provider that it looks for first. */
const UNREACHED = /fetching keys|error (checking|creating) (jwks|oidc|provider)/i;

function unsigned({ jwt_supported_algs: algorithms }: JwtConfig): string {
  const header = { alg: algorithms?.[0] ?? 'RS256', kid: randomBytes(16).toString('hex'), typ: 'JWT' };
  const parts = [header, { sub: 'nomad-access doctor' }].map((part) => Buffer.from(JSON.stringify(part)));
  return [...parts, randomBytes(64)].map((part) => part.toString('base64url')).join('.');
}

function refusalOf(error: unknown): TargetError {
  if (error instanceof TargetError && error.status !== undefined) return error;
  throw error;
}

function unreached(path: string, refusal: TargetError): Found {
  return problem(
    `auth/${path}/config`,
    `Vault cannot fetch the keys by which it verifies workloads, so that nobody can log in: ${messageOf(refusal)}`,
    'Is the URL right as seen from Vault, does something answer there, and does Vault trust its certificate (jwksCaPem)? Where it asks for a client certificate, use syncKeys.',
  );
}
