import { homedir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import type { Clock } from '../contract/clock.ts';
import {
  fixedCredential,
  type Credential,
  type NomadLeases,
  type NomadTokens,
  type VaultTokens,
} from '../contract/credential.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import type { CredentialName } from '../credentials/credential-text.ts';
import { FileCredential, readCredential } from '../credentials/file.ts';
import { RenewedCredential } from '../credentials/renewed.ts';
import { SecretCredential } from '../credentials/secret.ts';
import { bootstrapToken, nomadLease, nomadLogin, vaultLogin, type VaultLogin } from '../credentials/issuers.ts';
import { Session, type Issuer } from '../credentials/session.ts';
import type { SecretKey, VaultAuth } from '../kinds/connection.ts';
import type { NomadClusterSpec } from '../kinds/nomad-cluster/index.ts';
import type { Environment } from '../targets/environment.ts';
import { bootstrapPatiently, tokenPlace, type MayBootstrap } from './bootstrapping.ts';
import { vaultBehind, type DeclaredConnection } from './connections.ts';

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
  /** Asked before Nomad is bootstrapped where `spec.bootstrap` says so; without it, it is not. */
  readonly mayBootstrap?: MayBootstrap | undefined;
  /** Told when there is another token, or other trouble. */
  readonly onChange: () => void;
}

/** Where the installed operator's own tokens are: made for one receiver each, which is their audience. */
const PROJECTED = '/var/run/secrets/nomad-access.io/';
/** How long opening waits for a login; milliseconds. */
const FIRST_LOGIN_MS = { once: 60_000, lasting: 3_000 };

/**
 * Whether what is sent is where we run, and not where the connection is declared: then whoever declares it must not
 * decide where it goes. What a VaultServer gives counts as what we log in there by.
 * @param connections those that are opened together with it.
 */
export function isOurs(
  connection: DeclaredConnection,
  isKubernetes: boolean,
  connections: readonly DeclaredConnection[],
): boolean {
  const { spec, folder } = connection;
  const vaultName = vaultBehind(connection);
  if (vaultName !== undefined) {
    const vault = connections.find(({ kind, name }) => kind === 'VaultServer' && name === vaultName);
    return vault === undefined || isOurs(vault, isKubernetes, []);
  }
  const auth = spec.auth as VaultAuth & { readonly jwt?: { readonly tokenFile: string } | undefined };
  if (auth.tokenSecretRef !== undefined) return false;
  if (auth.approle !== undefined)
    return auth.approle.secretIdFile !== undefined || auth.approle.secretIdEnv !== undefined;
  const login = auth.kubernetes ?? auth.jwt;
  if (login === undefined) return true;
  return !isKubernetes || !resolve(folder, login.tokenFile).startsWith(PROJECTED.replaceAll('/', sep));
}

/** What logins at Nomad need beside what every credential does. */
export interface NomadWays {
  readonly tokens: () => NomadTokens;
  /** Of the VaultServer of that name, as it is open now. @throws TargetError where there is none. */
  readonly leases: (vault: string) => NomadLeases;
}

/** @throws UsageError where there will be none as long as we run. */
export async function nomadCredential(
  connection: DeclaredConnection,
  access: CredentialAccess,
  { tokens, leases }: NomadWays,
): Promise<Credential> {
  const { bootstrap, auth } = connection.spec as NomadClusterSpec;
  const { jwt, vault } = auth;
  if (jwt !== undefined) {
    const read = (): Promise<string> => tokenIn(connection, jwt.tokenFile, 'spec.auth.jwt.tokenFile');
    return sessionOf(nomadLogin(jwt.method, read, tokens()), access);
  }
  if (bootstrap !== undefined && access.mayBootstrap !== undefined) {
    const place = tokenPlace(connection, access.kubernetes);
    if (access.isLasting) return sessionOf(bootstrapToken(place, tokens()), access);
    const nomad = tokens();
    await bootstrapPatiently(
      { connection, place, nomad, clock: access.clock, random: access.random },
      access.mayBootstrap,
    ).finally(() => nomad.close());
  }
  if (vault === undefined) return staticToken(connection, access, access.onChange);
  const { vaultRef, mount, role } = vault;
  return sessionOf(
    nomadLease(`${mount}/creds/${role}`, () => leases(vaultRef), tokens()),
    access,
  );
}

function sessionOf(issuer: Issuer, { clock, random, isLasting, onChange }: CredentialAccess): Promise<Session> {
  const firstMs = isLasting ? FIRST_LOGIN_MS.lasting : FIRST_LOGIN_MS.once;
  return Session.open({ issuer, clock, random, firstMs, onChange });
}

/** @throws UsageError where there will be none as long as we run. */
export async function vaultCredential(
  connection: DeclaredConnection,
  access: CredentialAccess,
  vault: () => VaultTokens,
): Promise<Credential> {
  const { clock, random, isLasting, onChange } = access;
  let session: Session | undefined;
  const login = await loginOf(connection, access, () => session?.retry());
  if (login !== undefined) {
    session = await sessionOf(vaultLogin(login, vault()), access);
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
  const { kubernetes, jwt, approle } = spec.auth as VaultAuth;
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
    body: async () => ({ role: login.role, jwt: await tokenIn({ folder }, login.tokenFile, hint) }),
  };
}

/** @param hint for the message where there is none: what to set. @throws TargetError */
async function tokenIn(
  { folder }: Pick<DeclaredConnection, 'folder'>,
  tokenFile: string,
  hint: string,
): Promise<string> {
  const found = await readCredential({ path: resolve(folder, tokenFile), name: 'token', hint });
  if ('trouble' in found) throw new TargetError(found.trouble.error, { class: 'denied' });
  return found.text;
}

async function staticToken(
  connection: DeclaredConnection,
  access: CredentialAccess,
  onChange: () => void,
): Promise<Credential> {
  const { tokenSecretRef, tokenFile, tokenEnv } = connection.spec.auth;
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
    const maker = 'bootstrap' in connection.spec ? '; nomad-access bootstrap makes one' : '';
    const hint = `${field}.${name === 'token' ? 'tokenFile' : 'secretIdFile'}${maker}`;
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
