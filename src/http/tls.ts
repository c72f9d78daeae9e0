import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { messageOf, UsageError } from '../contract/errors.ts';

/** How a server is verified, and how we present ourselves. Files and texts are PEM. */
export interface TlsOptions {
  readonly caCert?: string | undefined;
  readonly caFile?: string | undefined;
  readonly caPath?: string | undefined;
  /** Nobody is trusted but the CA given: not those that Node trusts, either. */
  readonly caOnly?: boolean | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly clientCertFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
  readonly serverName?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

/** What node:tls takes. */
export interface ConnectOptions {
  ca?: string[];
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

/** @throws UsageError that names the file which can't be read. */
export function connectOptions(tls: TlsOptions = {}): ConnectOptions {
  const ca = [
    ...(tls.caCert === undefined ? [] : [tls.caCert]),
    ...(tls.caFile === undefined ? [] : [read('CA certificate', tls.caFile)]),
    ...(tls.caPath === undefined ? [] : readFolder(tls.caPath)),
  ];
  return {
    ...(ca.length > 0 && { ca: tls.caOnly === true ? ca : [...rootCertificates, ...ca] }),
    ...(tls.clientCert !== undefined && { cert: tls.clientCert }),
    ...(tls.clientKey !== undefined && { key: tls.clientKey }),
    ...(tls.clientCertFile !== undefined && { cert: read('client certificate', tls.clientCertFile) }),
    ...(tls.clientKeyFile !== undefined && { key: read('client key', tls.clientKeyFile) }),
    ...(tls.serverName !== undefined && { servername: tls.serverName }),
    ...(tls.insecureSkipVerify === true && { rejectUnauthorized: false }),
  };
}

function read(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read the ${what} ${path}: ${messageOf(error)}`);
  }
}

function readFolder(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => readFileSync(join(path, entry.name), 'utf8'));
  } catch (error) {
    throw new UsageError(`cannot read the CA certificates in ${path}: ${messageOf(error)}`);
  }
}
