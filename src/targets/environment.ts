import { UsageError } from '../contract/errors.ts';
import type { TlsOptions } from '../http/tls.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A connection as the `nomad` or `vault` command would make it. */
export interface EnvironmentConnection {
  readonly address: string;
  readonly region?: string;
  readonly namespace?: string;
  readonly tls?: TlsOptions;
}

/** As `nomad` reads it (api.DefaultConfig). @throws UsageError that names the variable. */
export function nomadEnvironment(env: Environment): EnvironmentConnection {
  return {
    address: addressOf(env, 'NOMAD_ADDR', 'http://127.0.0.1:4646', /^(https?:\/\/[^\s/]+|unix:\/\/\/\S+)\/?$/),
    ...optional('region', env['NOMAD_REGION']),
    ...tlsOf(env, 'NOMAD'),
  };
}

/** As `vault` reads it (api.DefaultConfig). @throws UsageError that names the variable. */
export function vaultEnvironment(env: Environment): EnvironmentConnection {
  return {
    address: addressOf(env, 'VAULT_ADDR', 'https://127.0.0.1:8200', /^https?:\/\/[^\s/]+(\/\S*)?$/),
    ...optional('namespace', env['VAULT_NAMESPACE']),
    ...tlsOf(env, 'VAULT'),
  };
}

/** Two spellings of one address compare equal: case of the host, default port, slash at the end. */
export function sameAddress(a: string, b: string): boolean {
  return normalised(a) === normalised(b);
}

function normalised(address: string): string {
  if (!URL.canParse(address)) return address;
  return new URL(address).href.replace(/\/$/, '');
}

function addressOf(env: Environment, name: string, fallback: string, form: RegExp): string {
  const value = env[name] ?? '';
  if (value === '') return fallback;
  // Also where the form is wrong: no password may stand in a message.
  if (value.includes('@') && !value.startsWith('unix://'))
    throw new UsageError(
      `${name} holds a user name or a password ("@"): it must be http://HOST:PORT or https://HOST:PORT`,
    );
  if (!form.test(value))
    throw new UsageError(`${name} is "${value}": it must be http://HOST:PORT or https://HOST:PORT`);
  return value.replace(/\/$/, '');
}

function tlsOf(env: Environment, prefix: string): { tls?: TlsOptions } {
  const value = (name: string): string | undefined => {
    const text = env[`${prefix}_${name}`];
    return text === '' ? undefined : text;
  };
  const tls: TlsOptions = {
    ...optional('caCert', value('CACERT_BYTES')),
    ...optional('caFile', value('CACERT')),
    ...optional('caPath', value('CAPATH')),
    ...optional('clientCertFile', value('CLIENT_CERT')),
    ...optional('clientKeyFile', value('CLIENT_KEY')),
    ...optional('serverName', value('TLS_SERVER_NAME')),
    ...optional('insecureSkipVerify', booleanOf(`${prefix}_SKIP_VERIFY`, value('SKIP_VERIFY'))),
  };
  return Object.keys(tls).length > 0 ? { tls } : {};
}

/** Go's strconv.ParseBool. */
function booleanOf(name: string, value: string | undefined): true | undefined {
  if (value === undefined || /^(0|f|F|false|FALSE|False)$/.test(value)) return undefined;
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  throw new UsageError(`${name} is "${value}": it must be true or false`);
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined || value === '' ? {} : ({ [key]: value } as Record<K, V>);
}
