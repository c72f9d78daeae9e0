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

/** Whose variables they are. */
type Prefix = 'NOMAD' | 'VAULT';

/** What the variable ends in that a field comes from. */
const VARIABLES = {
  address: 'ADDR',
  region: 'REGION',
  namespace: 'NAMESPACE',
  'tls.caCert': 'CACERT_BYTES',
  'tls.caFile': 'CACERT',
  'tls.caPath': 'CAPATH',
  'tls.clientCertFile': 'CLIENT_CERT',
  'tls.clientKeyFile': 'CLIENT_KEY',
  'tls.serverName': 'TLS_SERVER_NAME',
  'tls.insecureSkipVerify': 'SKIP_VERIFY',
} as const;
type Field = keyof typeof VARIABLES;

/** The variable that a field comes from, such as NOMAD_CACERT_BYTES for `tls.caCert`; undefined where none is it. */
export function variableOf(prefix: Prefix, field: string): string | undefined {
  return Object.hasOwn(VARIABLES, field) ? variable(prefix, field as Field) : undefined;
}

function variable(prefix: Prefix, field: Field): string {
  return `${prefix}_${VARIABLES[field]}`;
}

/** As `nomad` reads it (api.DefaultConfig). @throws UsageError that names the variable. */
export function nomadEnvironment(env: Environment): EnvironmentConnection {
  return {
    address: addressOf(env, 'NOMAD', 'http://127.0.0.1:4646', /^(https?:\/\/[^\s/]+|unix:\/\/\/\S+)\/?$/),
    ...optional('region', env[variable('NOMAD', 'region')]),
    ...tlsOf(env, 'NOMAD'),
  };
}

/** As `vault` reads it (api.DefaultConfig). @throws UsageError that names the variable. */
export function vaultEnvironment(env: Environment): EnvironmentConnection {
  return {
    address: addressOf(env, 'VAULT', 'https://127.0.0.1:8200', /^https?:\/\/[^\s/]+(\/\S*)?$/),
    ...optional('namespace', env[variable('VAULT', 'namespace')]),
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

function addressOf(env: Environment, prefix: Prefix, fallback: string, form: RegExp): string {
  const name = variable(prefix, 'address');
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

function tlsOf(env: Environment, prefix: Prefix): { tls?: TlsOptions } {
  const value = (field: Field): string | undefined => env[variable(prefix, field)];
  const skipVerify = 'tls.insecureSkipVerify';
  const tls: TlsOptions = {
    ...optional('caCert', value('tls.caCert')),
    ...optional('caFile', value('tls.caFile')),
    ...optional('caPath', value('tls.caPath')),
    ...optional('clientCertFile', value('tls.clientCertFile')),
    ...optional('clientKeyFile', value('tls.clientKeyFile')),
    ...optional('serverName', value('tls.serverName')),
    ...optional('insecureSkipVerify', booleanOf(variable(prefix, skipVerify), value(skipVerify))),
  };
  return Object.keys(tls).length > 0 ? { tls } : {};
}

/** Go's strconv.ParseBool. */
function booleanOf(name: string, value: string | undefined): true | undefined {
  if (value === undefined || /^(|0|f|F|false|FALSE|False)$/.test(value)) return undefined;
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  throw new UsageError(`${name} is "${value}": it must be true or false`);
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined || value === '' ? {} : ({ [key]: value } as Record<K, V>);
}
