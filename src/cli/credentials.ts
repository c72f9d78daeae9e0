import { homedir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import type { Clock } from '../contract/clock.ts';
import { fixedCredential, type Credential, type VaultTokens } from '../contract/credential.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import type { CredentialName } from '../credentials/credential-text.ts';
import { FileCredential, readCredential } from '../credentials/file.ts';
import { RenewedCredential } from '../credentials/renewed.ts';
import { SecretCredential } from '../credentials/secret.ts';
import { VaultSession, type VaultLogin } from '../credentials/vault-session.ts';
import type { NomadAuth, SecretKey, VaultAuth } from '../kinds/connection.ts';
import type { Environment } from '../targets/environment.ts';
import type { DeclaredConnection } from './connections.ts';

/** What credentials are made with. */
export interface CredentialAccess {
  readonly env: Environment;
  /** Where Secrets are; without it, what names one is refused. */
  readonly kubernetes?: KubernetesApi | undefined;
  readonly clock: Clock;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** Whether it is for long: a token that ends is renewed, and a login that takes long is not waited for. */
  readonly isLasting: boolean;
  /** Told when there is another token, or other trouble. */
  readonly onChange: () => void;
}

/** Where the installed operator's own tokens are: made for one receiver each, which is their audience. */
const PROJECTED = '/var/run/secrets/nomad-access.io/';
/** How long opening waits for a login; milliseconds. */
const FIRST_LOGIN_MS = { once: 60_000, lasting: 3_000 };

/**
 * Whether what is sent is where we run, and not where the connection is declared: then whoever declares it must not
 * decide where it goes.
 */
export function isOurs({ spec, folder }: DeclaredConnection, isKubernetes: boolean): boolean {
  const auth: VaultAuth = spec.auth;
  if (auth.tokenSecretRef !== undefined) return false;
  if (auth.approle !== undefined)
    return auth.approle.secretIdFile !== undefined || auth.approle.secretIdEnv !== undefined;
  const login = auth.kubernetes ?? auth.jwt;
  if (login === undefined) return true;
  return !isKubernetes || !resolve(folder, login.tokenFile).startsWith(PROJECTED.replaceAll('/', sep));
}

/** @throws UsageError where there will be none as long as we run. */
export async function nomadCredential(connection: DeclaredConnection, access: CredentialAccess): Promise<Credential> {
  return staticToken(connection, access, access.onChange);
}

/** @throws UsageError where there will be none as long as we run. */
export async function vaultCredential(
  connection: DeclaredConnection,
  access: CredentialAccess,
  vault: () => VaultTokens,
): Promise<Credential> {
  const { clock, random, isLasting, onChange } = access;
  let session: VaultSession | undefined;
  const login = await loginOf(connection, access, () => session?.retry());
  if (login !== undefined) {
    const firstMs = isLasting ? FIRST_LOGIN_MS.lasting : FIRST_LOGIN_MS.once;
    session = await VaultSession.open({ login, vault: vault(), clock, random, firstMs, onChange });
    return session;
  }
  let renewed: RenewedCredential | undefined;
  const token = await staticToken(connection, access, () => {
    renewed?.changed();
    onChange();
  });
  if (isLasting) renewed = new RenewedCredential(token, { vault: vault(), clock, random });
  return renewed ?? token;
}

async function loginOf(
  { spec, folder, ...connection }: DeclaredConnection,
  access: CredentialAccess,
  onChange: () => void,
): Promise<VaultLogin | undefined> {
  const { kubernetes, jwt, approle }: VaultAuth = spec.auth;
  if (approle !== undefined) {
    const source = { ...connection, spec, folder };
    const from = await textFrom(source, access, onChange, 'SecretID', 'spec.auth.approle', {
      secretRef: approle.secretIdSecretRef,
      file: approle.secretIdFile,
      variable: approle.secretIdEnv,
    });
    return {
      path: `auth/${approle.mount}/login`,
      body: () => ({ role_id: approle.roleId, ...(from && { secret_id: from.token() }) }),
      from,
    };
  }
  const login = kubernetes ?? jwt;
  if (login === undefined) return undefined;
  const hint = `spec.auth.${kubernetes === undefined ? 'jwt' : 'kubernetes'}.tokenFile`;
  return {
    path: `auth/${login.mount}/login`,
    body: async () => {
      const found = await readCredential({ path: resolve(folder, login.tokenFile), name: 'token', hint });
      if ('trouble' in found) throw new TargetError(found.trouble.error, { class: 'denied' });
      return { role: login.role, jwt: found.text };
    },
  };
}

async function staticToken(
  connection: DeclaredConnection,
  access: CredentialAccess,
  onChange: () => void,
): Promise<Credential> {
  const { tokenSecretRef, tokenFile, tokenEnv }: NomadAuth = connection.spec.auth;
  const found = await textFrom(connection, access, onChange, 'token', 'spec.auth', {
    secretRef: tokenSecretRef,
    file: tokenFile,
    variable: tokenEnv,
  });
  if (found === undefined) throw new UsageError(`${connection.kind} ${connection.name}: spec.auth names no credential`);
  return found;
}

interface Source {
  readonly secretRef: SecretKey | undefined;
  /** Relative to the connection's folder. */
  readonly file: string | undefined;
  readonly variable: string | undefined;
}

/** @returns undefined where no source is named. @throws UsageError */
async function textFrom(
  connection: DeclaredConnection,
  { env, kubernetes, clock }: CredentialAccess,
  onChange: () => void,
  name: CredentialName,
  field: string,
  { secretRef, file, variable }: Source,
): Promise<Credential | undefined> {
  const where = `${connection.kind} ${connection.name}`;
  if (secretRef !== undefined) {
    if (kubernetes === undefined) {
      const prefix = name === 'token' ? 'token' : 'secretId';
      throw new UsageError(
        `${where}: ${field}.${prefix}SecretRef needs the Kubernetes source; use ${prefix}Env or ${prefix}File`,
      );
    }
    return SecretCredential.open({ api: kubernetes, ref: secretRef, name, clock, onChange });
  }
  if (file !== undefined) {
    const hint = `${field}.${name === 'token' ? 'tokenFile' : 'secretIdFile'}`;
    return FileCredential.open({ path: resolve(connection.folder, file), name, hint, clock, onChange });
  }
  if (variable === undefined) return undefined;
  const text = (env[variable] ?? '').trim();
  if (text !== '') return fixedCredential(text);
  if (connection.kind === 'VaultServer' && variable === 'VAULT_TOKEN') {
    const path = join(homedir(), '.vault-token');
    return FileCredential.open({ path, name, hint: 'set VAULT_TOKEN', clock, onChange });
  }
  throw new UsageError(`${where}: the environment variable ${variable} is not set: it must hold the ${name}`);
}
